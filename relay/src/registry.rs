//! Which tunnels there are.
//!
//! The two halves of the relay meet here and nowhere else. A session claims a tunnel for each that
//! its client asks for; the edge is handed each tunnel together with its listener and finds the
//! session to open a stream on. Neither half knows that the other exists.
//!
//! # Invariants
//!
//! - A tunnel has one port for as long as it exists, and a port one tunnel.
//! - A connection that comes back replaces its own stale session before it claims anything.
//! - The lock is never held across an `.await`; every method is synchronous to keep it that way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use shared::control::protocol::{Refusal, RefusalCode, TunnelName, TunnelRequest};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::ports::Ports;
use crate::target::{ConnectionId, Target};
use crate::tunnel::{Claim, Tunnel};

/// New tunnels that the edge has not taken over yet. It does so at once.
const OPENED_QUEUE: usize = 1024;

/// A cheap handle to the tunnels.
#[derive(Clone, Debug)]
pub(crate) struct Registry(Arc<Shared>);

/// A tunnel that has just been opened, and where its visitors come in.
pub(crate) type Opened = (Arc<Tunnel>, TcpListener);

#[derive(Debug)]
struct Shared {
    ports: Ports,
    most_visitors: usize,
    metrics: Metrics,
    opened: mpsc::Sender<Opened>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    tunnels: HashMap<TunnelName, Arc<Tunnel>>,
    connections: HashMap<ConnectionId, (u64, CancellationToken)>,
    next_session: u64,
}

impl Registry {
    /// A registry with the tunnel `default`, which is always there, at `public`. The edge receives
    /// all tunnels, `default` first.
    pub(crate) fn new(
        ports: Ports,
        public: TcpListener,
        public_port: u16,
        most_visitors: usize,
        metrics: Metrics,
    ) -> (Self, mpsc::Receiver<Opened>) {
        let (opened, receiver) = mpsc::channel(OPENED_QUEUE);
        let name = TunnelName::default_tunnel();
        let tunnel = Tunnel::new(name.clone(), public_port, most_visitors, &metrics);
        let table =
            Table { tunnels: HashMap::from([(name, Arc::clone(&tunnel))]), ..Table::default() };
        // The queue is empty and the receiver at hand.
        drop(opened.try_send((tunnel, public)));
        let shared = Shared { ports, most_visitors, metrics, opened, table: Mutex::new(table) };
        (Self(Arc::new(shared)), receiver)
    }

    /// Makes a session known as the one of `connection`. An earlier session of it is told to end
    /// and loses its tunnels to this one.
    pub(crate) fn join(&self, connection: ConnectionId) -> Membership {
        let replaced = CancellationToken::new();
        let mut table = self.0.table.lock();
        table.next_session += 1;
        let session = table.next_session;
        let entry = (session, replaced.clone());
        if let Some((_, before)) = table.connections.insert(connection, entry) {
            before.cancel();
        }
        Membership { registry: self.clone(), connection, session, replaced }
    }

    /// Claims the tunnel of each request for `target`, the session of `member`, and opens those
    /// that are not there yet: all of them, or none.
    ///
    /// # Errors
    ///
    /// A refusal that says what about which request is wrong, or that the connection has come
    /// again meanwhile.
    pub(crate) fn claim(
        &self,
        member: &Membership,
        requests: &[TunnelRequest],
        target: &Target,
    ) -> Result<Vec<Claim>, Refusal> {
        let mut table = self.0.table.lock();
        if !table.is_current(member) {
            // It must not take the place of the newer one.
            return Err(Refusal::new(RefusalCode::Replaced, "the client has connected again"));
        }
        let mut taken: HashSet<u16> = table.tunnels.values().map(|tunnel| tunnel.port()).collect();
        let mut listeners = HashMap::new();
        for request in requests {
            if let Some(tunnel) = table.tunnels.get(&request.name) {
                check_port(tunnel, request)?;
            } else {
                let listener = self.0.ports.bind(request, &taken)?;
                let port = listener.local_addr().map_err(cannot_open)?.port();
                taken.insert(port);
                listeners.insert(&request.name, (port, listener));
            }
        }

        // The edge takes what is opened at once; one that cannot is as good as stopped.
        if self.0.opened.capacity() < listeners.len() {
            return Err(cannot_open("too many at once"));
        }
        for (name, (port, listener)) in listeners {
            let tunnel = Tunnel::new(name.clone(), port, self.0.most_visitors, &self.0.metrics);
            self.0.opened.try_send((Arc::clone(&tunnel), listener)).map_err(cannot_open)?;
            table.tunnels.insert(name.clone(), tunnel);
        }
        let claim = |request: &TunnelRequest| table.tunnels[&request.name].claim(target.clone());
        Ok(requests.iter().map(claim).collect())
    }

    /// Removes a tunnel that nobody claims or visits. Returns `false` if somebody does again.
    pub(crate) fn retire(&self, tunnel: &Tunnel) -> bool {
        let mut table = self.0.table.lock();
        // Claims are made under the table's lock, so none can come in between.
        let unused = tunnel.is_unused();
        if unused {
            table.tunnels.remove(tunnel.name());
        }
        unused
    }
}

impl Table {
    /// Whether the member's session is the latest of its connection.
    fn is_current(&self, member: &Membership) -> bool {
        let entry = self.connections.get(&member.connection);
        entry.is_some_and(|(session, _)| *session == member.session)
    }
}

/// Whether the port that a client insists on is the one that the tunnel has.
fn check_port(tunnel: &Tunnel, request: &TunnelRequest) -> Result<(), Refusal> {
    match request.port {
        Some(port) if port != tunnel.port() => {
            let message = format!(
                "the tunnel `{}` has port {}, not {port}: leave the port out or use another name",
                tunnel.name(),
                tunnel.port()
            );
            Err(Refusal::new(RefusalCode::PortMismatch, message))
        }
        _ => Ok(()),
    }
}

fn cannot_open(err: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::NoPortFree, format!("the relay cannot open one more port: {err}"))
}

/// A session's place among the connections. Dropping it frees the place, if it is still its own.
#[derive(Debug)]
pub(crate) struct Membership {
    registry: Registry,
    connection: ConnectionId,
    session: u64,
    replaced: CancellationToken,
}

impl Membership {
    /// The relay's number for the session.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// Resolves when the same connection has come again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut table = self.registry.0.table.lock();
        if table.is_current(self) {
            table.connections.remove(&self.connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::carry::mux;
    use shared::control::protocol::{InstanceId, TunnelKind};

    use super::*;

    #[tokio::test]
    async fn a_handshake_that_was_overtaken_takes_nothing_from_the_newer_one() {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = public.local_addr().unwrap().port();
        let config = crate::config::Config::loopback();
        let ports = Ports { ip: public.local_addr().unwrap().ip(), range: config.ports };
        let (registry, _opened) = Registry::new(ports, public, port, 10, Metrics::new().unwrap());
        let connection = ConnectionId { instance: InstanceId::random(), number: 0 };
        let name = TunnelName::default_tunnel();
        let requests = [TunnelRequest { name, kind: TunnelKind::Tcp, port: None, prefer: None }];
        let target = || {
            let (io, _) = tokio::io::duplex(64);
            Target::new(connection, mux::start(io, yamux::Mode::Server, 1).0, 1)
        };

        let stale = registry.join(connection);
        let fresh = registry.join(connection);
        let claims = registry.claim(&fresh, &requests, &target()).unwrap();
        let refused = registry.claim(&stale, &requests, &target()).unwrap_err();
        assert_eq!(refused.code, RefusalCode::Replaced);
        drop(stale);
        assert!(claims[0].is_live());
        assert!(registry.claim(&fresh, &requests, &target()).is_ok(), "still the latest");
    }
}
