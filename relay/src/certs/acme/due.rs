//! What has to be ordered.

use std::time::SystemTime;

use shared::control::protocol::DomainName;

use super::super::CertName;
use super::super::table::{Ordered, Table};

/// A certificate that has to be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) name: CertName,
    /// There is one, which is to be replaced.
    pub(super) is_renewal: bool,
}

/// What is to be done for the hosts that are wanted.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// First what expires first, then what is new, as it came.
    pub(super) due: Vec<Due>,
    /// What has a certificate that was ordered.
    pub(super) held: Vec<CertName>,
    /// When there will be more to do.
    pub(super) next: Option<SystemTime>,
}

/// What is to be done for these hosts, and for the wildcard, at `now`.
pub(super) fn due(
    hosts: impl Iterator<Item = DomainName>,
    wildcard: Option<&DomainName>,
    table: &Table,
    now: SystemTime,
) -> Plan {
    let wildcard = wildcard.map(|domain| CertName::Below(domain.clone()));
    let covered = |host: &DomainName| {
        let is_below = wildcard.as_ref().is_some_and(|wildcard| wildcard.covers(host));
        is_below || table.is_in_folder(host, now)
    };
    let hosts = hosts.filter(|host| !covered(host)).map(CertName::Host);
    let (mut plan, mut renewals, mut new) = (Plan::default(), Vec::new(), Vec::new());
    for name in wildcard.iter().cloned().chain(hosts) {
        let Some(Ordered { served, renew }) = table.ordered(&name) else {
            new.push(Due { name, is_renewal: false });
            continue;
        };
        plan.held.push(name.clone());
        if renew.min(served.expires) <= now {
            renewals.push((served.expires, Due { name, is_renewal: true }));
        } else {
            plan.next = Some(plan.next.map_or(renew, |next| next.min(renew)));
        }
    }
    renewals.sort_by_key(|(expires, _)| *expires);
    plan.due = renewals.into_iter().map(|(_, due)| due).chain(new).collect();
    plan
}
