//! What may move in a time: shared by many visits, smooth, and fair among them.
//!
//! Nothing is queued but turns. Whoever wants to move something is given a small share and the
//! moment at which it may move it; it asks for the next one when it has used that. So those who have
//! a lot to move take turns, each visit waits by itself, and the session under it never does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::kit::amounts::Bandwidth;
use tokio::time::{Sleep, sleep_until};

/// A share takes so long at the full rate: several visits then seem to move at once.
const SHARE: Duration = Duration::from_millis(10);

/// The smallest share in bytes: less would be all headers.
const SMALLEST: usize = 1024;

/// The largest share in bytes, which is what a bridge moves at a time.
const LARGEST: usize = 128 * 1024;

/// What was not used for so long at the most may be made up for: a timer is some milliseconds late,
/// and the rate would suffer.
const MADE_UP_FOR: Duration = Duration::from_millis(50);

/// What is left of a share is forgotten after so long: many quiet visits together must not move a
/// lot at once.
const KEPT: Duration = Duration::from_secs(1);

/// One direction of whatever has a bandwidth.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Bytes a second; zero for no limit.
    rate: AtomicU64,
    /// When the last share that was given out will have moved.
    taken: Mutex<Instant>,
}

impl Bucket {
    pub(crate) fn new(rate: Option<Bandwidth>) -> Self {
        let bucket = Self { rate: AtomicU64::new(0), taken: Mutex::new(Instant::now()) };
        bucket.set(rate);
        bucket
    }

    /// The bandwidth from now on.
    pub(crate) fn set(&self, rate: Option<Bandwidth>) {
        self.rate.store(rate.map_or(0, Bandwidth::bytes), Ordering::Relaxed);
    }

    fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// The size of a fair share in bytes, if there is a limit.
    fn share(&self) -> Option<usize> {
        let share = self.rate()? as f64 * SHARE.as_secs_f64();
        Some((share as usize).clamp(SMALLEST, LARGEST))
    }

    /// Gives out so many bytes: the moment from which they may move.
    fn take(&self, bytes: usize, now: Instant) -> Instant {
        let Some(rate) = self.rate() else { return now };
        let time = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut taken = self.taken.lock();
        let earliest = now.checked_sub(MADE_UP_FOR).unwrap_or(now);
        let from = (*taken).max(earliest);
        *taken = from + time;
        from
    }
}

/// One direction of a visit, under all the limits that it comes under.
#[derive(Debug)]
pub(crate) struct Lane {
    buckets: Box<[Arc<Bucket>]>,
    /// Bytes that may move now.
    left: usize,
    given: Instant,
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Lane {
    pub(crate) fn new(buckets: impl IntoIterator<Item = Arc<Bucket>>) -> Self {
        let buckets = buckets.into_iter().collect();
        Self { buckets, left: 0, given: Instant::now(), waiting: None }
    }

    /// How many bytes may move now, one at least.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some((sleep, share)) = &mut self.waiting {
            ready!(sleep.as_mut().poll(cx));
            (self.left, self.given) = (*share, Instant::now());
            self.waiting = None;
        }
        if self.left > 0 && self.given.elapsed() < KEPT {
            return Poll::Ready(self.left);
        }
        let Some(share) = self.buckets.iter().filter_map(|bucket| bucket.share()).min() else {
            return Poll::Ready(usize::MAX);
        };
        let now = Instant::now();
        let from = self.buckets.iter().map(|bucket| bucket.take(share, now)).max().unwrap_or(now);
        if from > now {
            let mut sleep = Box::pin(sleep_until(from.into()));
            if sleep.as_mut().poll(cx).is_pending() {
                self.waiting = Some((sleep, share));
                return Poll::Pending;
            }
        }
        (self.left, self.given) = (share, now);
        Poll::Ready(share)
    }

    /// So many bytes have moved.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: &str) -> Bucket {
        Bucket::new(Some(rate.parse().unwrap()))
    }

    #[test]
    fn shares_follow_one_another_at_the_rate() {
        let bucket = bucket("8mbit"); // 1 MB/s
        assert_eq!(bucket.share(), Some(10_000));
        let now = Instant::now();
        let first = bucket.take(10_000, now);
        assert!(first <= now, "what was not used before is made up for");
        // A second's worth of shares, however many ask.
        let last = (0..100).map(|_| bucket.take(10_000, now)).last().unwrap();
        let after = last.duration_since(now);
        assert!((940..=1000).contains(&after.as_millis()), "{after:?}");
    }

    #[test]
    fn what_was_not_used_long_ago_is_gone() {
        let bucket = bucket("8mbit");
        let start = Instant::now();
        bucket.take(10_000, start);
        let later = start + Duration::from_secs(100);
        assert_eq!(bucket.take(10_000, later), later - MADE_UP_FOR);
    }

    #[test]
    fn shares_are_neither_tiny_nor_huge_and_a_limit_can_go() {
        assert_eq!(bucket("1kbit").share(), Some(SMALLEST));
        let fast = bucket("100gbit");
        assert_eq!(fast.share(), Some(LARGEST));
        fast.set(None);
        assert_eq!(fast.share(), None);
        let now = Instant::now();
        assert_eq!(fast.take(usize::MAX / 2, now), now);
    }

    #[tokio::test(start_paused = true)]
    async fn the_narrowest_limit_of_a_lane_counts_and_others_share_it() {
        let [tunnel, owner] = [Arc::new(bucket("80mbit")), Arc::new(bucket("8mbit"))];
        let mut lanes = [0; 2].map(|_| Lane::new([Arc::clone(&tunnel), Arc::clone(&owner)]));
        let mut moved = [0_usize; 2];
        let start = Instant::now();
        // Real time passes here: the buckets go by the clock.
        tokio::time::resume();
        while start.elapsed() < Duration::from_millis(500) {
            for (lane, moved) in lanes.iter_mut().zip(&mut moved) {
                let some = std::future::poll_fn(|cx| match lane.poll(cx) {
                    Poll::Ready(bytes) => Poll::Ready(Some(bytes)),
                    Poll::Pending => Poll::Ready(None),
                });
                if let Some(bytes) = some.await {
                    assert!((1..=10_000).contains(&bytes));
                    *moved += bytes;
                    lane.moved(bytes);
                }
            }
            tokio::task::yield_now().await;
        }
        let elapsed = start.elapsed().as_secs_f64();
        let total = moved.iter().sum::<usize>() as f64;
        // Never more than the rate, what is made up for, and a share for each.
        assert!(total <= (elapsed + 0.05) * 1e6 + 20_000.0, "{total} bytes in {elapsed} s");
        assert!(moved[0].abs_diff(moved[1]) <= 20_000, "{moved:?}");
    }
}
