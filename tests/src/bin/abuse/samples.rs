//! Times that something took, and what they come to.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// Each with the moment at which it was over.
    all: Mutex<Vec<(Instant, Duration)>>,
    added: Notify,
}

/// What samples come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Samples {
    /// It took so long.
    pub(crate) fn add(&self, took: Duration) {
        self.all.lock().push((Instant::now(), took));
        self.added.notify_waiters();
    }

    /// Waits until `count` are over since `from`.
    pub(crate) async fn until(&self, count: usize, from: Instant) {
        loop {
            // From here on none is missed.
            let added = self.added.notified();
            if self.all.lock().iter().filter(|(at, _)| *at >= from).count() >= count {
                return;
            }
            added.await;
        }
    }

    /// Those that were over from `from` on and before `to`.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Figures {
        let samples = self.all.lock();
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
