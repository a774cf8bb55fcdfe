//! What a TLS connection begins with: the host that it names, before anybody has opened it.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// How long a client's hello may take from its first byte on.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest hello in bytes: with keys that quantum computers do not break most have less than two
/// thousand.
const LONGEST: usize = 16 * 1024;

/// So much is read at a time.
const PIECE: usize = 2 * 1024;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What a TLS connection begins with.
#[derive(Debug)]
pub(super) struct Hello {
    /// The host that it names, in lower case (RFC 6066, section 3). With an encrypted hello it is the
    /// outer one (RFC 9849).
    pub(super) server_name: Option<Box<str>>,
    /// All that has been read.
    pub(super) seen: Bytes,
}

/// Why there is no [`Hello`].
#[derive(Debug)]
pub(super) enum NoHello {
    /// It is something else than TLS.
    NotTls,
    /// It is none that can be read, and this is what there is to say of that.
    Bad(io::Error),
}

/// Reads a client's hello, in however many pieces it comes. Nothing is answered.
pub(super) async fn read(socket: &mut TcpStream, patience: Duration) -> Result<Hello, NoHello> {
    let mut seen = BytesMut::with_capacity(PIECE);
    let mut acceptor = Acceptor::default();
    let mut deadline = Instant::now() + patience;
    loop {
        let before = seen.len();
        if before >= LONGEST {
            let message = format!("its hello is longer than {LONGEST} bytes");
            return Err(bad(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        seen.reserve(PIECE);
        let n = timeout_at(deadline, socket.read_buf(&mut seen)).await;
        if n.map_err(|late| bad(late.into()))?.map_err(bad)? == 0 {
            return Err(bad(io::ErrorKind::UnexpectedEof.into()));
        }
        if before == 0 {
            deadline = Instant::now() + HELLO_TIMEOUT;
        }
        if seen[0] != HANDSHAKE {
            return Err(NoHello::NotTls);
        }
        let mut new = &seen[before..];
        while !new.is_empty() {
            acceptor.read_tls(&mut new).map_err(bad)?;
        }
        match acceptor.accept() {
            Ok(None) => (),
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                return Ok(Hello {
                    server_name: hello.server_name().map(|name| {
                        name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
                    }),
                    seen: seen.freeze(),
                });
            }
            Err((err, _)) => {
                return Err(bad(io::Error::new(io::ErrorKind::InvalidData, err)));
            }
        }
    }
}

fn bad(err: io::Error) -> NoHello {
    NoHello::Bad(err)
}
