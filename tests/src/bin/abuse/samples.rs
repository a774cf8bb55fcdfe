//! Times that something took, and what they come to.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What was measured, each with the moment at which it was over.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<Vec<(Instant, Duration)>>);

/// What samples come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Samples {
    /// It took so long.
    pub(crate) fn add(&self, took: Duration) {
        self.0.lock().push((Instant::now(), took));
    }

    /// How many are over since `from`.
    pub(crate) fn since(&self, from: Instant) -> usize {
        self.0.lock().iter().filter(|(at, _)| *at >= from).count()
    }

    /// Those that were over from `from` on and before `to`.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Figures {
        let samples = self.0.lock();
        let within = samples.iter().filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, took)| *took).collect()
    }
}

impl Figures {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The one below which this share of them lies.
    pub(crate) fn at(&self, share: f64) -> Milliseconds {
        let last = self.0.len().saturating_sub(1) as f64;
        Milliseconds(self.0.get((last * share).round() as usize).copied())
    }

    /// The same as a number of milliseconds, NaN if there is none.
    pub(crate) fn exactly(&self, share: f64) -> f64 {
        self.at(share).0.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

impl FromIterator<Duration> for Figures {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        let mut sorted: Vec<_> = samples.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }
}

/// A time as it stands in a table, if there is any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Milliseconds(Option<Duration>);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|time| time.as_secs_f64() * 1e3) {
            None => f.write_str("-"),
            Some(ms) if ms < 9.95 => write!(f, "{ms:.1}"),
            Some(ms) => write!(f, "{ms:.0}"),
        }
    }
}
