//! Tunnels that nobody claims any more, until their time is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::TunnelId;

/// The time that a vacant tunnel is kept for can change: how often to look whether it has.
const LOOK: Duration = Duration::from_secs(10);

/// Tunnels in the order in which they were vacated. Each is there once at most, and only as long as
/// it is vacant. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vacancies(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    tunnels: Mutex<BTreeSet<(Instant, TunnelId)>>,
    inserted: Notify,
}

impl Vacancies {
    /// The first tunnel that has been vacant for as long as `hold` says.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&self, hold: impl Fn() -> Duration) -> TunnelId {
        loop {
            let first = self.0.tunnels.lock().first().map(|(since, _)| *since);
            let Some(since) = first else {
                self.0.inserted.notified().await;
                continue;
            };
            let due = since + hold();
            if due > Instant::now() {
                drop(timeout(LOOK, sleep_until(due.into())).await);
                continue;
            }
            if let Some((_, tunnel)) = self.0.tunnels.lock().pop_first() {
                return tunnel;
            }
        }
    }

    /// Nobody has claimed `tunnel` since then.
    pub(super) fn insert(&self, tunnel: &TunnelId, since: Instant) {
        self.0.tunnels.lock().insert((since, tunnel.clone()));
        self.0.inserted.notify_one();
    }

    /// Somebody claims the tunnel again that nobody has claimed since then, or it has gone.
    pub(super) fn remove(&self, tunnel: &TunnelId, since: Instant) {
        self.0.tunnels.lock().remove(&(since, tunnel.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Owner;

    fn tunnel(name: &str) -> TunnelId {
        TunnelId { owner: Owner::Anybody, name: name.parse().unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_that_are_still_vacant_come_up_the_first_one_first() {
        let vacancies = Vacancies::default();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        for (name, since) in [("late", 2), ("first", 0), ("claimed", 1)] {
            vacancies.insert(&tunnel(name), after(since));
        }
        vacancies.remove(&tunnel("claimed"), after(1));
        let hold = || Duration::ZERO;
        assert_eq!(vacancies.next(hold).await, tunnel("first"));
        vacancies.remove(&tunnel("late"), after(2));
        assert!(vacancies.0.tunnels.lock().is_empty());
    }
}
