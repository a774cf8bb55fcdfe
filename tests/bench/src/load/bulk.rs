//! Streams that are as fast as they can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::visitor::Visitor;
use crate::protocol::{BULK_BUFFER, Order};

/// Streams under way; they end when this is dropped.
///
/// What counts is what has arrived: downloads are counted by the visitor, uploads by the service.
#[derive(Debug)]
pub(crate) struct Streams {
    downloaded: Arc<AtomicU64>,
    service: TcpStream,
    tasks: JoinSet<Result<()>>,
}

impl Streams {
    /// Starts downloads and uploads. `service` is the local service itself, past any tunnel.
    pub(crate) async fn start(
        public: SocketAddr,
        service: SocketAddr,
        downloads: usize,
        uploads: usize,
    ) -> Result<Self> {
        let mut streams = Self::counted_at(service).await?;
        for _ in 0..downloads {
            streams.download(Visitor::order(public, Order::Source).await?.into_stream());
        }
        for _ in 0..uploads {
            streams.upload(Visitor::order(public, Order::Sink).await?.into_stream());
        }
        Ok(streams)
    }

    /// None yet. `service` is as for those that are started at once.
    pub(crate) async fn counted_at(service: SocketAddr) -> Result<Self> {
        let service = Visitor::order(service, Order::Sunk).await?.into_stream();
        Ok(Self { downloaded: Arc::default(), service, tasks: JoinSet::new() })
    }

    /// Reads from a connection that never ends.
    pub(crate) fn download(&mut self, stream: TcpStream) {
        self.tasks.spawn(download(stream, Arc::clone(&self.downloaded)));
    }

    /// Writes to a connection that takes whatever comes.
    pub(crate) fn upload(&mut self, stream: TcpStream) {
        self.tasks.spawn(upload(stream));
    }

    /// Bytes that have arrived so far, both directions together. An error if a stream has ended.
    pub(crate) async fn arrived(&mut self) -> Result<u64> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended.context("a stream's task")?.context("a stream ended early")?;
        }
        self.service.write_all(b"?").await.context("asking the service what it has read")?;
        let uploaded = self.service.read_u64_le().await.context("what the service has read")?;
        Ok(uploaded + self.downloaded.load(Ordering::Relaxed))
    }
}

async fn download(mut stream: TcpStream, downloaded: Arc<AtomicU64>) -> Result<()> {
    let mut buffer = vec![0; BULK_BUFFER];
    loop {
        match stream.read(&mut buffer).await.context("downloading")? {
            0 => bail!("an endless download has ended"),
            read => downloaded.fetch_add(read as u64, Ordering::Relaxed),
        };
    }
}

async fn upload(mut stream: TcpStream) -> Result<()> {
    let buffer = vec![b'u'; BULK_BUFFER];
    loop {
        stream.write_all(&buffer).await.context("uploading")?;
    }
}
