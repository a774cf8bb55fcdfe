//! Who has failed to come in, and how long they have to wait before they may try again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::source::Source;

/// The first wait. Each further failure doubles it.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(64);

/// Failures are forgotten when there was none for so long.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// A success makes the failures of its source good, but not before so long after the last one that
/// did. Whoever has a token of its own would otherwise come in between its guesses, and guess as
/// fast as it likes; so it has a few times as many guesses as a stranger. Where many clients share
/// an address, one that fails every 15 s has the others wait for seconds.
const FORGIVEN_EACH: Duration = Duration::from_secs(180);

/// So many sources are remembered; then those that failed longest ago are forgotten first.
const MOST: usize = 16 * 1024;

/// Sources that have failed to come in of late. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Penalties(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<Source, Failures>,
    /// By the time of the last failure.
    order: BTreeSet<(Instant, Source)>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    /// When a success last made them good.
    forgiven: Option<Instant>,
}

impl Penalties {
    /// Whether somebody from `source` may try now. The first `free` failures cost nothing.
    pub(super) fn may_try(&self, source: Source, free: u32, now: Instant) -> bool {
        match self.0.lock().sources.get(&source) {
            Some(failures) => now >= failures.last + wait(failures.count, free),
            None => true,
        }
    }

    /// The same for whoever is about to try. Of those who have waited one may: until it has come in
    /// or failed, others have to wait as long again, or they would all come at once.
    pub(super) fn tries(&self, source: Source, free: u32, now: Instant) -> bool {
        let mut table = self.0.lock();
        let Some(failures) = table.sources.get(&source).copied() else { return true };
        if now < failures.last + wait(failures.count, free) {
            return false;
        }
        if failures.count > free {
            table.note(source, Failures { last: now, ..failures });
        }
        true
    }

    /// Somebody from `source` has failed to come in.
    pub(super) fn failed(&self, source: Source, now: Instant) {
        let mut table = self.0.lock();
        let before = table.sources.get(&source);
        let recent = before.filter(|before| now.duration_since(before.last) < FORGOTTEN);
        let count = recent.map_or(0, |before| before.count).saturating_add(1);
        let forgiven = recent.and_then(|before| before.forgiven);
        table.note(source, Failures { count, last: now, forgiven });
        while let Some((last, oldest)) = table.order.first().copied()
            && (table.order.len() > MOST || now.duration_since(last) >= FORGOTTEN)
        {
            table.order.remove(&(last, oldest));
            table.sources.remove(&oldest);
        }
    }

    /// Somebody from `source` has come in. It stays in the table, for when that counts again.
    pub(super) fn forgive(&self, source: Source, now: Instant) {
        let mut table = self.0.lock();
        let Some(failures) = table.sources.get(&source).copied() else { return };
        let is_due = failures
            .forgiven
            .is_none_or(|last| now.saturating_duration_since(last) >= FORGIVEN_EACH);
        if failures.count > 0 && is_due {
            table.note(source, Failures { count: 0, last: now, forgiven: Some(now) });
        }
    }
}

impl Table {
    fn note(&mut self, source: Source, failures: Failures) {
        if let Some(before) = self.sources.insert(source, failures) {
            self.order.remove(&(before.last, source));
        }
        self.order.insert((failures.last, source));
    }
}

/// How long to wait after so many failures.
fn wait(count: u32, free: u32) -> Duration {
    match count.checked_sub(free) {
        None | Some(0) => Duration::ZERO,
        Some(more) => FIRST.saturating_mul(1 << (more - 1).min(16)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn source(n: u32) -> Source {
        Source::from(SocketAddr::from((n.to_be_bytes(), 1)))
    }

    #[test]
    fn each_failure_beyond_the_free_ones_doubles_the_wait() {
        let penalties = Penalties::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..12 {
            penalties.failed(source(1), now);
            let seconds = (0..).find(|seconds| {
                penalties.may_try(source(1), 3, now + Duration::from_secs(*seconds))
            });
            waits.push(seconds.unwrap());
            now += Duration::from_secs(1);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert!(penalties.may_try(source(2), 3, now), "others are not concerned");
        penalties.forgive(source(1), now);
        assert!(penalties.may_try(source(1), 3, now));
    }

    #[test]
    fn of_many_who_have_waited_together_one_may_try() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        for _ in 0..5 {
            penalties.failed(source(1), now);
        }
        let try_at = |now| (0..100).filter(|_| penalties.tries(source(1), 3, now)).count();
        let later = now + Duration::from_secs(2);
        assert_eq!(try_at(later - Duration::from_millis(1)), 0);
        assert_eq!(try_at(later), 1);
        assert_eq!(try_at(later + Duration::from_secs(1)), 0);
        // The one has gone without a word.
        assert_eq!(try_at(later + Duration::from_secs(2)), 1);
        penalties.forgive(source(1), later);
        assert_eq!(try_at(later), 100);
    }

    /// Guesses of a source for an hour, each as soon as it may be, with successes of its own all the
    /// time if it `has_a_token`.
    fn guesses(has_a_token: bool) -> usize {
        let (penalties, start) = (Penalties::default(), Instant::now());
        let mut guesses = 0;
        for tenth in 0..36_000 {
            let now = start + Duration::from_millis(100) * tenth;
            if has_a_token {
                penalties.forgive(source(1), now);
            }
            if penalties.tries(source(1), 10, now) {
                penalties.failed(source(1), now);
                guesses += 1;
            }
        }
        guesses
    }

    #[test]
    fn a_token_of_its_own_lets_nobody_guess_without_end() {
        let (stranger, tenant) = (guesses(false), guesses(true));
        assert!((60..100).contains(&stranger), "{stranger}");
        assert!(tenant < 6 * stranger, "{tenant} guesses instead of {stranger}");
    }

    #[test]
    fn one_client_that_always_fails_has_the_others_at_its_address_wait_for_seconds() {
        let (penalties, start) = (Penalties::default(), Instant::now());
        let mut longest = Duration::ZERO;
        for second in (0..3600).step_by(15) {
            let now = start + Duration::from_secs(second);
            if penalties.tries(source(1), 10, now) {
                penalties.failed(source(1), now);
            }
            // Somebody else comes right behind it, and waits until it may.
            let wait = (0..64).map(Duration::from_secs);
            let mut wait = wait.filter(|wait| penalties.tries(source(1), 10, now + *wait));
            let wait = wait.next().unwrap();
            penalties.forgive(source(1), now + wait);
            longest = longest.max(wait);
        }
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    }

    #[test]
    fn failures_are_forgotten_and_there_is_an_end_to_what_is_remembered() {
        let penalties = Penalties::default();
        let now = Instant::now();
        for n in 0..50_000 {
            penalties.failed(source(n), now + Duration::from_nanos(n.into()));
        }
        let table = penalties.0.lock();
        assert_eq!((table.sources.len(), table.order.len()), (MOST, MOST));
        assert!(table.sources.contains_key(&source(49_999)));
        drop(table);
        penalties.failed(source(1), now + FORGOTTEN + Duration::from_secs(1));
        assert_eq!(penalties.0.lock().sources.len(), 1);
    }
}
