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
    /// The limits that it has had to wait for, a bit for each.
    slowed_by: u32,
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
        Some(Self { inward, outward, metered, metrics, used_up: false, slowed_by: 0 })
    }

    /// How many bytes may come from the visitor now; none ever again if it is zero.
    pub(crate) fn poll_inward(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.used_up { Poll::Ready(0) } else { self.inward.poll(cx) }
    }

    /// How many bytes may go to the visitor now, in the same way.
    pub(crate) fn poll_outward(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.used_up { Poll::Ready(0) } else { self.outward.poll(cx) }
    }

    /// A bandwidth that it has to wait for, if it is the first time. It is counted.
    pub(crate) fn newly_slowed_by(&mut self) -> Option<Limit> {
        let limit = self.inward.slowed_by().or_else(|| self.outward.slowed_by())?;
        let before = self.slowed_by;
        self.slowed_by |= 1 << limit as u32;
        if self.slowed_by == before {
            return None;
        }
        self.metrics.limit(limit);
        Some(limit)
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
