//! Visitors who share a connection of HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::tls::Secure;
use crate::load::requests::Ask;
use crate::load::visitor::{PATIENCE, connect};
use crate::protocol::ANSWER_SIZE;
use crate::protocol::web::{ANSWER, HOST};

/// One who makes a request after the other on a connection of many.
#[derive(Debug)]
pub(crate) struct Stream {
    sender: SendRequest<Bytes>,
    scheme: &'static str,
    /// The connection ends with the last of those who share it.
    _connection: Arc<JoinSet<()>>,
}

/// That many on one connection, which is one of HTTP/2 from the first byte on.
pub(crate) async fn share(public: SocketAddr, streams: usize) -> Result<Vec<Stream>> {
    begin(connect(public).await?, "http", streams).await
}

/// The same by TLS.
pub(crate) async fn share_by_tls(secure: &Secure, streams: usize) -> Result<Vec<Stream>> {
    let stream = secure.connect().await?;
    let agreed = stream.get_ref().1.alpn_protocol();
    ensure!(agreed == Some(b"h2"), "no HTTP/2 by TLS");
    begin(stream, "https", streams).await
}

async fn begin<S>(stream: S, scheme: &'static str, streams: usize) -> Result<Vec<Stream>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = timeout(PATIENCE, h2::client::handshake(stream)).await;
    let (sender, connection) = handshake.context("HTTP/2 took too long")?.context("HTTP/2")?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Why it ended is what its streams say.
        connection.await.ok();
    });
    let connection = Arc::new(tasks);
    let stream = || Stream { sender: sender.clone(), scheme, _connection: Arc::clone(&connection) };
    Ok((0..streams).map(|_| stream()).collect())
}

impl Ask for Stream {
    async fn request(&mut self) -> Result<()> {
        let asked = async {
            let uri = format!("{}://{HOST}{ANSWER}", self.scheme);
            let request = Request::get(uri).body(()).context("a request")?;
            self.sender = self.sender.clone().ready().await.context("HTTP/2")?;
            let (answer, _) = self.sender.send_request(request, true).context("asking")?;
            read(answer).await
        };
        timeout(PATIENCE, asked).await.context("an answer took too long")?
    }
}

async fn read(answer: ResponseFuture) -> Result<()> {
    let answer = answer.await.context("an answer")?;
    ensure!(answer.status() == StatusCode::OK, "the answer was {}", answer.status());
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.context("reading an answer")?;
        length += data.len();
        body.flow_control().release_capacity(data.len()).context("reading an answer")?;
    }
    ensure!(length == ANSWER_SIZE, "an answer of {length} bytes");
    Ok(())
}
