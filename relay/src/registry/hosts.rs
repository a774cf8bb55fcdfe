//! Hosts: whose they are, who needs certificates for them, and what becomes of tunnels whose owners
//! lose theirs.

use std::convert::Infallible;
use std::sync::Arc;

use shared::control::protocol::{Refusal, WebHost};
use tracing::info;

use super::opening::Reservation;
use super::{Place, Registry, Slot, Table};
use crate::access::Owner;
use crate::certs::{VisitorCerts, Wanted};
use crate::domains::Domains;
use crate::entrance::{Entrance, WebAddress, WebFront};
use crate::tunnel::Tunnel;

/// What decides about hosts, and has to know of them.
#[derive(Debug)]
pub(crate) struct Hosting {
    /// Where the web reaches the relay.
    pub(crate) front: WebFront,
    pub(crate) domains: Domains,
    pub(crate) certs: VisitorCerts,
}

/// A host that tunnels have. No two owners share one.
#[derive(Debug)]
pub(super) struct HeldHost {
    owner: Owner,
    entrances: usize,
    /// Visitors come to it by TLS.
    wanted: Option<Wanted>,
}

impl Registry {
    /// Closes tunnels whose hosts are their owners' no longer. Never returns: whoever polls it drops it
    /// in the end.
    pub(crate) async fn close_dispossessed(&self) -> Infallible {
        let mut changes = self.0.hosting.domains.changes();
        loop {
            // Nothing changes without a store.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let held: Vec<_> = {
                let table = self.0.table.lock();
                let held = table.hosts.iter();
                held.map(|(host, held)| (host.clone(), held.owner.clone())).collect()
            };
            for (host, owner) in held {
                if let Err(refusal) = self.0.hosting.domains.may_claim(&owner, &host) {
                    self.0.table.lock().revoke(&host, &owner, &refusal);
                    self.0.freed.notify_waiters();
                }
            }
        }
    }
}

impl Registry {
    /// Whether the hosts of tunnels that are about to be are still those of their owners.
    pub(super) fn check_hosts(&self, reservations: &[Reservation]) -> Result<(), Refusal> {
        for reservation in reservations {
            for host in reservation.hosts() {
                self.0.hosting.domains.may_claim(&reservation.id().owner, host)?;
            }
        }
        Ok(())
    }
}

impl Table {
    /// Whether a host may have one more entrance of `owner`. It counts if it may.
    pub(super) fn take_host(&mut self, entrance: &Entrance, owner: &Owner) -> bool {
        let Some(host) = entrance.host() else { return true };
        let held = self.hosts.entry(host.clone()).or_insert_with(|| HeldHost {
            owner: owner.clone(),
            entrances: 0,
            wanted: None,
        });
        let is_theirs = held.owner == *owner;
        held.entrances += usize::from(is_theirs);
        is_theirs
    }

    /// Visitors of an entrance come by TLS, if they can.
    pub(super) fn want_certificate(&mut self, entrance: &Entrance, hosting: &Hosting) {
        let Hosting { front, certs, domains: _ } = hosting;
        if let Entrance::Web(WebAddress { host, .. }) = entrance
            && front.tls_port.is_some()
            && let Some(held) = self.hosts.get_mut(host)
            && let Some(name) = front.name(host).and_then(|name| name.parse().ok())
        {
            held.wanted.get_or_insert_with(|| certs.want_for(name, &held.owner));
        }
    }

    /// Closes the tunnels of `owner` with this host, and tells their clients why.
    fn revoke(&mut self, host: &WebHost, owner: &Owner, refusal: &Refusal) {
        let is_concerned = |tunnel: &&Arc<Tunnel>| {
            tunnel.id().owner == *owner
                && tunnel.entrances().iter().any(|entrance| entrance.host() == Some(host))
        };
        let open = self.tunnels.values().filter_map(|place| match place {
            Place::Open(tunnel) => Some(tunnel),
            Place::Reserved => None,
        });
        let concerned: Vec<_> = open.filter(is_concerned).cloned().collect();
        for tunnel in concerned {
            info!(tunnel = %tunnel.name(), %host, "closed: the host is its owner's no longer");
            self.close(&tunnel);
            tunnel.revoke(refusal.clone());
        }
    }

    /// An entrance is for whoever comes next.
    pub(super) fn free(&mut self, entrance: &Entrance) -> Option<Slot> {
        let slot = self.entrances.remove(entrance);
        if let (Some(_), Some(host)) = (&slot, entrance.host())
            && let Some(held) = self.hosts.get_mut(host)
        {
            held.entrances -= 1;
            if held.entrances == 0 {
                self.hosts.remove(host);
            }
        }
        slot
    }
}
