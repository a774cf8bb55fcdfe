//! What may move in a time: shared by many visits, smooth, and fair among them.
//!
//! Nothing is queued but turns. Whoever has something to move is given a small share and the moment
//! at which it may move it; it asks for the next one when it has used that, and gives back what it
//! does not need. So those who have a lot to move take turns, each visit waits by itself, and the
//! session under it never does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use shared::kit::amounts::Bandwidth;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::metrics::Limit;

/// A share takes so long at the full rate: several visits then seem to move at once.
const SHARE: Duration = Duration::from_millis(10);

/// The smallest share in bytes: less would be all headers.
const SMALLEST: usize = 1024;

/// The largest share in bytes, which is what a bridge moves at a time.
const LARGEST: usize = 128 * 1024;

/// What was not used for so long at the most may be made up for: a timer is some milliseconds late,
/// and the rate would suffer.
const MADE_UP_FOR: Duration = Duration::from_millis(50);

/// Whoever waits looks so often whether the bandwidth is another one by now.
const LOOK: Duration = Duration::from_secs(1);

/// One direction of whatever has a bandwidth.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// What it is called.
    limit: Limit,
    /// Bytes a second; zero for no limit.
    rate: AtomicU64,
    /// How often that has changed. Changes under the lock of `taken`.
    changes: AtomicU64,
    /// When the last share that was given out will have moved.
    taken: Mutex<Instant>,
    /// How many visits wait for their turn.
    waiting: AtomicUsize,
}

impl Bucket {
    pub(crate) fn new(limit: Limit, rate: Option<Bandwidth>) -> Self {
        let [none, changes] = [0; 2].map(AtomicU64::new);
        let (taken, waiting) = (Mutex::new(Instant::now()), AtomicUsize::new(0));
        let bucket = Self { limit, rate: none, changes, taken, waiting };
        bucket.set(rate);
        bucket
    }

    /// The bandwidth from now on. If it is another one, the turns that were given out are over.
    pub(crate) fn set(&self, rate: Option<Bandwidth>) {
        let rate = rate.map_or(0, Bandwidth::bytes);
        let mut taken = self.taken.lock();
        if self.rate.swap(rate, Ordering::Relaxed) != rate {
            *taken = (*taken).min(Instant::now());
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// The size of a fair share in bytes, if there is a limit. The more wait, the smaller it is: with
    /// `n` of them a turn comes after about `SHARE` times the root of `n`, and not after `n` times
    /// `SHARE`.
    fn share(&self) -> Option<usize> {
        let share = self.rate()? as f64 * SHARE.as_secs_f64();
        let share = share.clamp(SMALLEST as f64, LARGEST as f64);
        let waiting = self.waiting.load(Ordering::Relaxed).max(1);
        Some(((share / (waiting as f64).sqrt()) as usize).max(SMALLEST))
    }

    /// How often the rate has changed.
    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Gives out so many bytes: the moment from which they may move, and how often the rate had
    /// changed.
    fn take(&self, bytes: usize, now: Instant) -> (Instant, u64) {
        let mut taken = self.taken.lock();
        let changes = self.changes();
        let Some(time) = self.time(bytes) else { return (now, changes) };
        let earliest = now.checked_sub(MADE_UP_FOR).unwrap_or(now);
        let from = (*taken).max(earliest);
        *taken = from + time;
        (from, changes)
    }

    /// Takes back what was given out when the rate had changed so often, and is not needed. If it has
    /// changed since, that is forgotten already.
    fn give_back(&self, bytes: usize, changes: u64) {
        let mut taken = self.taken.lock();
        let Some(time) = self.time(bytes).filter(|_| self.changes() == changes) else { return };
        *taken = taken.checked_sub(time).unwrap_or(*taken);
    }

    fn time(&self, bytes: usize) -> Option<Duration> {
        Some(Duration::from_secs_f64(bytes as f64 / self.rate()? as f64))
    }
}

/// One direction of a visit, under all the limits that it comes under.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Each with how often its rate had changed when something was last taken from it.
    buckets: Box<[(Arc<Bucket>, u64)]>,
    /// Bytes that may move now, or when the turn has come.
    left: usize,
    waiting: Option<Box<Turn>>,
    /// What it last had to wait for.
    slowed_by: Option<Limit>,
}

/// A share that is not there yet.
#[derive(Debug)]
struct Turn {
    from: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Lane {
    pub(crate) fn new(buckets: impl IntoIterator<Item = Arc<Bucket>>) -> Self {
        let buckets = buckets.into_iter().map(|bucket| (bucket, 0)).collect();
        Self { buckets, left: 0, waiting: None, slowed_by: None }
    }

    /// How many bytes may move now, one at least. For whoever has some to move; what it does not move
    /// at once it gives back with [`pause`](Self::pause).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            let now = Instant::now();
            let Some(turn) = &mut self.waiting else {
                if self.left > 0 {
                    return Poll::Ready(self.left);
                }
                let Some((from, limit)) = self.take(now) else {
                    return Poll::Ready(usize::MAX);
                };
                if from > now {
                    self.slowed_by = Some(limit);
                    let sleep = Box::pin(sleep_until(next_look(from, now)));
                    self.waiting = Some(Box::new(Turn { from, sleep }));
                    for (bucket, _) in &self.buckets {
                        bucket.waiting.fetch_add(1, Ordering::Relaxed);
                    }
                }
                continue;
            };
            if turn.from <= now {
                self.wait_no_more();
            } else if self.buckets.iter().any(|(bucket, changes)| bucket.changes() != *changes) {
                self.pause();
            } else {
                ready!(turn.sleep.as_mut().poll(cx));
                turn.sleep.as_mut().reset(next_look(turn.from, now));
            }
        }
    }

    /// Takes the next share: the moment from which it may move, and whose that is. `None`: nothing is
    /// limited.
    fn take(&mut self, now: Instant) -> Option<(Instant, Limit)> {
        let share = self.buckets.iter().filter_map(|(bucket, _)| bucket.share()).min()?;
        self.left = share;
        let turns = self.buckets.iter_mut().map(|(bucket, changes)| {
            let from;
            (from, *changes) = bucket.take(share, now);
            (from, bucket.limit)
        });
        turns.max_by_key(|(from, _)| *from)
    }

    /// What it last had to wait for, if it has since this was last asked.
    pub(crate) fn slowed_by(&mut self) -> Option<Limit> {
        self.slowed_by.take()
    }

    fn wait_no_more(&mut self) {
        if self.waiting.take().is_some() {
            for (bucket, _) in &self.buckets {
                bucket.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// So many bytes have moved. Those that should not have are made up for by whoever moves some next.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let too_many = bytes.saturating_sub(self.left);
        self.left = self.left.saturating_sub(bytes);
        if too_many > 0 {
            let now = Instant::now();
            for (bucket, _) in self.buckets.iter().filter(|(bucket, _)| bucket.rate().is_some()) {
                bucket.take(too_many, now);
            }
        }
    }

    /// There is nothing more to move for now: others may.
    pub(crate) fn pause(&mut self) {
        self.wait_no_more();
        let left = std::mem::take(&mut self.left);
        if left > 0 {
            for (bucket, changes) in &self.buckets {
                bucket.give_back(left, *changes);
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.pause();
    }
}

/// When to look at a turn that comes at `from`.
fn next_look(from: Instant, now: Instant) -> Instant {
    from.min(now + LOOK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: &str) -> Bucket {
        Bucket::new(Limit::RatePerTunnel, Some(rate.parse().unwrap()))
    }

    #[test]
    fn shares_follow_one_another_at_the_rate() {
        let bucket = bucket("8mbit"); // 1 MB/s
        let now = Instant::now();
        assert_eq!(bucket.share(), Some(10_000));
        let (first, _) = bucket.take(10_000, now);
        assert!(first <= now, "what was not used before is made up for");
        // A second's worth of shares, however many ask.
        let last = (0..100).map(|_| bucket.take(10_000, now).0).last().unwrap();
        let after = last.duration_since(now);
        assert!((940..=1000).contains(&after.as_millis()), "{after:?}");
    }

    #[test]
    fn what_was_not_used_long_ago_is_gone() {
        let bucket = bucket("8mbit");
        let start = Instant::now();
        bucket.take(10_000, start);
        let later = start + Duration::from_secs(100);
        assert_eq!(bucket.take(10_000, later).0, later - MADE_UP_FOR);
    }

    #[test]
    fn shares_are_neither_tiny_nor_huge_and_a_limit_can_go() {
        let (slow, fast) = (bucket("1kbit"), bucket("100gbit"));
        let now = Instant::now();
        assert_eq!(slow.share(), Some(SMALLEST));
        assert_eq!(fast.share(), Some(LARGEST));
        fast.set(None);
        assert_eq!(fast.share(), None);
        assert_eq!(fast.take(usize::MAX / 2, now).0, now);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_wait_have_small_shares_and_their_turns_soon() {
        let shared = Arc::new(bucket("80mbit")); // 10 MB/s, 100 kB a share
        let lanes = asking(&shared, 1000).await;
        let last = shared.taken.lock().saturating_duration_since(Instant::now());
        assert!(last < Duration::from_millis(700), "{last:?}");
        drop(lanes);
        assert_eq!(shared.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn another_rate_begins_with_nothing_taken() {
        let (bucket, now) = (bucket("8kbit"), Instant::now());
        for _ in 0..40 {
            bucket.take(1024, now);
        }
        assert!(bucket.take(1024, now).0 > now + Duration::from_secs(30));
        bucket.set(Some("8kbit".parse().unwrap()));
        assert!(bucket.take(1024, now).0 > now + Duration::from_secs(30), "the same one");
        bucket.set(Some("1gbit".parse().unwrap()));
        assert!(bucket.take(1024, now).0 < now + Duration::from_secs(1));
    }

    /// So many lanes of `shared`, each of which has asked once.
    async fn asking(shared: &Arc<Bucket>, count: usize) -> Vec<Lane> {
        let mut lanes: Vec<_> = (0..count).map(|_| Lane::new([Arc::clone(shared)])).collect();
        for lane in &mut lanes {
            now_of(lane).await;
        }
        lanes
    }

    /// What `lane` may move now.
    async fn now_of(lane: &mut Lane) -> Option<usize> {
        let now = |poll| match poll {
            Poll::Ready(bytes) => Poll::Ready(Some(bytes)),
            Poll::Pending => Poll::Ready(None),
        };
        std::future::poll_fn(|cx| now(lane.poll(cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_moves_little_takes_little_and_whoever_goes_takes_nothing() {
        let shared = Arc::new(bucket("80mbit"));
        let start = Instant::now();
        // A thousand that each say a byte, and a thousand that go while they wait for their turn.
        for _ in 0..1000 {
            let mut quiet = Lane::new([Arc::clone(&shared)]);
            if quiet.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready() {
                quiet.moved(1);
                quiet.pause();
            }
        }
        let gone = asking(&shared, 1000).await;
        drop(gone);
        let taken = shared.taken.lock().saturating_duration_since(start);
        assert!(taken < start.elapsed() + Duration::from_millis(20), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_beyond_a_share_is_made_up_for() {
        let shared = Arc::new(bucket("8mbit"));
        let start = Instant::now();
        let mut lane = Lane::new([Arc::clone(&shared)]);
        let share = now_of(&mut lane).await.expect("a share");
        lane.moved(share + 1_000_000);
        lane.pause();
        for mut lane in [lane, Lane::new([shared])] {
            std::future::poll_fn(|cx| lane.poll(cx)).await;
            assert!(start.elapsed() >= Duration::from_millis(940), "{:?}", start.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_of_another_rate() {
        let slow = Arc::new(bucket("8kbit"));
        let mut lanes = asking(&slow, 40).await;
        let last = lanes.last_mut().expect("a lane");
        assert_eq!(now_of(last).await, None);
        slow.set(None);
        let now = std::future::poll_fn(|cx| last.poll(cx));
        let now = tokio::time::timeout(Duration::from_secs(20), now).await;
        assert_eq!(now.expect("within a look"), usize::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_while_the_rate_changes_gives_nothing_back_of_what_is_forgotten() {
        let shared = Arc::new(bucket("8kbit"));
        let mut lanes = asking(&shared, 1000).await;
        for rate in ["16kbit", "8kbit", "16kbit"] {
            shared.set(Some(rate.parse().unwrap()));
            tokio::time::advance(Duration::from_secs(1)).await;
            let mut moved = 0;
            for lane in &mut lanes {
                if let Some(bytes) = now_of(lane).await {
                    moved += bytes;
                    lane.moved(bytes);
                    now_of(lane).await;
                }
            }
            // What a second brings, and a share or two that had their turn already.
            assert!(moved <= 2000 + 3 * SMALLEST, "{moved} bytes after the change to {rate}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_narrowest_limit_of_a_lane_counts_and_others_share_it() {
        let [tunnel, owner] = [Arc::new(bucket("80mbit")), Arc::new(bucket("8mbit"))];
        let mut lanes = [0; 2].map(|_| Lane::new([Arc::clone(&tunnel), Arc::clone(&owner)]));
        let mut moved = [0_usize; 2];
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            for (lane, moved) in lanes.iter_mut().zip(&mut moved) {
                if let Some(bytes) = now_of(lane).await {
                    assert!((1..=10_000).contains(&bytes));
                    *moved += bytes;
                    lane.moved(bytes);
                }
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let total = moved.iter().sum::<usize>();
        // The rate, what is made up for, and a share for each.
        assert!((990_000..=1_070_000).contains(&total), "{total} bytes in a second");
        assert!(moved[0].abs_diff(moved[1]) <= 20_000, "{moved:?}");
    }
}
