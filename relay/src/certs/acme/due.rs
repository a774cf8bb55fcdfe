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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::super::super::served::Served;
    use super::*;

    fn served(name: &str, now: SystemTime, seconds: u32) -> Arc<Served> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = (now + Duration::from_secs(1) * seconds).into();
        let certificate = params.self_signed(&key).unwrap();
        Arc::new(Served::from_pem(&certificate.pem(), &key.serialize_pem()).unwrap())
    }

    #[test]
    fn what_expires_first_comes_first_and_then_what_is_new_as_it_came() {
        let (table, now) = (Table::default(), SystemTime::now());
        let soon = now + Duration::from_secs(5);
        // What is left of each, and when it is to be renewed.
        for (name, seconds, renew) in
            [("late.example", 900, now), ("early.example", 100, now), ("good.example", 900, soon)]
        {
            let served = served(name, now, seconds);
            table.set_ordered(&name.parse().unwrap(), Ordered { served, renew });
        }
        table.set_folder([served("*.own.example", now, 900)].into_iter());
        let hosts = [
            "z.example",
            "a.example",
            "late.example",
            "early.example",
            "good.example",
            "a.own.example",
            "a.t.example",
        ];
        let hosts = hosts.map(|host| host.parse().unwrap());
        let wildcard = "t.example".parse().unwrap();
        let plan = due(hosts.into_iter(), Some(&wildcard), &table, now);
        let names: Vec<_> = plan.due.iter().map(|due| due.name.to_string()).collect();
        let expected = ["early.example", "late.example", "*.t.example", "z.example", "a.example"];
        assert_eq!(names, expected);
        assert_eq!((plan.held.len(), plan.next), (3, Some(soon)));
        assert!(plan.due[0].is_renewal && !plan.due[2].is_renewal);
    }
}
