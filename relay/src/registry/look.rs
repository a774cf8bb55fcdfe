//! A look at everything from outside.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Place, Registry};
use crate::snapshot::{SessionNow, Snapshot};
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
        let mut sessions: Vec<SessionNow> =
            table.connections.values().map(|latest| latest.look()).collect();
        drop(table);

        tunnels.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        sessions.sort_unstable_by_key(|session| session.id);
        Snapshot { tunnels: tunnels.iter().map(|tunnel| tunnel.look(&numbers)).collect(), sessions }
    }
}
