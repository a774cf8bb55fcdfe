//! One visitor of the web, who speaks HTTP/1.1.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tls::{Secure, is_resumed};
use crate::load::requests::Ask;
use crate::load::visitor::{connect, within};
use crate::protocol::ANSWER_SIZE;
use crate::protocol::web::{self, ANSWER, HOST, end_of_head, header};

/// A connection on which one request after the other is made.
#[derive(Debug)]
pub(crate) struct WebVisitor<S> {
    stream: S,
    request: Vec<u8>,
}

impl WebVisitor<TcpStream> {
    /// Comes to stay, and has one request answered.
    pub(crate) async fn stay(public: SocketAddr) -> Result<Self> {
        Self::stay_at(public, HOST).await
    }

    /// The same at any host.
    pub(crate) async fn stay_at(public: SocketAddr, host: &str) -> Result<Self> {
        let stream = connect(public).await?;
        let mut visitor = Self { stream, request: web::get(host, ANSWER) };
        visitor.request().await?;
        Ok(visitor)
    }

    /// Comes, has one request answered, and goes once the connection is closed.
    pub(crate) async fn visit_once(public: SocketAddr) -> Result<()> {
        Self { stream: connect(public).await?, request: last_request() }.ask_and_go().await
    }
}

impl WebVisitor<TlsStream<TcpStream>> {
    /// Comes by TLS to stay, and has one request answered.
    pub(crate) async fn stay_by_tls(secure: &Secure) -> Result<Self> {
        let mut visitor = Self { stream: secure.connect().await?, request: web::get(HOST, ANSWER) };
        visitor.request().await?;
        Ok(visitor)
    }

    /// Comes by TLS, has one request answered, and goes once the connection is closed. Returns
    /// whether an earlier session was resumed.
    pub(crate) async fn visit_once_by_tls(secure: &Secure) -> Result<bool> {
        let stream = secure.connect().await?;
        let is_resumed = is_resumed(&stream);
        Self { stream, request: last_request() }.ask_and_go().await?;
        Ok(is_resumed)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebVisitor<S> {
    async fn ask_and_go(mut self) -> Result<()> {
        within(self.ask(), "asking").await?;
        let more = within(self.stream.read(&mut [0; 1]), "waiting for the end").await?;
        ensure!(more == 0, "more than one answer");
        Ok(())
    }

    async fn ask(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.request).await?;
        let mut arrived = [0; LONGEST_ANSWER];
        let mut length = 0;
        let mut whole = None;
        while whole.is_none_or(|whole| length < whole) {
            let read = self.stream.read(&mut arrived[length..]).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            length += read;
            if whole.is_none() {
                whole = length_of_answer(&arrived[..length]).map_err(std::io::Error::other)?;
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Ask for WebVisitor<S> {
    async fn request(&mut self) -> Result<()> {
        within(self.ask(), "asking").await
    }
}

fn last_request() -> Vec<u8> {
    web::get_and_close(HOST, ANSWER)
}

/// The length of an answer with its head, or `None` while that is not complete. An error unless it is
/// the answer that was asked for.
fn length_of_answer(arrived: &[u8]) -> Result<Option<usize>> {
    let Some(end) = end_of_head(arrived) else {
        ensure!(arrived.len() < LONGEST_ANSWER, "no end of a head");
        return Ok(None);
    };
    let head = std::str::from_utf8(&arrived[..end]).context("a head is text")?;
    check_status(head)?;
    let length = header(head, "Content-Length").context("an answer without a length")?;
    let length: usize = length.parse().context("the length of an answer")?;
    ensure!(length == ANSWER_SIZE, "an answer of {length} bytes");
    Ok(Some(end + length))
}

/// An error unless the head is that of a good answer.
pub(super) fn check_status(head: &str) -> Result<()> {
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 200"), "the answer was {status:?}");
    Ok(())
}

/// A head with what proxies put into it, and a body.
const LONGEST_ANSWER: usize = 4 * 1024;
