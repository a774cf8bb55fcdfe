//! What each source has, and how often it comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::kit::amounts::Frequency;

use super::source::Source;
use crate::metrics::Limit;

/// Those who have nothing any more are cleared away when there are so many, or twice as many as
/// were left the last time.
const CLEAR_AT: usize = 4096;

/// So many sources are remembered for having come of late: then all those who are not there are
/// forgotten. Whoever has more addresses than that is not held by a limit for each.
const MOST_ABSENT: usize = 64 * 1024;

/// All sources that have something now, or came a moment ago. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<Source, Present>,
    clear_at: usize,
}

/// What there is of one source.
#[derive(Debug, Default)]
struct Present {
    visitors: usize,
    arrivals: Pace,
}

/// A visitor's part in what its source has, until it is dropped.
#[derive(Debug)]
pub(crate) struct FromSource {
    sources: Sources,
    source: Source,
}

/// How often something happens: the moment until which what has happened is spread out evenly.
#[derive(Debug, Default)]
pub(crate) struct Pace(Option<Instant>);

impl Pace {
    /// Whether one more may happen now. It counts if it may. As many as the frequency says may come
    /// at once, if none came for its time.
    pub(crate) fn allow(&mut self, frequency: Frequency, now: Instant) -> bool {
        let (spread, each) = self.spread(frequency, now);
        let allowed = spread + each <= now + frequency.time;
        self.0 = Some(if allowed { spread + each } else { spread });
        allowed
    }

    /// How long one more would have to wait now.
    pub(crate) fn wait(&self, frequency: Frequency, now: Instant) -> Duration {
        let (spread, each) = self.spread(frequency, now);
        (spread + each).saturating_duration_since(now + frequency.time)
    }

    /// The moment until which what has happened is spread out, and the time of each.
    fn spread(&self, frequency: Frequency, now: Instant) -> (Instant, Duration) {
        let each = frequency.time / frequency.count.get();
        // It may have been another frequency before.
        let latest = now + frequency.time;
        (self.0.map_or(now, |until| until.clamp(now, latest)), each)
    }

    /// Whether it is as if nothing had ever happened.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.0.is_none_or(|until| until <= now)
    }
}

impl Sources {
    /// Room for one more visitor from `source`, of whom there may be `most`, and who may come as
    /// often as `frequency` says.
    pub(super) fn visitor(
        &self,
        source: Source,
        most: Option<usize>,
        frequency: Option<Frequency>,
        now: Instant,
    ) -> Result<FromSource, Limit> {
        let mut table = self.0.lock();
        table.clear(now);
        let present = table.sources.entry(source).or_default();
        if most.is_some_and(|most| present.visitors >= most) {
            return Err(Limit::VisitorsPerSource);
        }
        if frequency.is_some_and(|frequency| !present.arrivals.allow(frequency, now)) {
            return Err(Limit::NewVisitorsPerSource);
        }
        present.visitors += 1;
        Ok(FromSource { sources: self.clone(), source })
    }
}

impl Table {
    /// Clears away what is no different from a source that was never here. Those with visitors are
    /// as many as the relay can take; of those who came of late there may be any number.
    fn clear(&mut self, now: Instant) {
        if self.sources.len() < self.clear_at.max(CLEAR_AT) {
            return;
        }
        self.sources.retain(|_, present| present.visitors > 0 || !present.arrivals.is_over(now));
        if self.sources.len() > MOST_ABSENT {
            self.sources.retain(|_, present| present.visitors > 0);
        }
        self.clear_at = 2 * self.sources.len();
    }
}

impl Drop for FromSource {
    fn drop(&mut self) {
        let mut table = self.sources.0.lock();
        if let Some(present) = table.sources.get_mut(&self.source) {
            present.visitors -= 1;
            if present.visitors == 0 && present.arrivals.is_over(Instant::now()) {
                table.sources.remove(&self.source);
            }
        }
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
    fn a_source_has_as_many_visitors_as_it_may_and_others_do_not_mind() {
        let sources = Sources::default();
        let now = Instant::now();
        let visit = |n| sources.visitor(source(n), Some(2), None, now);
        let two = [visit(1).unwrap(), visit(1).unwrap()];
        assert_eq!(visit(1).unwrap_err(), Limit::VisitorsPerSource);
        assert!(visit(2).is_ok());
        drop(two);
        assert!(visit(1).is_ok());
        assert!(sources.0.lock().sources.is_empty());
    }

    #[test]
    fn another_frequency_counts_from_then_on() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let [slow, fast] = ["1000/1d", "50/1s"].map(|text| text.parse().unwrap());
        for _ in 0..1000 {
            assert!(pace.allow(slow, now));
        }
        assert!(!pace.allow(slow, now) && !pace.allow(fast, now));
        assert!(pace.allow(fast, now + Duration::from_millis(20)));
    }

    #[test]
    fn sources_that_came_of_late_are_remembered_up_to_a_bound() {
        let (sources, now) = (Sources::default(), Instant::now());
        let once = Some("1/1h".parse().unwrap());
        let stays = sources.visitor(source(0), None, once, now);
        for n in 1..300_000 {
            drop(sources.visitor(source(n), None, once, now));
            let there = sources.0.lock().sources.len();
            assert!(there <= 2 * MOST_ABSENT + 1, "{there}");
        }
        assert!(sources.0.lock().sources.contains_key(&source(0)));
        drop(stays);
    }

    #[test]
    fn arrivals_are_counted_over_a_time() {
        let sources = Sources::default();
        let start = Instant::now();
        let often = Some("10/1s".parse().unwrap());
        let visit = |millis| {
            let now = start + Duration::from_millis(millis);
            sources.visitor(source(1), None, often, now).map(drop)
        };
        assert!((0..10).all(|_| visit(0).is_ok()));
        assert_eq!(visit(0), Err(Limit::NewVisitorsPerSource));
        assert_eq!(visit(99), Err(Limit::NewVisitorsPerSource));
        assert!(visit(100).is_ok() && visit(100).is_err());
        assert!((0..10).all(|_| visit(2000).is_ok()));
    }

    #[test]
    fn sources_that_have_gone_are_forgotten() {
        let sources = Sources::default();
        let start = Instant::now();
        let often = Some("1/1s".parse().unwrap());
        let kept = sources.visitor(source(0), None, often, start).unwrap();
        for n in 1..=100_000 {
            let now = start + Duration::from_millis(u64::from(n));
            drop(sources.visitor(source(n), None, often, now).unwrap());
        }
        let left = sources.0.lock().sources.len();
        assert!(left <= 2 * CLEAR_AT, "{left}");
        assert!(sources.0.lock().sources.contains_key(&source(0)));
        drop(kept);
    }
}
