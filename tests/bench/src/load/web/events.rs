//! Visitors to whom events come as they happen.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::endless::begin;
use crate::load::visitor::within;
use crate::protocol::web::{EVENT, EVENTS};

/// A visitor who waits for the next event.
#[derive(Debug)]
pub(crate) struct Listener {
    stream: TcpStream,
    /// What has come and is not a whole line yet.
    rest: Vec<u8>,
}

impl Listener {
    /// Asks for events.
    pub(crate) async fn come(public: SocketAddr) -> Result<Self> {
        let (stream, rest) = begin(public, EVENTS).await?;
        Ok(Self { stream, rest })
    }

    /// Waits for more, and adds how long each event that has come was under way, in microseconds.
    pub(crate) async fn listen(&mut self, delays: &mut Vec<f64>) -> Result<()> {
        let read = within(self.stream.read_buf(&mut self.rest), "waiting for an event").await?;
        ensure!(read > 0, "the events have ended");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_nanos();
        let Some(last) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let whole = std::str::from_utf8(&self.rest[..last]).context("events are text")?;
        for sent in whole.lines().filter_map(|line| line.strip_prefix(EVENT)) {
            let sent: u128 = sent.parse().with_context(|| format!("when {sent:?} was sent"))?;
            delays.push(now.saturating_sub(sent) as f64 / 1e3);
        }
        self.rest.drain(..=last);
        Ok(())
    }
}
