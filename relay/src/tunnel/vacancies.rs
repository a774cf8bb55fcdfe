//! Tunnels that nobody claims any more, until their time is over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::TunnelId;

/// The time that a vacant tunnel is kept for can change: how often to look whether it has.
const LOOK: Duration = Duration::from_secs(10);

/// Tunnels in the order in which they were vacated. A tunnel is there once at most. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vacancies(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    tunnels: Mutex<VecDeque<(Instant, TunnelId)>>,
    pushed: Notify,
}

impl Vacancies {
    /// The first tunnel that has been vacant for as long as `hold` says.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&self, hold: impl Fn() -> Duration) -> TunnelId {
        loop {
            let first = self.0.tunnels.lock().front().map(|(since, _)| *since);
            let Some(since) = first else {
                self.0.pushed.notified().await;
                continue;
            };
            let due = since + hold();
            if due > Instant::now() {
                drop(timeout(LOOK, sleep_until(due.into())).await);
                continue;
            }
            if let Some((_, tunnel)) = self.0.tunnels.lock().pop_front() {
                return tunnel;
            }
        }
    }

    /// Nobody has claimed `tunnel` since then.
    pub(crate) fn push(&self, tunnel: TunnelId, since: Instant) {
        self.0.tunnels.lock().push_back((since, tunnel));
        self.0.pushed.notify_one();
    }
}
