//! The narrowest place of a line's one direction.

use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// A rate and a bounded first-in first-out queue before it, shared by all connections.
///
/// The queue is kept as a moment: when everything in it will have passed. That moment and the rate
/// say how much is waiting. Since it is counted in moments that were planned and not in those at
/// which threads woke, the rate is exact however late they wake.
pub(super) struct Bottleneck {
    nanoseconds_per_byte: f64,
    queue: Duration,
    all_passed: Mutex<Instant>,
}

impl Bottleneck {
    pub(super) fn new(megabits_per_second: u64, queue_bytes: usize) -> Self {
        let nanoseconds_per_byte = 8_000.0 / megabits_per_second as f64;
        let queue = Duration::from_nanos((queue_bytes as f64 * nanoseconds_per_byte) as u64);
        Self { nanoseconds_per_byte, queue, all_passed: Mutex::new(Instant::now()) }
    }

    /// Waits until the queue has room, and returns when the bytes will have passed.
    ///
    /// Callers are served in the order of coming: whoever waits for room holds the lock, and hands
    /// it to the next one fairly.
    pub(super) fn pass(&self, bytes: usize) -> Instant {
        let cost = Duration::from_nanos((bytes as f64 * self.nanoseconds_per_byte) as u64);
        let mut all_passed = self.all_passed.lock();
        let now = Instant::now();
        let waiting = all_passed.saturating_duration_since(now) + cost;
        thread::sleep(waiting.saturating_sub(self.queue));
        let passed = (*all_passed).max(now) + cost;
        *all_passed = passed;
        MutexGuard::unlock_fair(all_passed);
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_takes_its_time_and_a_full_queue_holds_the_sender() {
        // 8 Mbit/s: one byte each microsecond.
        let bottleneck = Bottleneck::new(8, 10_000);
        let start = Instant::now();
        let first = bottleneck.pass(10_000);
        assert!(start.elapsed() < Duration::from_millis(9), "room for it at once");
        assert!(first >= start + Duration::from_millis(10));
        let second = bottleneck.pass(5_000);
        assert!(start.elapsed() >= Duration::from_millis(5), "no room before half has passed");
        assert_eq!(second - first, Duration::from_millis(5));
    }
}
