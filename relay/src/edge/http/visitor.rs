//! A visitor's connection: which HTTP it speaks, and how long it may take.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::carry::tls::Tls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Http;
use super::proxy::answer;
use super::socket::Socket;
use super::tasks::Tasks;
use crate::edge::prefixed::Prefixed;
use crate::limits;
use crate::patience::Patience;
use crate::web::Fault;

/// How long the header of a request may take from its first byte on.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What hyper holds of a header that is not complete, in bytes.
const MOST_BUFFERED: usize = 64 * 1024;

/// The most headers of a request.
const MOST_HEADERS: usize = 128;

/// Requests at a time on one connection of HTTP/2.
const MOST_STREAMS: u32 = 128;

/// The windows of HTTP/2 for the body of a request, in bytes.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The same for all of a connection.
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;

/// What waits of an answer for its visitor's window, in bytes.
const MOST_UNSENT: usize = 64 * 1024;

/// How often a connection of HTTP/2 is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(20);

/// What is the same for all requests of a connection.
pub(super) struct Visitor {
    pub(super) http: Arc<Http>,
    pub(super) peer: SocketAddr,
    /// The connection came by TLS, for this host if it named one.
    pub(super) tls: Option<ServerName>,
    /// An answer has broken off.
    pub(super) broke_off: Arc<AtomicBool>,
    /// Its place among all visitors.
    _place: limits::Visitor,
}

/// The host that a TLS connection names.
pub(super) type ServerName = Option<Box<str>>;

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Protocol {
    Http1,
    Http2,
}

impl Visitor {
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
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
    let visitor = Visitor { http, peer, tls: None, broke_off, _place: place };
    connection(Arc::new(visitor), socket).await;
}

/// The same for one that has come by TLS, and may have said already what it speaks.
pub(super) async fn serve_tls(
    http: Arc<Http>,
    tls: Tls,
    peer: SocketAddr,
    server_name: ServerName,
    protocol: Option<Protocol>,
    place: limits::Visitor,
) {
    let broke_off = Arc::new(AtomicBool::new(false));
    let visitor =
        Arc::new(Visitor { http, peer, tls: Some(server_name), broke_off, _place: place });
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
    protocol: Protocol,
    seen: Bytes,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let patience = visitor.http.edge.config.now().stall_timeout;
    let stream = Prefixed::new(seen, Patience::new(stream, patience));
    let ended = match protocol {
        Protocol::Http1 => serve_http1(visitor, stream).await,
        Protocol::Http2 => serve_http2(visitor, stream).await,
    };
    if let Err(err) = ended {
        debug!("a visitor's connection ended: {err}");
    }
}

/// Reads until it is clear which HTTP a visitor speaks. Returns what has been read as well.
async fn version(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Protocol, Bytes)> {
    let mut seen = BytesMut::with_capacity(PREFACE.len());
    loop {
        let mut rest = vec![0; PREFACE.len() - seen.len()];
        let n = match seen.is_empty() {
            true => stream.read(&mut rest).await?,
            false => timeout(HEADER_TIMEOUT, stream.read(&mut rest)).await??,
        };
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&rest[..n]);
        if !PREFACE.starts_with(&seen) {
            return Ok((Protocol::Http1, seen.freeze()));
        }
        if seen.len() == PREFACE.len() {
            return Ok((Protocol::Http2, seen.freeze()));
        }
    }
}

async fn serve_http1(
    visitor: Arc<Visitor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> hyper::Result<()> {
    let stopping = visitor.http.stopping.clone();
    let service = service_fn(move |request| answer(Arc::clone(&visitor), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MOST_BUFFERED)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn serve_http2(
    visitor: Arc<Visitor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> hyper::Result<()> {
    let stopping = visitor.http.stopping.clone();
    let service = service_fn(move |request| answer(Arc::clone(&visitor), request));
    let cut = CancellationToken::new();
    // Its requests go with the connection.
    let _cut = cut.clone().drop_guard();
    let connection = http2::Builder::new(Tasks::new(cut))
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MOST_BUFFERED as u32)
        .max_send_buf_size(MOST_UNSENT)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
