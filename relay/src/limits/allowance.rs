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
    /// The last one of them, until somebody asks.
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
        Some(Self { inward, outward, metered, metrics, used_up: false, slowed_by: 0, newly: None })
    }

    /// How many bytes may come from the visitor now; none ever again if it is zero.
    pub(crate) fn poll_inward(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.used_up {
            return Poll::Ready(0);
        }
        let now = self.inward.poll(cx);
        self.note_whether_slowed(now.is_pending());
        now
    }

    /// How many bytes may go to the visitor now, in the same way.
    pub(crate) fn poll_outward(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.used_up {
            return Poll::Ready(0);
        }
        let now = self.outward.poll(cx);
        self.note_whether_slowed(now.is_pending());
        now
    }

    /// Each bandwidth that it has to wait for is counted, once.
    fn note_whether_slowed(&mut self, is_slowed: bool) {
        if !is_slowed {
            return;
        }
        let slowed_by = self.inward.slowed_by().or_else(|| self.outward.slowed_by());
        let Some(limit) = slowed_by.filter(|limit| self.slowed_by & (1 << *limit as u32) == 0)
        else {
            return;
        };
        self.slowed_by |= 1 << limit as u32;
        self.metrics.limit(limit);
        self.newly = Some(limit);
    }

    /// The bandwidth that it has had to wait for, if it is the first time and nobody has asked yet.
    pub(crate) fn newly_slowed_by(&mut self) -> Option<Limit> {
        self.newly.take()
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
