//! The local service as the web knows it: HTTP/1.1 by hand, so that it costs less than what is measured,
//! and HTTP/2 from the first byte on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

use super::ANSWER;
use crate::protocol::web::{
    DOWNLOAD, ENDLESS, EVENT, EVENT_EVERY, EVENTS, UPLOAD, end_of_head, header,
};

/// Whether a connection that begins like this is one of the web.
pub(super) fn is_web(arrived: &[u8]) -> bool {
    arrived.first().is_some_and(u8::is_ascii_uppercase)
}

/// Serves a connection of which some bytes have arrived.
pub(super) async fn serve(stream: TcpStream, arrived: Vec<u8>, sunk: &AtomicU64) -> Result<()> {
    match arrived.starts_with(HTTP2) {
        true => super::http2::serve(stream, arrived).await,
        false => serve_requests(stream, arrived, sunk).await,
    }
}

async fn serve_requests(
    mut stream: TcpStream,
    mut arrived: Vec<u8>,
    sunk: &AtomicU64,
) -> Result<()> {
    let answer = [head("Content-Length: 1024"), ANSWER.to_vec()].concat();
    loop {
        let end = loop {
            if let Some(end) = end_of_head(&arrived) {
                break end;
            }
            ensure!(arrived.len() < LONGEST_HEAD, "no end of a head");
            if stream.read_buf(&mut arrived).await? == 0 {
                return Ok(());
            }
        };
        let head = std::str::from_utf8(&arrived[..end]).context("a head is text")?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            DOWNLOAD => return download(&mut stream).await,
            UPLOAD => {
                sunk.fetch_add((arrived.len() - end) as u64, Ordering::Relaxed);
                return super::swallow(&mut stream, sunk).await;
            }
            EVENTS => return send_events(&mut stream).await,
            _ => stream.write_all(&answer).await?,
        }
        let wants_end =
            header(head, "Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if wants_end {
            return Ok(stream.shutdown().await?);
        }
        arrived.drain(..end);
    }
}

async fn download(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&head(&format!("Content-Length: {ENDLESS}"))).await?;
    super::send_for_ever(stream).await
}

async fn send_events(stream: &mut TcpStream) -> Result<()> {
    // The last header is how nginx is told that the answer cannot wait.
    let headers = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\
                   Cache-Control: no-store\r\nX-Accel-Buffering: no";
    stream.write_all(&head(headers)).await?;
    let mut pace = interval(EVENT_EVERY);
    loop {
        pace.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_nanos();
        let event = format!("{EVENT}{now}\n\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
    }
}

/// The head of a good answer.
fn head(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").into_bytes()
}

/// What every connection of HTTP/2 begins with, as far as it is needed to tell.
const HTTP2: &[u8] = b"PRI ";

/// More than any proxy makes of the visitors' short ones.
const LONGEST_HEAD: usize = 16 * 1024;
