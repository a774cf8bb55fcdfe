//! Who is at the control port: a client with TLS, one without, or somebody who is lost.
//!
//! The first byte tells them apart: it is looked at and stays where it is.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shared::carry::Carrier;
use shared::carry::tls::Tls;
use shared::kit::net::linger;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::debug;

use super::tls::ControlTls;
use crate::metrics::{Metrics, TlsAttempt, TlsHandshake};

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
const TLS: u8 = 0x16;

/// So much of the beginning is looked at.
const START: usize = 8;

/// Methods of HTTP, and the beginning of its version 2.
const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"PRI ",
];

/// The whole answer to an HTTP request.
const NOT_HTTP: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 100\r\n\
    Connection: close\r\n\
    \r\n\
    This is the control port of a Sallyport relay. Clients connect here; visitors use the public \
    ports.\n";

/// Whether somebody has begun a TLS handshake, which costs more than anything else that a stranger
/// can have the relay do. Known while it is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsBegun(Arc<AtomicBool>);

impl TlsBegun {
    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a session with whoever is at `socket` runs over. It waits for the first byte.
///
/// # Errors
///
/// It is no client, or does not get through its TLS handshake.
pub(super) async fn open(
    mut socket: TcpStream,
    tls: ControlTls,
    metrics: Metrics,
    begun: TlsBegun,
) -> io::Result<Carrier> {
    let mut start = [0; START];
    let length = socket.peek(&mut start).await?;
    let start = &start[..length];
    if start.first() == Some(&TLS) {
        begun.0.store(true, Ordering::Relaxed);
        // Most sessions of most relays never need it: it is not a part of their tasks.
        return Box::pin(shake_hands(socket, &tls, metrics.tls_handshake())).await;
    }
    if is_http(start) {
        Box::pin(async {
            socket.write_all(NOT_HTTP.as_bytes()).await?;
            linger(socket).await;
            Err(io::Error::new(io::ErrorKind::InvalidData, "an HTTP request"))
        })
        .await
    } else {
        Ok(Carrier::Tcp(socket))
    }
}

async fn shake_hands(
    socket: TcpStream,
    tls: &ControlTls,
    attempt: TlsAttempt,
) -> io::Result<Carrier> {
    let Some(config) = tls.now() else {
        attempt.ended(TlsHandshake::Failed);
        linger(socket).await;
        let why =
            "it wants TLS: start the relay with --tls-cert and --tls-key, or --tls self-signed";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    };
    match Tls::accept(config, socket).await {
        Ok(tls) => {
            let resumed = tls.is_resumed();
            debug!(resumed, "TLS handshake done");
            attempt.ended(if resumed { TlsHandshake::Resumed } else { TlsHandshake::Full });
            Ok(tls.into())
        }
        Err((err, socket)) => {
            attempt.ended(TlsHandshake::Failed);
            linger(socket).await;
            Err(io::Error::new(err.kind(), NoTls(err)))
        }
    }
}

/// Why there is no TLS.
#[derive(Debug)]
struct NoTls(io::Error);

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.0)
    }
}

impl std::error::Error for NoTls {}

/// Whether it was a handshake of TLS that failed.
pub(super) fn is_of_tls(err: &io::Error) -> bool {
    err.get_ref().is_some_and(|err| err.is::<NoTls>())
}

/// Whether somebody who begins like this speaks HTTP. yamux begins with a zero.
fn is_http(start: &[u8]) -> bool {
    let agrees = |method: &&[u8]| start.starts_with(method) || method.starts_with(start);
    !start.is_empty() && METHODS.iter().any(agrees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_sessions() {
        for http in ["GET / HT", "POST /x ", "PRI * HT", "G", "CONNECT "] {
            assert!(is_http(http.as_bytes()), "{http}");
        }
        for other in ["", "\0\0", "\x16\x03", "SSH-2.0-", "get / ht", "GETX /"] {
            assert!(!is_http(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_answer_has_the_length_it_says() {
        let (_, body) = NOT_HTTP.split_once("\r\n\r\n").unwrap();
        assert!(
            NOT_HTTP.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
