//! One visitor of a public address.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::load::requests::Ask;
use crate::protocol::{ANSWER_SIZE, Order, REQUEST_SIZE};

/// A connection to a public address, on which an order has been given.
#[derive(Debug)]
pub(crate) struct Visitor {
    stream: TcpStream,
}

impl Visitor {
    /// Comes and gives an order, for which there is no answer to wait for.
    pub(crate) async fn order(public: SocketAddr, order: Order) -> Result<Self> {
        let mut visitor = Self::connect(public).await?;
        visitor.send(order.to_string().as_bytes()).await?;
        Ok(visitor)
    }

    /// Comes to stay, and has one request answered.
    pub(crate) async fn stay(public: SocketAddr) -> Result<Self> {
        let mut visitor = Self::connect(public).await?;
        visitor.send(&order_and_request(Order::Requests)).await?;
        visitor.read_answer().await?;
        Ok(visitor)
    }

    /// Comes, has one request answered, and goes once the service has closed.
    ///
    /// That the service closes first, as HTTP servers do, spares the visitor's ports: the one who
    /// closes first is the one who has to remember the connection.
    pub(crate) async fn visit_once(public: SocketAddr) -> Result<()> {
        let mut visitor = Self::connect(public).await?;
        visitor.send(&order_and_request(Order::Once)).await?;
        visitor.read_answer().await?;
        let more = within(visitor.stream.read(&mut [0; 1]), "waiting for the end").await?;
        ensure!(more == 0, "more than one answer");
        Ok(())
    }

    /// Comes, asks, and goes with the first byte of the answer.
    pub(crate) async fn first_byte(public: SocketAddr) -> Result<()> {
        let mut visitor = Self::connect(public).await?;
        visitor.send(&order_and_request(Order::Once)).await?;
        let read = within(visitor.stream.read(&mut [0; 1]), "waiting for a byte").await?;
        ensure!(read == 1, "closed without an answer");
        Ok(())
    }

    /// The connection, to do with it what was ordered.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    async fn connect(public: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(public).await? })
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        within(self.stream.write_all(bytes), "sending a request").await
    }

    async fn read_answer(&mut self) -> Result<()> {
        let mut answer = [0; ANSWER_SIZE];
        within(self.stream.read_exact(&mut answer), "reading an answer").await?;
        Ok(())
    }
}

impl Ask for Visitor {
    async fn request(&mut self) -> Result<()> {
        self.send(&REQUEST).await?;
        self.read_answer().await
    }
}

/// A visitor's connection.
pub(super) async fn connect(public: SocketAddr) -> Result<TcpStream> {
    let stream = within(TcpStream::connect(public), "connecting").await?;
    stream.set_nodelay(true).context("setting nodelay")?;
    Ok(stream)
}

fn order_and_request(order: Order) -> Vec<u8> {
    let mut bytes = order.to_string().into_bytes();
    bytes.extend_from_slice(&REQUEST);
    bytes
}

/// The outcome of something that takes no time if it works at all.
pub(super) async fn within<T>(
    work: impl Future<Output = std::io::Result<T>>,
    what: &'static str,
) -> Result<T> {
    timeout(PATIENCE, work)
        .await
        .with_context(|| format!("{what} took more than {PATIENCE:?}"))?
        .context(what)
}

static REQUEST: [u8; REQUEST_SIZE] = [b'r'; REQUEST_SIZE];

/// Far more than anything takes that works at all.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
