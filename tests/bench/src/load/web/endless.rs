//! Requests without an end.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::visitor::check_status;
use crate::load::visitor::{connect, within};
use crate::protocol::web::{self, DOWNLOAD, HOST, end_of_head};

/// A connection on which an answer without an end comes.
pub(crate) async fn download(public: SocketAddr) -> Result<TcpStream> {
    Ok(begin(public, DOWNLOAD).await?.0)
}

/// A connection on which whatever is sent is part of a body without an end.
pub(crate) async fn upload(public: SocketAddr) -> Result<TcpStream> {
    let mut stream = connect(public).await?;
    within(stream.write_all(&web::upload()), "sending a head").await?;
    Ok(stream)
}

/// A connection on which an answer has begun, and what has come of its body with the head.
pub(super) async fn begin(public: SocketAddr, path: &str) -> Result<(TcpStream, Vec<u8>)> {
    let mut stream = connect(public).await?;
    within(stream.write_all(&web::get(HOST, path)), "asking").await?;
    let mut arrived = Vec::with_capacity(LONGEST_HEAD);
    let end = loop {
        if let Some(end) = end_of_head(&arrived) {
            break end;
        }
        ensure!(arrived.len() < LONGEST_HEAD, "no end of a head");
        let read = within(stream.read_buf(&mut arrived), "waiting for a head").await?;
        ensure!(read > 0, "closed without an answer");
    };
    check_status(std::str::from_utf8(&arrived[..end]).context("a head is text")?)?;
    Ok((stream, arrived.split_off(end)))
}

/// With what proxies put into it.
const LONGEST_HEAD: usize = 4 * 1024;
