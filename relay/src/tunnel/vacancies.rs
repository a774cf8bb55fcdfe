//! Tunnels that nobody claims any more, until their time is over.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::TunnelId;
use crate::access::Owner;
use crate::limits::{LimitRules, Limits, Source};

/// The time that a vacant tunnel is kept for can change, and so can how many are: how often to look
/// whether they have.
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
    most: Most,
    tunnels: BTreeMap<Vacancy, Kept>,
    /// The same, by whom they are held for.
    held: HashMap<HeldFor, Held>,
    /// More than may be held: they go at once.
    surplus: BTreeSet<Vacancy>,
}

/// How many ports may be held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Most {
    per_owner: Option<u32>,
    per_source: Option<u32>,
}

/// What there is to know of a vacant tunnel.
#[derive(Debug)]
struct Kept {
    held_for: HeldFor,
    ports: usize,
}

/// All that is held for one of them.
#[derive(Debug, Default)]
struct Held {
    tunnels: BTreeSet<Vacancy>,
    /// Of all of them: each is one that nobody else can have.
    ports: usize,
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
                table.follow(&self.0.limits.rules());
                if let Some((_, tunnel)) = table.surplus.pop_first() {
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

    /// Nobody has claimed `tunnel` since then, which has so many ports. The last who did came from
    /// `source`.
    pub(super) fn insert(
        &self,
        tunnel: &TunnelId,
        ports: usize,
        source: Option<Source>,
        since: Instant,
    ) {
        let held_for = match (source, &tunnel.owner) {
            (Some(source), Owner::Anybody) => HeldFor::Source(source),
            (_, owner) => HeldFor::Owner(owner.clone()),
        };
        let vacancy = (since, tunnel.clone());
        let mut table = self.0.table.lock();
        table.follow(&self.0.limits.rules());
        let held = table.held.entry(held_for.clone()).or_default();
        held.tunnels.insert(vacancy.clone());
        held.ports += ports;
        table.tunnels.insert(vacancy, Kept { held_for: held_for.clone(), ports });
        table.trim(&held_for);
        drop(table);
        self.0.inserted.notify_one();
    }

    /// Somebody claims the tunnel again that nobody has claimed since then, or it has gone.
    pub(super) fn remove(&self, tunnel: &TunnelId, since: Instant) {
        let vacancy = (since, tunnel.clone());
        let mut table = self.0.table.lock();
        table.remove(&vacancy);
        table.surplus.remove(&vacancy);
    }
}

impl Table {
    fn remove(&mut self, vacancy: &Vacancy) {
        let Some(Kept { held_for, ports }) = self.tunnels.remove(vacancy) else { return };
        if let Some(held) = self.held.get_mut(&held_for) {
            held.tunnels.remove(vacancy);
            held.ports -= ports;
            if held.tunnels.is_empty() {
                self.held.remove(&held_for);
            }
        }
    }

    /// So many may be held from now on, also of those that are held already.
    fn follow(&mut self, rules: &LimitRules) {
        let most = Most {
            per_owner: rules.max_held_ports_per_owner,
            per_source: rules.max_held_ports_per_source,
        };
        if self.most == most {
            return;
        }
        self.most = most;
        let all: Vec<_> = self.held.keys().cloned().collect();
        for held_for in &all {
            self.trim(held_for);
        }
    }

    /// Whatever is too much for one of them goes, what was left first before the rest.
    fn trim(&mut self, held_for: &HeldFor) {
        let most = match held_for {
            HeldFor::Owner(_) => self.most.per_owner,
            HeldFor::Source(_) => self.most.per_source,
        };
        let Some(most) = most else { return };
        while let Some(held) = self.held.get(held_for)
            && held.ports > most as usize
            && let Some(oldest) = held.tunnels.first().cloned()
        {
            self.remove(&oldest);
            self.surplus.insert(oldest);
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
            vacancies.insert(&tunnel(name), 1, None, after(since));
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
        vacancies.insert(&tunnel("due"), 1, None, long_ago);
        vacancies.insert(&tunnel("just-left"), 1, None, now);
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
        vacancies.insert(&tunnel("other"), 1, source(2), now);
        for (name, since) in [("a", 0), ("b", 1), ("c", 2)] {
            vacancies.insert(&tunnel(name), 1, source(1), after(since));
        }
        let of_ann = |name: &str| TunnelId { owner: Owner::User("ann".into()), ..tunnel(name) };
        // Wherever she comes from.
        vacancies.insert(&of_ann("a"), 1, source(1), now);
        vacancies.insert(&of_ann("b"), 1, source(2), after(1));
        let hold = || Duration::from_secs(3600);
        assert_eq!(vacancies.next(hold).await, Over::Surplus(tunnel("a")));
        assert_eq!(vacancies.next(hold).await, Over::Surplus(of_ann("a")));
        assert_eq!(vacancies.0.table.lock().tunnels.len(), 4);
    }

    fn per_source(most: u32) -> LimitRules {
        LimitRules { max_held_ports_per_source: Some(most), ..LimitRules::default() }
    }

    #[tokio::test]
    async fn as_many_go_as_it_takes_for_the_ports_of_another_one() {
        let limits = Limits::new(256);
        limits.set_rules(per_source(10));
        let vacancies = Vacancies::new(limits);
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        for (name, ports, since) in [("a", 3, 0), ("b", 4, 1), ("c", 3, 2), ("d", 5, 3)] {
            vacancies.insert(&tunnel(name), ports, source(1), after(since));
        }
        let hold = || Duration::from_secs(3600);
        assert_eq!(vacancies.next(hold).await, Over::Surplus(tunnel("a")));
        assert_eq!(vacancies.next(hold).await, Over::Surplus(tunnel("b")));
        let table = vacancies.0.table.lock();
        let held: Vec<_> = table.held.values().map(|held| held.ports).collect();
        assert_eq!((held, table.tunnels.len()), (vec![8], 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_lowered_counts_for_what_is_held_already() {
        let limits = Limits::new(256);
        let vacancies = Vacancies::new(limits.clone());
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        for (name, since) in [("a", 0), ("b", 1), ("c", 2), ("d", 3)] {
            vacancies.insert(&tunnel(name), 1, source(1), after(since));
        }
        let hold = || Duration::from_secs(3600);
        let mut next = Box::pin(vacancies.next(hold));
        let wait = timeout(LOOK / 2, &mut next).await;
        wait.expect_err("all of them may be held");
        limits.set_rules(per_source(2));
        let next = timeout(2 * LOOK, next).await.expect("within a look");
        assert_eq!(next, Over::Surplus(tunnel("a")));
        // Somebody comes back to the next one in time.
        vacancies.remove(&tunnel("b"), after(1));
        assert_eq!(vacancies.0.table.lock().surplus.len(), 0);
    }
}
