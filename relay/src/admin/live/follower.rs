//! One who watches.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::tick::{Audience, Tick};

/// Whoever is told nothing for so long is told that there is nothing, so that proxies see that the
/// connection is alive: many give up a silent one after a minute.
const SILENCE: Duration = Duration::from_secs(15);

/// One who watches.
#[derive(Debug)]
pub(in crate::admin) struct Follower {
    audience: Audience,
    ticks: broadcast::Receiver<Arc<Tick>>,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// What whoever watches learns next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) enum News {
    /// This has happened: a tick, as JSON.
    Tick(Bytes),
    /// Something was missed: it has to look at everything anew.
    Missed,
    /// Nothing.
    Nothing,
}

impl Follower {
    pub(super) fn new(
        audience: Audience,
        ticks: broadcast::Receiver<Arc<Tick>>,
        stopping: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { audience, ticks, stopping, _place: place }
    }

    /// What it learns next. `None`: the relay stops.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(in crate::admin) async fn next(&mut self) -> Option<News> {
        let next = async {
            loop {
                match self.ticks.recv().await {
                    Ok(tick) => {
                        if let Some(told) = tick.for_audience(&self.audience) {
                            return Some(News::Tick(told));
                        }
                    }
                    Err(RecvError::Lagged(_)) => return Some(News::Missed),
                    Err(RecvError::Closed) => return None,
                }
            }
        };
        tokio::select! {
            news = timeout(SILENCE, next) => news.unwrap_or(Some(News::Nothing)),
            () = self.stopping.cancelled() => None,
        }
    }
}
