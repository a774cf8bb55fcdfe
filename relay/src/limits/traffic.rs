//! What has moved under quotas, and what of it has not been written down yet.

use std::collections::BTreeMap;
use std::time::SystemTime;

use parking_lot::Mutex;
use shared::kit::amounts::{Period, Quota};

use super::account::{AccountKey, Accounts};

/// What has moved under a quota.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Current>);

/// The period that runs.
#[derive(Debug, Default)]
struct Current {
    /// What it is, and its start in seconds since 1970. `None`: nobody has looked yet.
    began: Option<(Period, u64)>,
    used: u64,
    unwritten: u64,
    /// Whether what had moved before anybody counted here is part of `used`.
    is_recalled: bool,
}

/// What has moved, in bytes: by account, and the start of the period in seconds since 1970. In the
/// same order for every relay, so that no two who write wait for each other.
pub(super) type Ledger = BTreeMap<(AccountKey, u64), u64>;

/// What has moved and is not written down. Whatever has not been by the end is kept for later, also
/// when whoever writes is interrupted.
#[derive(Debug)]
pub(crate) struct Unwritten {
    accounts: Accounts,
    ledger: Ledger,
}

impl Meter {
    /// So many bytes have moved. Whether more may, in the period that ran when somebody last looked.
    pub(super) fn moved(&self, bytes: u64, quota: Quota) -> bool {
        let mut current = self.0.lock();
        current.unwritten += bytes;
        current.used += bytes;
        current.used <= quota.bytes()
    }

    /// Whether some of the quota is left.
    pub(super) fn has_some(&self, quota: Quota) -> bool {
        self.0.lock().used < quota.bytes()
    }

    /// A new period begins with all of the quota. Gives back the start of the one that is over, and
    /// what of it is not written down. A clock that goes back begins none.
    pub(super) fn turn(&self, quota: Quota, now: SystemTime) -> Option<(u64, u64)> {
        let (period, start) = (quota.period(), quota.period().start(now));
        let mut current = self.0.lock();
        let Some((before, began)) = current.began else {
            current.began = Some((period, start));
            return None;
        };
        if before == period && start <= began {
            return None;
        }
        let unwritten = current.unwritten;
        // Of another kind of period it has to be looked up what has moved.
        let is_recalled = before == period && current.is_recalled;
        *current = Current { began: Some((period, start)), is_recalled, ..Current::default() };
        Some((began, unwritten))
    }

    /// The start of the period of which it is not known what had moved before.
    pub(super) fn to_recall(&self) -> Option<u64> {
        let current = self.0.lock();
        current.began.filter(|_| !current.is_recalled).map(|(_, start)| start)
    }

    /// So much is written down of the period that began at `start`, and so much more is about to be,
    /// beside what this meter has.
    pub(super) fn recall(&self, start: u64, written: u64) {
        let mut current = self.0.lock();
        let is_that = current.began.is_some_and(|(_, began)| began == start);
        if is_that && !current.is_recalled {
            current.is_recalled = true;
            current.used = written.saturating_add(current.unwritten);
        }
    }

    /// What is to be written down, with the start of its period.
    pub(super) fn take(&self) -> Option<(u64, u64)> {
        let mut current = self.0.lock();
        let (_, start) = current.began?;
        Some((start, std::mem::take(&mut current.unwritten)))
    }
}

impl Unwritten {
    pub(super) fn new(accounts: Accounts, ledger: Ledger) -> Self {
        Self { accounts, ledger }
    }

    /// Those that can be written at once, as they stand in a store: the account, the start of the
    /// period, and the bytes. `None`: all of them are written.
    pub(crate) fn batch(&self) -> Option<Vec<(String, u64, u64)>> {
        /// A transaction of so many takes milliseconds, or a second if the store is far away.
        const BATCH: usize = 256;
        let row =
            |((key, period), bytes): (&(AccountKey, u64), &u64)| (key.to_string(), *period, *bytes);
        let rows: Vec<_> = self.ledger.iter().take(BATCH).map(row).collect();
        (!rows.is_empty()).then_some(rows)
    }

    /// So many of them are written down.
    pub(crate) fn written(&mut self, count: usize) {
        for _ in 0..count {
            self.ledger.pop_first();
        }
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.accounts.owe(std::mem::take(&mut self.ledger));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: u64 = 24 * 3600;

    fn day(n: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(n * DAY + 7)
    }

    #[test]
    fn a_period_ends_for_those_who_go_on_and_a_clock_that_goes_back_begins_none() {
        let (meter, quota) = (Meter::default(), "1kB/day".parse().unwrap());
        assert_eq!(meter.turn(quota, day(20)), None);
        assert!(meter.moved(1000, quota) && !meter.has_some(quota));
        assert_eq!(meter.turn(quota, day(19)), None);
        assert!(!meter.has_some(quota));
        assert_eq!(meter.turn(quota, day(21)), Some((20 * DAY, 1000)));
        assert!(meter.has_some(quota) && meter.moved(10, quota));
        assert_eq!(meter.take(), Some((21 * DAY, 10)));
        assert_eq!(meter.take(), Some((21 * DAY, 0)));
    }

    #[test]
    fn what_moved_before_counts_once_whatever_has_moved_meanwhile() {
        let (meter, quota) = (Meter::default(), "1kB/day".parse().unwrap());
        assert_eq!(meter.to_recall(), None, "nobody knows which period it is");
        meter.turn(quota, day(20));
        assert_eq!(meter.to_recall(), Some(20 * DAY));
        // Written down, and so part of what is recalled; and not.
        meter.moved(100, quota);
        meter.take();
        meter.moved(10, quota);
        for _ in 0..2 {
            meter.recall(20 * DAY, 988);
        }
        assert_eq!(meter.to_recall(), None);
        assert!(meter.has_some(quota) && meter.moved(2, quota) && !meter.moved(1, quota));
        // The next day has nothing to recall, another kind of period has.
        meter.turn(quota, day(21));
        assert_eq!(meter.to_recall(), None);
        meter.turn("1kB/month".parse().unwrap(), day(21));
        assert_eq!(meter.to_recall(), Some(0));
    }
}
