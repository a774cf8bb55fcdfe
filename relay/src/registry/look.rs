//! A look at everything from outside.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use shared::control::protocol::{DomainName, HostName};

use super::{Place, Registry};
use crate::entrance::Entrance;
use crate::snapshot::{SessionNow, Snapshot, TunnelNow};
use crate::tunnel::{OwnConnection, Tunnel};

impl Registry {
    /// What there is, tunnels in the order of their names and sessions in that of their arrival.
    /// The table is locked for as long as copies of its handles take, then each tunnel on its own.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let table = self.0.table.lock();
        let mut tunnels: Vec<Arc<Tunnel>> = Vec::with_capacity(table.tunnels.len());
        for place in table.tunnels.values() {
            if let Place::Open(tunnel) = place {
                tunnels.push(Arc::clone(tunnel));
            }
        }
        let latest = table.connections.iter();
        let numbers: HashMap<OwnConnection, u64> =
            latest.map(|(connection, latest)| (connection.clone(), latest.session)).collect();
        drop(table);

        tunnels.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let host = self.host();
        let public =
            |entrance: &Entrance| entrance.address(&host, &self.0.hosting.front).to_string();
        let tunnels: Vec<_> = tunnels.iter().map(|tunnel| tunnel.look(&numbers, public)).collect();
        let sessions = self.sessions(&tunnels);
        Snapshot { tunnels, sessions }
    }

    /// The sessions in the order of their arrival, as `tunnels` are claimed.
    fn sessions(&self, tunnels: &[TunnelNow]) -> Vec<SessionNow> {
        let mut claimed: HashMap<u64, usize> = HashMap::new();
        for client in tunnels.iter().flat_map(|tunnel| &tunnel.clients) {
            client.sessions.iter().for_each(|session| *claimed.entry(*session).or_default() += 1);
        }
        let claimed = |session| claimed.get(&session).copied().unwrap_or_default();
        let table = self.0.table.lock();
        let latest = table.connections.values();
        let mut sessions: Vec<_> =
            latest.map(|latest| latest.look(claimed(latest.session))).collect();
        drop(table);
        sessions.sort_unstable_by_key(|session| session.id);
        sessions
    }

    /// The tunnel of this owner and name, each as it is shown.
    pub(crate) fn named(&self, owner: &str, name: &str) -> Option<Arc<Tunnel>> {
        let table = self.0.table.lock();
        let mut open = table.tunnels.values().filter_map(|place| match place {
            Place::Open(tunnel) => Some(tunnel),
            Place::Reserved => None,
        });
        let found = open.find(|tunnel| {
            tunnel.name().as_str() == name && tunnel.id().owner.to_string() == owner
        });
        found.cloned()
    }

    /// The name by which visitors know the relay, as far as it knows itself.
    fn host(&self) -> HostName {
        let config = self.0.config.now();
        let is_somewhere =
            |host: &&String| host.parse::<IpAddr>().map_or(true, |ip| !ip.is_unspecified());
        let domain = self.0.hosting.front.domain.as_ref().map(DomainName::as_str);
        let bound = config.public.host.as_ref().filter(is_somewhere).map(String::as_str);
        let named = domain.or(bound).and_then(|name| name.parse().ok());
        let named = config.public_name.clone().or(named);
        named.unwrap_or_else(|| "localhost".parse().expect("the name of a host"))
    }
}
