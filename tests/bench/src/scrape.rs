//! What a program says of itself at its `/metrics`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One answer.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// The metrics, without the head of the answer.
    pub(crate) text: String,
    /// From connecting to the last byte.
    pub(crate) took: Duration,
}

impl Scrape {
    /// Asks once, on a connection of its own.
    pub(crate) async fn take(admin: SocketAddr) -> Result<Self> {
        let start = Instant::now();
        let asked = async {
            let mut socket = TcpStream::connect(admin).await?;
            socket.write_all(REQUEST).await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = timeout(PATIENCE, asked).await.context("a scrape took too long")?;
        let text = body(&answer.context("scraping")?)?.to_owned();
        Ok(Self { text, took: start.elapsed() })
    }
}

/// What follows the head of an answer, which has to be a good one.
fn body(answer: &str) -> Result<&str> {
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of head")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split_whitespace().nth(1) == Some("200"), "a scrape was answered {status:?}");
    Ok(body)
}

/// Of the old version, so that the answer ends with the connection and comes in one piece.
const REQUEST: &[u8] = b"GET /metrics HTTP/1.0\r\n\r\n";

/// Far more than ten thousand tunnels take.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_the_head_of_a_good_answer_counts() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nX: y\r\n\r\na 1\n").unwrap(), "a 1\n");
        body("HTTP/1.0 503 Service Unavailable\r\n\r\nno").unwrap_err();
        body("nonsense").unwrap_err();
    }
}
