//! What a visitor gets while no client serves the tunnel: an error that fits.
//!
//! A visitor that begins like HTTP gets a `503`; any other is reset. HTTP visitors speak first, so
//! one that has said nothing after a moment is no HTTP visitor.

use std::time::Duration;

use shared::kit::net::linger_after_end;
use shared::visit::socket::ResetUnlessEnded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a visitor may take to say its first bytes. They are already on their way when the
/// connection is accepted: the same packet that completes the handshake can carry them.
const FIRST_BYTES: Duration = Duration::from_millis(250);

/// How long the kernel may take to take the answer, which is shorter than any buffer.
const ANSWER: Duration = Duration::from_secs(1);

/// So much of a request is read and thrown away at most, in bytes. Closing with unread data would
/// be a reset, which can overtake the answer.
const MOST_DISCARDED: u64 = 256 * 1024;

/// A request shows within so many bytes that it is one.
const START: usize = 512;

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
    if let Ok(true) = timeout(FIRST_BYTES, speaks_http(&mut socket)).await
        && let Ok(Ok(())) = timeout(ANSWER, answer(&mut socket)).await
    {
        socket.ended_well();
        linger_after_end(&mut *socket, MOST_DISCARDED).await;
    }
}

/// Reads until it is clear whether the visitor speaks HTTP. What it says has nowhere to go.
async fn speaks_http(socket: &mut TcpStream) -> bool {
    let (mut start, mut length) = ([0; START], 0);
    loop {
        match socket.read(&mut start[length..]).await {
            Ok(0) | Err(_) => return false,
            Ok(n) => length += n,
        }
        match begins_like_http(&start[..length]) {
            Some(does) => return does,
            None if length == START => return false,
            None => (),
        }
    }
}

async fn answer(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(UNAVAILABLE.as_bytes()).await?;
    socket.shutdown().await
}

/// Whether the bytes are the start of a request: a method, a blank and a target (RFC 9112, section
/// 3). `None`: more of them have to come. Other protocols begin with capital words as well, so the
/// target counts: a path, a URL, `*`, or for `CONNECT` an authority with the version behind it.
fn begins_like_http(start: &[u8]) -> Option<bool> {
    let method = start.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    if method > LONGEST_METHOD {
        return Some(false);
    }
    match start.get(method) {
        None => return None,
        Some(b' ') if method >= 3 => (),
        Some(_) => return Some(false),
    }
    let target = &start[method + 1..];
    if &start[..method] == b"CONNECT" {
        let mut words = target.split(|byte| *byte == b' ');
        let (authority, rest) = (words.next()?, words.next());
        let is_authority = !authority.iter().any(|byte| byte.is_ascii_control() || *byte == b'{');
        return match rest {
            _ if !is_authority => Some(false),
            Some(version) => begins_with_one_of(version, &[b"HTTP/"]),
            None => None,
        };
    }
    begins_with_one_of(target, &[b"/", b"* ", b"http://", b"https://"])
}

/// Whether `bytes` begin with one of the words. `None`: as far as they go, they may.
fn begins_with_one_of(bytes: &[u8], words: &[&[u8]]) -> Option<bool> {
    if words.iter().any(|word| bytes.starts_with(word)) {
        return Some(true);
    }
    if words.iter().any(|word| word.starts_with(bytes)) { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_other_protocols() {
        for http in [
            "GET / HTTP/1.1\r\n",
            "OPTIONS * HTT",
            "PROPFIND /x",
            "GET /",
            "GET http://a/ HT",
            "CONNECT a:443 HTTP/1.1\r\n",
        ] {
            assert_eq!(begins_like_http(http.as_bytes()), Some(true), "{http}");
        }
        for other in [
            "SSH-2.0-OpenSSH",
            "\x16\x03\x01\x02\x00",
            "get / HTTP/1.1",
            "A ",
            "NICK joe\r\n",
            "CONNECT {\"verbose\":false}\r\n",
            "EHLO example.org\r\n",
            "GET key\r\n",
            "ABCDEFGHIJKLMNOPQ",
        ] {
            assert_eq!(begins_like_http(other.as_bytes()), Some(false), "{other}");
        }
        for unclear in ["", "GE", "GET", "GET ", "GET ht", "CONNECT a:443", "CONNECT a:443 HT"] {
            assert_eq!(begins_like_http(unclear.as_bytes()), None, "{unclear}");
        }
    }

    #[test]
    fn the_answer_has_the_length_it_says() {
        let (_, body) = UNAVAILABLE.split_once("\r\n\r\n").unwrap();
        assert!(UNAVAILABLE.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
