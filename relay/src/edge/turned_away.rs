//! What a visitor gets while no client serves the tunnel: an error that fits.
//!
//! A visitor that begins like HTTP gets a `503`; any other is reset. HTTP visitors speak first, so
//! one that has said nothing after a moment is no HTTP visitor.

use std::time::Duration;

use shared::visit::socket::ResetUnlessEnded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a visitor may take to say its first bytes. They are already on their way when the
/// connection is accepted: the same packet that completes the handshake can carry them.
const FIRST_BYTES: Duration = Duration::from_millis(250);

/// How long the visitor may take to read the answer and close.
const LINGER: Duration = Duration::from_secs(1);

/// So much of a request is read and thrown away at most, in bytes. Closing with unread data would
/// be a reset, which can overtake the answer.
const MOST_DISCARDED: usize = 256 * 1024;

/// The longest method name that is looked for.
const LONGEST_METHOD: usize = 16;

/// The whole answer.
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 64\r\n\
    Cache-Control: no-store\r\n\
    Retry-After: 5\r\n\
    Connection: close\r\n\
    \r\n\
    The tunnel is not connected right now. Please try again shortly.";

/// Answers `503` if the visitor speaks HTTP, else leaves it to be reset.
pub(super) async fn turn_away(mut socket: ResetUnlessEnded<TcpStream>) {
    let mut start = [0; LONGEST_METHOD];
    let peeked = timeout(FIRST_BYTES, socket.peek(&mut start)).await;
    let Ok(Ok(n)) = peeked else { return };
    if !begins_like_http(&start[..n]) {
        return;
    }
    if let Ok(Ok(())) = timeout(LINGER, answer(&mut socket)).await {
        socket.ended_well();
    }
}

async fn answer(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(UNAVAILABLE.as_bytes()).await?;
    socket.shutdown().await?;
    let mut discarded = 0;
    let mut buf = [0; 4096];
    while discarded < MOST_DISCARDED {
        match socket.read(&mut buf).await? {
            0 => return Ok(()),
            n => discarded += n,
        }
    }
    Err(std::io::ErrorKind::FileTooLarge.into())
}

/// Whether the bytes are the start of a request line: a method of capital letters and a blank.
fn begins_like_http(start: &[u8]) -> bool {
    let method = start.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    method >= 3 && start.get(method) == Some(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_other_protocols() {
        for http in ["GET / HTTP/1.1\r\n", "OPTIONS * HTT", "PROPFIND /x", "GET "] {
            assert!(begins_like_http(http.as_bytes()), "{http}");
        }
        for other in ["", "GET", "SSH-2.0-OpenSSH", "\x16\x03\x01\x02\x00", "get / HTTP/1.1", "A "]
        {
            assert!(!begins_like_http(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_answer_has_the_length_it_says() {
        let (_, body) = UNAVAILABLE.split_once("\r\n\r\n").unwrap();
        assert!(UNAVAILABLE.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
