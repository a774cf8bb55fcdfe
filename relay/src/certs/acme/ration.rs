//! How much may be ordered: less than authorities allow, so that there is always something left.
//!
//! It is counted from what the store knows of the orders of the last week, and nothing else: a
//! relay that starts again has not forgotten, and several that share a store share what they may
//! order.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use shared::kit::backoff::jitter;

use crate::store::{OrderEnd, PastOrder};

/// So far back orders count.
pub(super) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long one order may take. One that has not ended by then was left by somebody who was killed.
pub(super) const LONGEST_ORDER: Duration = Duration::from_secs(15 * 60);

/// So many orders are placed within [`ORDERS_WITHIN`]. Let's Encrypt takes 300.
const ORDERS: usize = 30;

/// See [`ORDERS`].
pub(super) const ORDERS_WITHIN: Duration = Duration::from_secs(3 * 3600);

/// So many of them may be for names that have no certificate yet: the rest is kept for those that
/// have to be renewed, whoever floods the relay with names.
const ORDERS_OF_NEW: usize = 20;

/// So many orders of one name may fail within [`FAILURES_WITHIN`]. Let's Encrypt takes five.
const FAILURES: usize = 4;

/// See [`FAILURES`].
const FAILURES_WITHIN: Duration = Duration::from_secs(3600);

/// So many certificates one name gets within a [`WEEK`]. Let's Encrypt issues five.
const DUPLICATES: usize = 4;

/// How long a name waits that has failed once. Each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// The longest that it waits.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);

/// What was ordered in the last week.
pub(super) struct Ration<'a> {
    past: HashMap<&'a str, Vec<&'a PastOrder>>,
    /// When those began that count with the authority, the oldest first.
    counted: Vec<SystemTime>,
}

/// Whether something may be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Now,
    /// At that time it may be worth asking again.
    At(SystemTime, Why),
}

/// What an order has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The last one has failed a moment ago.
    Failed,
    /// Somebody else is at it.
    Running,
    /// A limit of our own, in words.
    Limit(&'static str),
}

impl<'a> Ration<'a> {
    /// `past` is sorted by when the orders began.
    pub(super) fn new(past: &'a [PastOrder]) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for order in past {
            by_name.entry(order.name.as_str()).or_default().push(order);
        }
        let counted = past.iter().filter(|order| order.end != Some(OrderEnd::NotReached));
        Self { past: by_name, counted: counted.map(|order| order.began).collect() }
    }

    /// One more is about to be placed.
    pub(super) fn count(&mut self, now: SystemTime) {
        self.counted.push(now);
    }

    /// Whether a certificate for `name` may be ordered.
    pub(super) fn look(&self, name: &str, is_renewal: bool, now: SystemTime) -> Verdict {
        let of_name = self.of(name);
        if let Some(again) = of_name.last().and_then(|last| last.again)
            && again > now
        {
            return Verdict::At(again, Why::Failed);
        }
        if let Some(running) = of_name.iter().rev().find(|order| order.end.is_none())
            && running.began + LONGEST_ORDER > now
        {
            return Verdict::At(running.began + LONGEST_ORDER, Why::Running);
        }
        let with_end = |end| {
            let some = of_name.iter().filter(move |order| order.end == Some(end));
            some.map(|order| order.began).collect::<Vec<_>>()
        };
        let most = if is_renewal { ORDERS } else { ORDERS_OF_NEW };
        let limits = [
            (with_end(OrderEnd::Failed), FAILURES, FAILURES_WITHIN, "4 failures an hour"),
            (with_end(OrderEnd::Issued), DUPLICATES, WEEK, "4 certificates a week"),
            (self.counted.clone(), most, ORDERS_WITHIN, "30 orders in 3 hours, 20 of them new"),
        ];
        for (began, most, within, what) in limits {
            if let Some(at) = full_until(&began, most, within, now) {
                return Verdict::At(at, Why::Limit(what));
            }
        }
        Verdict::Now
    }

    /// Before when a name is not ordered again whose order ends at `now` without a certificate.
    pub(super) fn after_failure(&self, name: &str, now: SystemTime) -> SystemTime {
        let before = self.of(name).iter().rev();
        let failed = before.take_while(|order| order.end != Some(OrderEnd::Issued));
        // That the authority could not be asked is no name's fault.
        let failed = failed.filter(|order| order.end == Some(OrderEnd::Failed)).count();
        let doubled = u32::try_from(failed).ok().and_then(|failed| 2u32.checked_pow(failed));
        let wait = FIRST_WAIT.saturating_mul(doubled.unwrap_or(u32::MAX)).min(LONGEST_WAIT);
        now + wait / 2 + jitter(wait / 2)
    }

    fn of(&self, name: &str) -> &[&'a PastOrder] {
        self.past.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Until when there is no room for another one, if there is none at `now`.
pub(super) fn full_until(
    began: &[SystemTime],
    most: usize,
    within: Duration,
    now: SystemTime,
) -> Option<SystemTime> {
    let begin = now.checked_sub(within)?;
    let recent = &began[began.partition_point(|began| *began <= begin)..];
    let first_to_go = recent.len().checked_sub(most)?;
    Some(recent.get(first_to_go).map_or(now, |began| *began) + within)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        NOW + Duration::from_secs(30 * 24 * 3600 + seconds)
    }

    fn order(name: &str, seconds: u64, end: OrderEnd) -> PastOrder {
        let (name, began) = (name.to_owned(), at(seconds));
        PastOrder { name, began, end: Some(end), again: None }
    }

    fn limit(verdict: Verdict) -> (SystemTime, &'static str) {
        match verdict {
            Verdict::At(at, Why::Limit(what)) => (at, what),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flood_of_names_leaves_room_for_what_has_to_be_renewed() {
        let name = |i| format!("n{i}.t.example");
        let mut past: Vec<_> = (0..20).map(|i| order(&name(i), i, OrderEnd::Issued)).collect();
        let verdict = Ration::new(&past).look("next.t.example", false, at(100));
        assert_eq!(limit(verdict).0, at(3 * 3600));
        assert_eq!(Ration::new(&past).look("old.t.example", true, at(100)), Verdict::Now);
        assert_eq!(
            Ration::new(&past).look("next.t.example", false, at(3 * 3600)),
            Verdict::Now,
            "the first has gone"
        );
        past.extend((20..30).map(|i| order(&name(i), i, OrderEnd::Failed)));
        let verdict = Ration::new(&past).look("old.t.example", true, at(100));
        assert_eq!(limit(verdict).0, at(3 * 3600));
        assert_eq!(
            limit(Ration::new(&past).look("n.example", false, at(100))).0,
            at(3 * 3600 + 10)
        );
    }

    #[test]
    fn orders_that_are_just_placed_count_and_those_that_nobody_has_heard_of_do_not() {
        let past: Vec<_> = (0..100).map(|i| order("n", i, OrderEnd::NotReached)).collect();
        let mut ration = Ration::new(&past);
        assert_eq!(ration.look("n", false, at(100)), Verdict::Now);
        (0..20).for_each(|_| ration.count(at(100)));
        limit(ration.look("n", false, at(100)));
    }

    #[test]
    fn one_name_fails_only_so_often_in_an_hour_and_gets_only_so_many_in_a_week() {
        let mut past: Vec<_> = (0..4).map(|i| order("a", i * 60, OrderEnd::Failed)).collect();
        assert_eq!(limit(Ration::new(&past).look("a", false, at(300))).0, at(3600));
        assert_eq!(Ration::new(&past).look("b", false, at(300)), Verdict::Now);
        past = (0..4).map(|i| order("a", i * 3600, OrderEnd::Issued)).collect();
        let verdict = Ration::new(&past).look("a", true, at(5 * 3600));
        assert_eq!(limit(verdict), (at(0) + WEEK, "4 certificates a week"));
    }

    #[test]
    fn who_fails_waits_longer_each_time_until_it_has_worked() {
        let mut past = Vec::new();
        for doublings in 0..12 {
            let wait = Ration::new(&past).after_failure("a", at(0)).duration_since(at(0)).unwrap();
            let bound = (FIRST_WAIT * 2u32.pow(doublings)).min(LONGEST_WAIT);
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} of {bound:?}");
            past.push(order("a", 0, OrderEnd::Failed));
        }
        past.push(order("a", 0, OrderEnd::Issued));
        past.push(order("b", 0, OrderEnd::Failed));
        // An authority that is away is nobody's fault.
        past.extend((0..9).map(|i| order("a", i, OrderEnd::NotReached)));
        let wait = Ration::new(&past).after_failure("a", at(0)).duration_since(at(0)).unwrap();
        assert!(wait <= FIRST_WAIT);
    }

    #[test]
    fn who_has_to_wait_waits_and_so_does_who_comes_while_another_is_at_it() {
        let mut last = order("a", 0, OrderEnd::Failed);
        last.again = Some(at(60));
        let past = [last];
        let ration = Ration::new(&past);
        assert_eq!(ration.look("a", false, at(59)), Verdict::At(at(60), Why::Failed));
        assert_eq!(ration.look("a", false, at(60)), Verdict::Now);
        let past = [PastOrder { name: "a".into(), began: at(0), end: None, again: None }];
        let ration = Ration::new(&past);
        let end = at(0) + LONGEST_ORDER;
        assert_eq!(ration.look("a", false, at(1)), Verdict::At(end, Why::Running));
        assert_eq!(ration.look("a", false, end), Verdict::Now);
    }
}
