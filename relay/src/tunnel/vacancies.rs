//! Tunnels that nobody claims any more, until their time is over.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::TunnelId;
use crate::access::Owner;
use crate::limits::{Limits, Source};

/// The time that a vacant tunnel is kept for can change: how often to look whether it has.
const LOOK: Duration = Duration::from_secs(10);

/// Tunnels in the order in which they were vacated. Each is there once at most, and only as long as
/// it is vacant. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Vacancies(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    limits: Limits,
    table: Mutex<Table>,
    inserted: Notify,
}

#[derive(Debug, Default)]
struct Table {
    tunnels: BTreeMap<Vacancy, HeldFor>,
    /// The same, by whom they are held for.
    held: HashMap<HeldFor, BTreeSet<Vacancy>>,
    /// More than may be held: they go at once.
    surplus: VecDeque<TunnelId>,
}

/// A tunnel, and since when nobody has claimed it.
type Vacancy = (Instant, TunnelId);

/// Whom a tunnel is held for. Of those who have shown nothing all have the same owner, so each
/// source counts for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HeldFor {
    Owner(Owner),
    Source(Source),
}

/// A tunnel whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It has been vacant for long enough.
    Time(TunnelId),
    /// Whoever it was held for has more of them than may be held.
    Surplus(TunnelId),
}

impl Vacancies {
    /// No tunnel is vacant yet. `limits` says how many may be at a time.
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Queue { limits, table: Mutex::default(), inserted: Notify::new() }))
    }

    /// The first tunnel that has been vacant for as long as `hold` says, or that is one too many.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&self, hold: impl Fn() -> Duration) -> Over {
        loop {
            let hold = hold();
            let due = {
                let mut table = self.0.table.lock();
                if let Some(tunnel) = table.surplus.pop_front() {
                    return Over::Surplus(tunnel);
                }
                // Looked at and taken at once: somebody may claim it in between, and the next one is
                // not due.
                match table.tunnels.first_key_value().map(|(vacancy, _)| vacancy.clone()) {
                    Some(first) if first.0 + hold <= Instant::now() => {
                        table.remove(&first);
                        return Over::Time(first.1);
                    }
                    first => first.map(|(since, _)| since + hold),
                }
            };
            let inserted = self.0.inserted.notified();
            match due {
                Some(due) => tokio::select! {
                    _ = timeout(LOOK, sleep_until(due.into())) => (),
                    () = inserted => (),
                },
                None => inserted.await,
            }
        }
    }

    /// Nobody has claimed `tunnel` since then. The last who did came from `source`.
    pub(super) fn insert(&self, tunnel: &TunnelId, source: Option<Source>, since: Instant) {
        let rules = self.0.limits.rules();
        let (held_for, most) = match (source, &tunnel.owner) {
            (Some(source), Owner::Anybody) => {
                (HeldFor::Source(source), rules.max_held_ports_per_source)
            }
            (_, owner) => (HeldFor::Owner(owner.clone()), rules.max_held_ports_per_owner),
        };
        let mut table = self.0.table.lock();
        table.tunnels.insert((since, tunnel.clone()), held_for.clone());
        let held = table.held.entry(held_for).or_default();
        held.insert((since, tunnel.clone()));
        if most.is_some_and(|most| held.len() > most as usize)
            && let Some(oldest) = held.first().cloned()
        {
            table.remove(&oldest);
            table.surplus.push_back(oldest.1);
        }
        drop(table);
        self.0.inserted.notify_one();
    }

    /// Somebody claims the tunnel again that nobody has claimed since then, or it has gone.
    pub(super) fn remove(&self, tunnel: &TunnelId, since: Instant) {
        self.0.table.lock().remove(&(since, tunnel.clone()));
    }
}

impl Table {
    fn remove(&mut self, vacancy: &Vacancy) {
        let Some(held_for) = self.tunnels.remove(vacancy) else { return };
        if let Some(held) = self.held.get_mut(&held_for) {
            held.remove(vacancy);
            if held.is_empty() {
                self.held.remove(&held_for);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::limits::LimitRules;

    fn tunnel(name: &str) -> TunnelId {
        TunnelId { owner: Owner::Anybody, name: name.parse().unwrap() }
    }

    fn source(n: u8) -> Option<Source> {
        Some(SocketAddr::from(([10, 0, 0, n], 1)).into())
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_that_are_still_vacant_come_up_the_first_one_first() {
        let vacancies = Vacancies::new(Limits::new(256));
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        for (name, since) in [("late", 2), ("first", 0), ("claimed", 1)] {
            vacancies.insert(&tunnel(name), None, after(since));
        }
        vacancies.remove(&tunnel("claimed"), after(1));
        let hold = || Duration::ZERO;
        assert_eq!(vacancies.next(hold).await, Over::Time(tunnel("first")));
        vacancies.remove(&tunnel("late"), after(2));
        let table = vacancies.0.table.lock();
        assert!(table.tunnels.is_empty() && table.held.is_empty());
    }

    #[tokio::test]
    async fn one_that_is_claimed_while_it_is_looked_at_takes_no_other_one_with_it() {
        let vacancies = Vacancies::new(Limits::new(256));
        let now = Instant::now();
        let long_ago = now.checked_sub(Duration::from_secs(20)).unwrap();
        vacancies.insert(&tunnel("due"), None, long_ago);
        vacancies.insert(&tunnel("just-left"), None, now);
        let hold = || {
            vacancies.remove(&tunnel("due"), long_ago);
            Duration::from_secs(10)
        };
        tokio::select! {
            biased;
            over = vacancies.next(hold) => panic!("its time is not over: {over:?}"),
            () = tokio::task::yield_now() => (),
        }
    }

    #[tokio::test]
    async fn whoever_holds_too_many_loses_those_that_it_left_first() {
        let limits = Limits::new(256);
        limits.set_rules(LimitRules {
            max_held_ports_per_source: Some(2),
            max_held_ports_per_owner: Some(1),
            ..LimitRules::default()
        });
        let vacancies = Vacancies::new(limits);
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        vacancies.insert(&tunnel("other"), source(2), now);
        for (name, since) in [("a", 0), ("b", 1), ("c", 2)] {
            vacancies.insert(&tunnel(name), source(1), after(since));
        }
        let of_ann = |name: &str| TunnelId { owner: Owner::User("ann".into()), ..tunnel(name) };
        // Wherever she comes from.
        vacancies.insert(&of_ann("a"), source(1), now);
        vacancies.insert(&of_ann("b"), source(2), after(1));
        let hold = || Duration::from_secs(3600);
        assert_eq!(vacancies.next(hold).await, Over::Surplus(tunnel("a")));
        assert_eq!(vacancies.next(hold).await, Over::Surplus(of_ann("a")));
        assert_eq!(vacancies.0.table.lock().tunnels.len(), 4);
    }
}
