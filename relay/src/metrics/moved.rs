//! What has moved at tunnels since somebody looked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Metrics;
use super::buckets::{BUCKETS, bucket};
use super::tunnels::{Labels, Series, TunnelMetrics};

/// So many tunnels are looked at while none can open or close.
const PAGE: usize = 256;

/// What a look at a tunnel finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Requests and visits that have ended.
    pub(crate) requests: u64,
    pub(crate) visits: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Those that did not get what they came for, through no fault of their visitor.
    pub(crate) errors: u64,
    /// How many waited so long for their first byte: the [bucket](super::buckets), never the same
    /// twice, in ascending order.
    pub(crate) first_byte: Vec<(usize, u64)>,
    /// How many were to be [noted](TunnelMetrics::note_one).
    pub(crate) noted: u64,
}

/// What there is for whoever looks, once in a tunnel that was made use of.
#[derive(Debug)]
pub(super) struct Looks {
    /// Since the last look.
    first_byte: [AtomicU32; BUCKETS],
    noted: AtomicU32,
    /// What the last look has found in all. Nobody but who looks has it.
    found: Mutex<Found>,
}

/// The numbers of a tunnel, which only grow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) requests: u64,
    pub(super) visits: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) errors: u64,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self {
            first_byte: [(); BUCKETS].map(|()| AtomicU32::new(0)),
            noted: AtomicU32::new(0),
            found: Mutex::default(),
        }
    }

    pub(super) fn first_byte(&self, after: Duration) {
        self.first_byte[bucket(after)].fetch_add(1, Ordering::Relaxed);
    }

    /// What has moved since the last look, if there is so much now.
    fn moved(&self, now: Found) -> Moved {
        let mut found = self.found.lock();
        let before = std::mem::replace(&mut *found, now);
        drop(found);
        // Most buckets of most tunnels are empty: they are read and not written.
        let waited = self.first_byte.iter().enumerate().filter_map(|(bucket, count)| {
            let some = count.load(Ordering::Relaxed) > 0;
            some.then(|| (bucket, u64::from(count.swap(0, Ordering::Relaxed))))
        });
        Moved {
            requests: now.requests.saturating_sub(before.requests),
            visits: now.visits.saturating_sub(before.visits),
            bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
            errors: now.errors.saturating_sub(before.errors),
            first_byte: waited.collect(),
            noted: self.noted.swap(0, Ordering::Relaxed).into(),
        }
    }
}

impl TunnelMetrics {
    /// One more is to be noted since the last look: how many were before it.
    pub(crate) fn note_one(&self) -> u32 {
        self.looks().noted.fetch_add(1, Ordering::Relaxed)
    }
}

impl Series {
    fn moved(&self) -> Option<Moved> {
        let moved = self.looks()?.moved(self.found());
        (moved != Moved::default()).then_some(moved)
    }
}

impl Metrics {
    /// Somebody looks from now on, or does not any more: as long as somebody does, tunnels that go
    /// are kept for the next look.
    pub(crate) fn look_from_now_on(&self, looks: bool) {
        self.0.tunnels.keep_departed(looks);
    }

    /// Tells what has moved at each tunnel since the last look, those included that have gone. How
    /// many have gone and were not kept, because of too many.
    pub(crate) fn look(&self, mut tell: impl FnMut(&Labels, Moved)) -> u64 {
        let mut see = |series: &Series| {
            if let Some(moved) = series.moved() {
                tell(series.labels(), moved);
            }
        };
        let mut after: Option<Labels> = None;
        loop {
            let page = self.0.tunnels.page(after.as_ref(), PAGE);
            page.iter().for_each(|series| see(series));
            after = page.last().map(|series| series.labels().clone());
            if page.len() < PAGE {
                break;
            }
        }
        let (departed, lost) = self.0.tunnels.take_departed();
        departed.iter().for_each(|series| see(series));
        lost
    }
}
