//! How much of what may be ordered one owner gets, so that whoever opens tunnels at name after name
//! leaves something for others.

use std::time::SystemTime;

use super::super::CertName;
use super::ration::{ORDERS_WITHIN, full_until};
use crate::access::Owner;

/// So many orders for names without a certificate one owner places within [`ORDERS_WITHIN`]: half
/// of what there is for all.
const ORDERS_OF_OWNER: usize = 10;

/// That, in words.
pub(super) const SHARE: &str = "10 orders of one user's in 3 hours";

/// What owners have ordered of late for names without a certificate, the oldest first. It is not
/// kept: after a restart each has its share again, of what there is for all.
#[derive(Debug, Default)]
pub(super) struct Shares(Vec<Order>);

#[derive(Debug)]
struct Order {
    owner: Owner,
    name: CertName,
    began: SystemTime,
}

impl Shares {
    /// Until when `owner` has had its share, if it has.
    pub(super) fn full_until(&self, owner: &Owner, now: SystemTime) -> Option<SystemTime> {
        let began: Vec<_> =
            self.0.iter().filter(|order| order.owner == *owner).map(|order| order.began).collect();
        full_until(&began, ORDERS_OF_OWNER, ORDERS_WITHIN, now)
    }

    /// An order is about to be placed.
    pub(super) fn count(&mut self, owner: Owner, name: &CertName, now: SystemTime) {
        self.0.retain(|order| order.began + ORDERS_WITHIN > now);
        self.0.push(Order { owner, name: name.clone(), began: now });
    }

    /// The authority has not heard of this one.
    pub(super) fn uncount(&mut self, name: &CertName, began: SystemTime) {
        self.0.retain(|order| order.began != began || order.name != *name);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_owner_gets_a_share_and_what_the_authority_has_not_heard_of_does_not_count() {
        let (ann, bob) = (Owner::User("ann".into()), Owner::User("bob".into()));
        let at =
            |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(30 * 24 * 3600 + seconds);
        let name = |i: u64| format!("n{i}.t.example").parse::<CertName>().unwrap();
        let mut shares = Shares::default();
        for i in 0..10_u64 {
            assert_eq!(shares.full_until(&ann, at(i)), None);
            shares.count(ann.clone(), &name(i), at(i));
        }
        assert_eq!(shares.full_until(&ann, at(20)), Some(at(0) + ORDERS_WITHIN));
        assert_eq!(shares.full_until(&bob, at(20)), None);
        shares.uncount(&name(0), at(0));
        assert_eq!(shares.full_until(&ann, at(20)), None);
        shares.count(ann.clone(), &name(10), at(20));
        assert_eq!(shares.full_until(&ann, at(20)), Some(at(1) + ORDERS_WITHIN));
        assert_eq!(shares.full_until(&ann, at(1) + ORDERS_WITHIN), None, "that one has gone");
    }
}
