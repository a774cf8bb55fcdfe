//! How much moves in a second, from numbers that only grow.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use shared::control::protocol::TunnelName;

use crate::tally::{Counts, Totals};

/// Two readings are so far apart at least: between closer ones a single chunk would make a rate jump.
const APART: Duration = Duration::from_millis(900);

/// Bytes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// The rates between the last two readings.
#[derive(Debug)]
pub(super) struct Rates {
    at: Instant,
    totals: Totals,
    all: Rate,
    of_tunnels: HashMap<TunnelName, Rate>,
}

impl Rates {
    /// From the first reading on.
    pub(super) fn new(at: Instant, totals: Totals) -> Self {
        Self { at, totals, all: Rate::default(), of_tunnels: HashMap::new() }
    }

    /// One more reading.
    pub(super) fn note(&mut self, at: Instant, totals: &Totals) {
        let passed = at - self.at;
        if passed < APART {
            return;
        }
        self.all = Rate::between(&self.totals.all, &totals.all, passed);
        self.of_tunnels.clear();
        for (name, after) in &totals.of_tunnels {
            let before = self.totals.of_tunnels.get(name).copied().unwrap_or_default();
            let rate = Rate::between(&before, after, passed);
            if rate != Rate::default() {
                self.of_tunnels.insert(name.clone(), rate);
            }
        }
        self.at = at;
        self.totals.clone_from(totals);
    }

    /// Of all tunnels together.
    pub(super) fn all(&self) -> Rate {
        self.all
    }

    pub(super) fn of(&self, tunnel: &TunnelName) -> Rate {
        self.of_tunnels.get(tunnel).copied().unwrap_or_default()
    }
}

impl Rate {
    fn between(before: &Counts, after: &Counts, passed: Duration) -> Self {
        // The sum is read tunnel by tunnel while one may be moved to those that are gone.
        let rate = |before: u64, after: u64| {
            let moved = u128::from(after.saturating_sub(before)) * 1000;
            u64::try_from(moved / passed.as_millis().max(1)).unwrap_or(u64::MAX)
        };
        Self {
            bytes_in: rate(before.bytes_in, after.bytes_in),
            bytes_out: rate(before.bytes_out, after.bytes_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(bytes_in: u64, bytes_out: u64) -> Totals {
        let all = Counts { bytes_in, bytes_out, ..Counts::default() };
        let of_tunnels = HashMap::from([("web".parse().unwrap(), all)]);
        Totals { all, of_tunnels, round_trip: None }
    }

    #[test]
    fn a_rate_is_of_the_time_between_two_readings_that_are_a_second_apart() {
        let start = Instant::now();
        let web = "web".parse().unwrap();
        let mut rates = Rates::new(start, totals(100, 0));
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        rates.note(at(0.1), &totals(5_000_000, 0));
        assert_eq!(rates.all(), Rate::default(), "it is too early to tell");
        rates.note(at(2.0), &totals(2_100, 500));
        let expected = Rate { bytes_in: 1_000, bytes_out: 250 };
        assert_eq!((rates.all(), rates.of(&web)), (expected, expected));
        rates.note(at(3.0), &totals(2_100, 500));
        assert_eq!((rates.all(), rates.of(&web)), (Rate::default(), Rate::default()));
        assert_eq!(rates.of(&"another".parse().unwrap()), Rate::default());
    }
}
