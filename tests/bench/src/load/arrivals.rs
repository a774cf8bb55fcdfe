//! Clients of ours that come and go all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::load::client::{Agreement, Client};

/// Clients under way, each of which comes again as soon as it has gone; they end when this is
/// dropped.
#[derive(Debug)]
pub(crate) struct Arrivals {
    count: Arc<AtomicU64>,
    tasks: JoinSet<Result<()>>,
}

impl Arrivals {
    /// Has each client come once, and then again and again, always with that agreement.
    pub(crate) async fn start(clients: Vec<Client>, wanted: Agreement) -> Result<Self> {
        let count = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for client in clients {
            // The first time there is nothing to remember.
            client.come_and_go().await?;
            tasks.spawn(again_and_again(client, wanted, Arc::clone(&count)));
        }
        Ok(Self { count, tasks })
    }

    /// How many have come and gone so far. An error if one could not.
    pub(crate) fn count(&mut self) -> Result<u64> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended.context("a client's task")??;
        }
        Ok(self.count.load(Ordering::Relaxed))
    }
}

async fn again_and_again(client: Client, wanted: Agreement, count: Arc<AtomicU64>) -> Result<()> {
    loop {
        let agreement = client.come_and_go().await?;
        ensure!(agreement == wanted, "a handshake was {agreement:?} instead of {wanted:?}");
        count.fetch_add(1, Ordering::Relaxed);
    }
}
