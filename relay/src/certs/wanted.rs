//! The hosts whose visitors the relay serves, and that so need certificates.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use shared::control::protocol::DomainName;
use tokio::sync::Notify;

use crate::access::Owner;

/// The hosts that are wanted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<Held>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    hosts: BTreeMap<DomainName, Host>,
    /// The number of the next that comes.
    next: u64,
}

#[derive(Debug)]
struct Host {
    wishes: usize,
    number: u64,
    /// Whose tunnel it is, if that is anybody's in particular.
    owner: Option<Owner>,
}

/// A host needs a certificate, for as long as this lives. Afterwards the one that there is goes on
/// being shown until it expires, and is not renewed.
#[derive(Debug)]
#[must_use = "dropping it means that no certificate is needed"]
pub struct Wanted {
    hosts: Hosts,
    host: DomainName,
}

impl Hosts {
    pub(super) fn want(&self, host: DomainName, owner: Option<Owner>) -> Wanted {
        let mut held = self.0.held.lock();
        let number = held.next;
        held.next += 1;
        let entry = held.hosts.entry(host.clone());
        entry.or_insert(Host { wishes: 0, number, owner }).wishes += 1;
        drop(held);
        self.0.changed.notify_one();
        Wanted { hosts: self.clone(), host }
    }

    /// Whether anybody wants it.
    pub(super) fn has(&self, host: &DomainName) -> bool {
        self.0.held.lock().hosts.contains_key(host)
    }

    /// Whose it is, if it is anybody's in particular.
    pub(super) fn owner(&self, host: &DomainName) -> Option<Owner> {
        self.0.held.lock().hosts.get(host)?.owner.clone()
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self) -> Vec<DomainName> {
        let held = self.0.held.lock();
        let mut all: Vec<_> = held.hosts.iter().map(|(name, host)| (host.number, name)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Waits until there is something new to be thought of.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// There is something new to be thought of.
    pub(super) fn look(&self) {
        self.0.changed.notify_one();
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut held = self.hosts.0.held.lock();
        if let Some(host) = held.hosts.get_mut(&self.host) {
            host.wishes -= 1;
            if host.wishes == 0 {
                held.hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_wanted_as_long_as_anybody_wants_it_and_keeps_its_place() {
        let hosts = Hosts::default();
        let want = |name: &str| hosts.want(name.parse().unwrap(), None);
        let all = || hosts.all().iter().map(ToString::to_string).collect::<Vec<_>>();
        let (b, a, b_again) = (want("b.example"), want("a.example"), want("b.example"));
        assert_eq!(all(), ["b.example", "a.example"]);
        drop(b);
        assert_eq!(all(), ["b.example", "a.example"]);
        drop(b_again);
        assert_eq!(all(), ["a.example"]);
        drop(a);
        assert!(all().is_empty());
    }
}
