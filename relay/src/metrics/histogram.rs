//! Durations in a few buckets. Two relaxed additions each, and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bounds of a histogram's buckets, in ascending order.
pub(super) type Bounds<const N: usize> = [Duration; N];

/// How many durations fell into each of `N` buckets, and how many beyond the last one.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    bounds: &'static Bounds<N>,
    within: [AtomicU64; N],
    beyond: AtomicU64,
    /// In microseconds, of which ten thousand visits at a time take decades to fill it.
    sum: AtomicU64,
}

/// What a histogram shows at one moment. It agrees with itself, whatever is added meanwhile.
pub(super) struct Reading<const N: usize> {
    /// The bounds, and how many were not longer than each.
    pub(super) buckets: [(Duration, u64); N],
    pub(super) count: u64,
    pub(super) sum: Duration,
}

impl<const N: usize> Histogram<N> {
    pub(super) fn new(bounds: &'static Bounds<N>) -> Self {
        Self {
            bounds,
            within: [(); N].map(|()| AtomicU64::new(0)),
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, time: Duration) {
        let bucket = self.bounds.iter().position(|bound| time <= *bound);
        bucket.map_or(&self.beyond, |at| &self.within[at]).fetch_add(1, Ordering::Relaxed);
        let micros = (time + HALF_A_MICRO).as_micros();
        self.sum.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long they were on average. `None`: there is none.
    pub(super) fn mean(&self) -> Option<Duration> {
        let Reading { count, sum, .. } = self.read();
        (count > 0).then(|| sum.div_f64(count as f64))
    }

    pub(super) fn read(&self) -> Reading<N> {
        let mut count = 0;
        let mut so_far = |bucket: &AtomicU64| {
            count += bucket.load(Ordering::Relaxed);
            count
        };
        let buckets = std::array::from_fn(|at| (self.bounds[at], so_far(&self.within[at])));
        let count = so_far(&self.beyond);
        Reading { buckets, count, sum: Duration::from_micros(self.sum.load(Ordering::Relaxed)) }
    }
}

/// So that the sum is rounded rather than cut off.
const HALF_A_MICRO: Duration = Duration::from_nanos(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_above() {
        static BOUNDS: Bounds<2> = [Duration::from_millis(10), Duration::from_secs(1)];
        let histogram = Histogram::new(&BOUNDS);
        for millis in [3, 10, 11, 5000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let Reading { buckets, count, sum } = histogram.read();
        assert_eq!(buckets, [(BOUNDS[0], 2), (BOUNDS[1], 3)]);
        assert_eq!(count, 4);
        assert_eq!(sum, Duration::from_millis(5024));
        assert_eq!(histogram.mean(), Some(Duration::from_millis(1256)));
        assert_eq!(Histogram::new(&BOUNDS).mean(), None);
    }
}
