//! What one visit may move.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use super::account::Account;
use super::bandwidth::{Bucket, Lane};
use crate::metrics::{Limit, Metrics};

/// What one visit may move: under the bandwidth of its tunnel, owner and token, and within their
/// quotas.
#[derive(Debug)]
pub(crate) struct Allowance {
    inward: Lane,
    outward: Lane,
    /// Those with a quota.
    metered: Box<[Arc<Account>]>,
    metrics: Metrics,
    used_up: bool,
    slowed: Slowed,
}

/// The limits that a visit has had to wait for.
#[derive(Debug, Default)]
struct Slowed {
    /// A bit for each.
    by: u32,
    /// The last one, until somebody asks.
    newly: Option<Limit>,
}

impl Allowance {
    /// For a visit to a tunnel with these two buckets, if it has any, whose client has these
    /// accounts. `None`: nothing is limited.
    pub(crate) fn new(
        tunnel: Option<[Arc<Bucket>; 2]>,
        accounts: &[Arc<Account>],
        metrics: &Metrics,
    ) -> Option<Self> {
        let metered: Box<[_]> =
            accounts.iter().filter(|account| account.quota().is_some()).cloned().collect();
        let [inward, outward] = tunnel.map_or([None, None], |buckets| buckets.map(Some));
        let inward: Vec<_> =
            inward.into_iter().chain(accounts.iter().filter_map(|a| a.inward())).collect();
        let outward: Vec<_> =
            outward.into_iter().chain(accounts.iter().filter_map(|a| a.outward())).collect();
        if inward.is_empty() && metered.is_empty() {
            return None;
        }
        let (inward, outward) = (Lane::new(inward), Lane::new(outward));
        let metrics = metrics.clone();
        let (used_up, slowed) = (false, Slowed::default());
        Some(Self { inward, outward, metered, metrics, used_up, slowed })
    }

    /// How many bytes may come from the visitor now; none ever again if it is zero.
    pub(crate) fn poll_inward(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.used_up {
            return Poll::Ready(0);
        }
        self.slowed.poll(&mut self.inward, &self.metrics, cx)
    }

    /// How many bytes may go to the visitor now, in the same way.
    pub(crate) fn poll_outward(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.used_up {
            return Poll::Ready(0);
        }
        self.slowed.poll(&mut self.outward, &self.metrics, cx)
    }

    /// The bandwidth that it has had to wait for, if it is the first time and nobody has asked yet.
    pub(crate) fn newly_slowed_by(&mut self) -> Option<Limit> {
        self.slowed.newly.take()
    }

    /// Nothing more comes from the visitor for now.
    pub(crate) fn pause_inward(&mut self) {
        self.inward.pause();
    }

    /// Nothing more goes to the visitor for now.
    pub(crate) fn pause_outward(&mut self) {
        self.outward.pause();
    }

    pub(crate) fn moved_inward(&mut self, bytes: usize) {
        self.inward.moved(bytes);
        self.meter(bytes);
    }

    pub(crate) fn moved_outward(&mut self, bytes: usize) {
        self.outward.moved(bytes);
        self.meter(bytes);
    }

    fn meter(&mut self, bytes: usize) {
        for account in &self.metered {
            // A new period may have begun since anybody looked.
            if !account.moved(bytes as u64) && !account.has_quota(SystemTime::now()) {
                if !self.used_up {
                    self.metrics.limit(Limit::Quota);
                }
                self.used_up = true;
            }
        }
    }
}

impl Slowed {
    /// How many bytes may move now by `lane`. A bandwidth that it has to wait for is counted once, and
    /// not for each lane.
    fn poll(&mut self, lane: &mut Lane, metrics: &Metrics, cx: &mut Context<'_>) -> Poll<usize> {
        let now = lane.poll(cx);
        if now.is_pending()
            && let Some(limit) = lane.slowed_by()
            && self.by & (1 << limit as u32) == 0
        {
            self.by |= 1 << limit as u32;
            self.newly = Some(limit);
            metrics.limit(limit);
        }
        now
    }
}
