//! A visitor's connection: which HTTP it speaks, and how long it may take.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shared::carry::tls::Tls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::activity::Activity;
use super::socket::Socket;
use super::{Http, http1, http2};
use crate::edge::prefixed::Prefixed;
use crate::impatient::Impatient;
use crate::limits;
use crate::metrics::WebVersion;
use crate::web::Fault;

/// How long the header of a request may take from its first byte on.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What hyper holds of a header that is not complete, in bytes.
pub(super) const MOST_BUFFERED: usize = 64 * 1024;

/// What is the same for all requests of a connection.
pub(super) struct Visitor {
    pub(super) http: Arc<Http>,
    pub(super) peer: SocketAddr,
    /// The connection came by TLS, for this host if it named one.
    pub(super) tls: Option<ServerName>,
    /// An answer has broken off.
    pub(super) broke_off: Arc<AtomicBool>,
    pub(super) activity: Arc<Activity>,
    /// Its place among all visitors.
    place: limits::Visitor,
}

/// The host that a TLS connection names.
pub(super) type ServerName = Option<Box<str>>;

impl Visitor {
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether it is one of a source that is counted, and not of a balancer.
    pub(super) fn is_from_somewhere(&self) -> bool {
        self.place.is_from_somewhere()
    }

    /// Whether a request may be for this host on this connection.
    pub(super) fn check_server_name(&self, host: &str) -> Result<(), Fault> {
        match &self.tls {
            Some(Some(name)) if **name != *host => Err(Fault::Misdirected),
            _ => Ok(()),
        }
    }
}

/// Serves a visitor until its connection ends.
pub(super) async fn serve(http: Arc<Http>, socket: TcpStream, peer: SocketAddr) {
    let Some(place) = http.admit(peer) else { return };
    let broke_off = Arc::new(AtomicBool::new(false));
    let socket = Socket::new(socket, Arc::clone(&broke_off));
    let visitor = Visitor { http, peer, tls: None, broke_off, activity: Activity::new(), place };
    connection(Arc::new(visitor), socket).await;
}

/// The same for one that has come by TLS, and may have said already what it speaks.
pub(super) async fn serve_tls(
    http: Arc<Http>,
    tls: Box<Tls>,
    peer: SocketAddr,
    server_name: ServerName,
    protocol: Option<WebVersion>,
    place: limits::Visitor,
) {
    let broke_off = Arc::new(AtomicBool::new(false));
    let visitor = Arc::new(Visitor {
        http,
        peer,
        tls: Some(server_name),
        broke_off,
        activity: Activity::new(),
        place,
    });
    match protocol {
        Some(protocol) => serve_protocol(visitor, protocol, Bytes::new(), tls).await,
        None => connection(visitor, tls).await,
    }
}

/// Serves what comes on a connection.
async fn connection(
    visitor: Arc<Visitor>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let config = visitor.http.edge.config.now();
    let first = timeout(config.web.keep_alive, version(&mut stream)).await;
    let (protocol, seen) = match first {
        Ok(Ok(seen)) => seen,
        Ok(Err(err)) => return debug!("a visitor left before it said anything: {err}"),
        Err(_) => return debug!("a visitor said nothing"),
    };
    serve_protocol(visitor, protocol, seen, stream).await;
}

async fn serve_protocol(
    visitor: Arc<Visitor>,
    protocol: WebVersion,
    seen: Bytes,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let _counted = visitor.http.edge.metrics.http_connection(protocol);
    let stream = Impatient::new(stream, visitor.http.edge.config.now().stall_timeout);
    match protocol {
        WebVersion::Http1 => http1::serve(visitor, stream, seen).await,
        // Boxed: thousands of the other kind rest at a time.
        WebVersion::Http2 => Box::pin(http2::serve(visitor, Prefixed::new(seen, stream))).await,
    }
}

/// Reads until it is clear which HTTP a visitor speaks. Returns what has been read as well.
async fn version(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(WebVersion, Bytes)> {
    let mut seen = BytesMut::with_capacity(PREFACE.len());
    let mut deadline = None;
    loop {
        let mut rest = vec![0; PREFACE.len() - seen.len()];
        let n = match deadline {
            // Whoever calls has one for the first byte.
            None => stream.read(&mut rest).await?,
            Some(deadline) => timeout_at(deadline, stream.read(&mut rest)).await??,
        };
        deadline.get_or_insert_with(|| Instant::now() + HEADER_TIMEOUT);
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&rest[..n]);
        if !PREFACE.starts_with(&seen) {
            return Ok((WebVersion::Http1, seen.freeze()));
        }
        if seen.len() == PREFACE.len() {
            return Ok((WebVersion::Http2, seen.freeze()));
        }
    }
}
