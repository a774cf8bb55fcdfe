//! What visitors reach: a listener for each tunnel.

mod tcp;
mod turned_away;
mod visit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::kit::stop::Stop;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::error;

use crate::limits::Limits;
use crate::registry::{Opened, Registry};

/// The visitors' half of the relay.
#[derive(Debug)]
pub(crate) struct Edge {
    opened: mpsc::Receiver<Opened>,
    shared: Arc<EdgeShared>,
}

/// What all listeners have in common.
#[derive(Debug)]
struct EdgeShared {
    registry: Registry,
    limits: Limits,
    stall_timeout: Duration,
    hold: Duration,
    visits: AtomicU64,
}

impl Edge {
    /// An edge that serves the tunnels that `registry` hands it.
    pub(crate) fn new(
        registry: Registry,
        opened: mpsc::Receiver<Opened>,
        limits: Limits,
        stall_timeout: Duration,
        hold: Duration,
    ) -> Self {
        let visits = AtomicU64::new(0);
        let shared = EdgeShared { registry, limits, stall_timeout, hold, visits };
        Self { opened, shared: Arc::new(shared) }
    }

    /// Serves visitors until asked to stop, then lets the open visits finish until asked to stop
    /// at once. None is left when it returns.
    pub(crate) async fn run(mut self, stop: Stop) -> anyhow::Result<()> {
        let mut listeners = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.gracefully.cancelled() => break,
                Some(ended) = listeners.join_next() => report(ended),
                Some((tunnel, listener)) = self.opened.recv() => {
                    let shared = Arc::clone(&self.shared);
                    listeners.spawn(tcp::listen(shared, tunnel, listener, stop.clone()));
                }
            }
        }
        // Listeners that nobody has taken up are closed like the others.
        drop(self.opened);
        while let Some(ended) = listeners.join_next().await {
            report(ended);
        }
        Ok(())
    }
}

impl EdgeShared {
    /// The number of a new visit.
    fn next_visit(&self) -> u64 {
        self.visits.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(err) = ended {
        error!("a listener's task failed: {err}");
    }
}
