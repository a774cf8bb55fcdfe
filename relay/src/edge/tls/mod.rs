//! TLS from visitors: opened here and served as HTTP, or passed on as it is.
//!
//! The host that a connection names says which, so one port is for both.

mod hello;
mod passthrough;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use shared::carry::tls::Tls;
use shared::kit::net::{linger, shut_down};
use shared::kit::serve::serve;
use shared::kit::stop::Stop;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::debug;

use self::hello::{Hello, NoHello};
use self::passthrough::Passing;
use super::http::Http;
use crate::certs::VisitorCerts;
use crate::limits::{self, Places};
use crate::metrics::WebVersion;
use crate::routes::Host;

/// How long a handshake may take after the client's hello.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// So many handshakes at a time: each holds memory of which nobody knows yet what for.
const MOST_HANDSHAKES: usize = 1024;

/// How long the last words on a connection may take to be taken.
const LINGER: Duration = Duration::from_secs(1);

/// The whole answer to a request without TLS.
const NOT_TLS: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 60\r\n\
    X-Relay-Error: not_tls\r\n\
    Connection: close\r\n\
    \r\n\
    This port is for TLS: write https:// in front of the address";

/// What all TLS connections have in common.
struct Shared {
    http: Arc<Http>,
    server: Arc<ServerConfig>,
    handshakes: Places,
}

/// Serves TLS connections until asked to stop, then lets those that are open finish until asked to stop
/// at once.
pub(super) async fn listen(
    http: Arc<Http>,
    server: Arc<ServerConfig>,
    listener: TcpListener,
    stop: Stop,
) {
    let shared = Arc::new(Shared { http, server, handshakes: Places::new(MOST_HANDSHAKES) });
    let handle = move |socket, peer| visit(Arc::clone(&shared), socket, peer);
    serve(listener, stop.gracefully, stop.at_once, handle).await;
}

/// A connection of which is known where it goes.
enum Led {
    /// Here, where its TLS has been opened.
    Here {
        tls: Box<Tls>,
        server_name: Option<Box<str>>,
        protocol: Option<WebVersion>,
        place: limits::Visitor,
    },
    /// On as it is, and this has been read of it.
    On { passing: Passing, socket: TcpStream, seen: Bytes },
}

/// Serves one connection.
async fn visit(shared: Arc<Shared>, socket: TcpStream, peer: SocketAddr) {
    let Some(place) = shared.http.admit(peer) else { return };
    // Each boxed: nothing of a handshake is kept for as long as the visitor stays, and no room for
    // what becomes of others.
    match Box::pin(lead(&shared, socket, peer, place)).await {
        None => (),
        Some(Led::Here { tls, server_name, protocol, place }) => {
            shared.http.serve_tls(tls, peer, server_name, protocol, place).await;
        }
        Some(Led::On { passing, socket, seen }) => {
            Box::pin(passthrough::pass(shared.http.edge(), passing, socket, seen)).await;
        }
    }
}

/// Finds out where a connection goes. `None`: nowhere, and that has been dealt with.
async fn lead(
    shared: &Shared,
    mut socket: TcpStream,
    peer: SocketAddr,
    place: limits::Visitor,
) -> Option<Led> {
    let handshake = shared.handshakes.take(peer);
    let patience = shared.http.edge().config.now().web.keep_alive;
    let hello = tokio::select! {
        hello = hello::read(&mut socket, patience) => hello,
        () = handshake.evicted() => return evicted(),
    };
    let Hello { server_name, seen } = match hello {
        Ok(hello) => hello,
        Err(NoHello::NotTls) => {
            turn_away(socket).await;
            return None;
        }
        Err(NoHello::Bad(err)) => {
            debug!("a visitor without a TLS hello: {err}");
            return None;
        }
    };
    let registry = &shared.http.edge().registry;
    let (routes, front) = (registry.routes(), registry.front());
    let host = server_name.as_deref().map(|name| match front.label_in(name) {
        Some(label) => Host::Subdomain(label),
        None => Host::Domain(name),
    });
    if let Some((entrance, tunnel)) = host.and_then(|host| routes.find_connection(host)) {
        let name = server_name.and_then(|name| name.parse().ok());
        let passing = Passing { tunnel, entrance, name, visitor: peer, place };
        return Some(Led::On { passing, socket, seen });
    }
    let accept = Tls::accept_begun(Arc::clone(&shared.server), socket, &seen);
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE_TIMEOUT, accept) => accepted,
        () = handshake.evicted() => return evicted(),
    };
    drop(handshake);
    let mut tls = match accepted {
        Ok(Ok(tls)) => Box::new(tls),
        Ok(Err((err, socket))) => {
            debug!("a visitor's TLS handshake failed: {err}");
            linger(socket).await;
            return None;
        }
        Err(_) => {
            debug!("a visitor's TLS handshake took too long");
            return None;
        }
    };
    if VisitorCerts::is_challenge(tls.protocol()) {
        // The authority has seen the certificate, which is all that it came for.
        shut_down(tls).await;
        return None;
    }
    tls.admit();
    let protocol = match tls.protocol() {
        Some(b"h2") => Some(WebVersion::Http2),
        Some(_) => Some(WebVersion::Http1),
        None => None,
    };
    Some(Led::Here { tls, server_name, protocol, place })
}

fn evicted() -> Option<Led> {
    debug!("a TLS handshake made room for newer ones");
    None
}

/// Says to whoever speaks something else than TLS what is spoken here.
async fn turn_away(mut socket: TcpStream) {
    if let Ok(Ok(())) = timeout(LINGER, socket.write_all(NOT_TLS.as_bytes())).await {
        linger(socket).await;
    }
}
