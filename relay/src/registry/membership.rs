//! Which session belongs to which connection of which client process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use shared::control::protocol::{Refusal, RefusalCode, TunnelName};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Registry;
use crate::access::{Owner, Principal};
use crate::limits::Part;
use crate::metrics::Limit;
use crate::snapshot::SessionNow;
use crate::target::SessionTarget;
use crate::tunnel::{ConnectionId, OwnConnection, TunnelId};

/// The latest session of a connection.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) session: u64,
    pub(super) about: Arc<About>,
    replaced: CancellationToken,
    kicked: CancellationToken,
    permit: Arc<Admitted>,
}

/// What a session takes up of what is limited.
#[derive(Debug)]
struct Admitted {
    _in_all: OwnedSemaphorePermit,
    _of_accounts: Box<[Part]>,
}

/// Who is at the other end of a session.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The program, as it says itself.
    pub(crate) agent: String,
    pub(crate) address: SocketAddr,
}

/// What there is to tell of a session.
#[derive(Debug)]
pub(super) struct About {
    owner: Owner,
    peer: Peer,
    since: Instant,
    /// Of the last heartbeat, in nanoseconds; zero before the first.
    round_trip: AtomicU64,
    /// What carries its streams, as soon as it may have any.
    target: OnceLock<SessionTarget>,
}

impl Latest {
    /// The session for whoever looks from outside, which claims so many `tunnels`.
    pub(super) fn look(&self, tunnels: usize) -> SessionNow {
        let About { owner, peer, since, round_trip, target } = &*self.about;
        let round_trip = round_trip.load(Ordering::Relaxed);
        SessionNow {
            id: self.session,
            owner: owner.to_string(),
            agent: peer.agent.clone(),
            address: peer.address,
            age_seconds: since.elapsed().as_secs_f64(),
            streams: target.get().map_or(0, SessionTarget::streams),
            tunnels,
            round_trip_seconds: (round_trip > 0)
                .then(|| Duration::from_nanos(round_trip).as_secs_f64()),
        }
    }
}

/// A session's place among the connections. Dropping it frees the place, if it is still its own.
#[derive(Debug)]
pub(crate) struct Membership {
    registry: Registry,
    connection: OwnConnection,
    principal: Principal,
    session: u64,
    about: Arc<About>,
    replaced: CancellationToken,
    kicked: CancellationToken,
    /// Its place among the clients that the relay takes. A session that replaces another has the
    /// same one, so that a relay that is full takes back those whom it has.
    _permit: Arc<Admitted>,
}

impl Registry {
    /// Makes a session of `principal` and `peer` known as the one of `connection`. An earlier
    /// session of it, of the same owner, is told to end and loses its tunnels to this one.
    ///
    /// # Errors
    ///
    /// The relay, or the owner, has as many clients as there may be.
    pub(crate) fn join(
        &self,
        connection: ConnectionId,
        principal: Principal,
        peer: Peer,
    ) -> Result<Membership, Refusal> {
        let about = Arc::new(About {
            owner: principal.owner().clone(),
            peer,
            since: Instant::now(),
            round_trip: AtomicU64::new(0),
            target: OnceLock::new(),
        });
        let connection = (principal.owner().clone(), connection);
        let mut table = self.0.table.lock();
        let before = table.connections.get(&connection);
        let permit = match before {
            Some(before) => Arc::clone(&before.permit),
            None => Arc::new(self.room_for(&principal)?),
        };
        if let Some(before) = before {
            before.replaced.cancel();
        }
        table.sessions += 1;
        let session = table.sessions;
        let [replaced, kicked] = [(); 2].map(|()| CancellationToken::new());
        let latest = Latest {
            session,
            about: Arc::clone(&about),
            replaced: replaced.clone(),
            kicked: kicked.clone(),
            permit: Arc::clone(&permit),
        };
        table.connections.insert(connection.clone(), latest);
        drop(table);
        let registry = self.clone();
        Ok(Membership {
            registry,
            connection,
            principal,
            session,
            about,
            replaced,
            kicked,
            _permit: permit,
        })
    }
}

impl Registry {
    /// Ends a session: its client is told that somebody has, and may come back. Whether there is such
    /// a one.
    pub(crate) fn kick(&self, session: u64) -> bool {
        let table = self.0.table.lock();
        let latest = table.connections.values().find(|latest| latest.session == session);
        latest.is_some_and(|latest| {
            latest.kicked.cancel();
            true
        })
    }

    /// Room for one more session of `principal`.
    fn room_for(&self, principal: &Principal) -> Result<Admitted, Refusal> {
        let sessions = principal.accounts().iter().map(|account| account.session());
        let parts = sessions.collect::<Result<_, _>>().map_err(|limit| self.over(limit))?;
        let Some(in_all) = self.0.limits.session() else {
            self.0.metrics.limit(Limit::Sessions);
            let message = "the relay has no room for more clients";
            return Err(Refusal::new(RefusalCode::TooManyClients, message));
        };
        Ok(Admitted { _in_all: in_all, _of_accounts: parts })
    }
}

impl Membership {
    /// The relay's number for the session.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) fn connection(&self) -> &OwnConnection {
        &self.connection
    }

    /// A heartbeat came back.
    pub(crate) fn round_trip(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.about.round_trip.store(nanos, Ordering::Relaxed);
    }

    /// Which of all tunnels its client means by a name.
    pub(crate) fn tunnel(&self, name: &TunnelName) -> TunnelId {
        // The tunnel `default` is there before anybody has it.
        let owner = if name.is_default() { &Owner::Anybody } else { self.principal.owner() };
        TunnelId { owner: owner.clone(), name: name.clone() }
    }

    /// Its streams are carried by this.
    pub(crate) fn leads_to(&self, target: SessionTarget) {
        // It is said once.
        drop(self.about.target.set(target));
    }

    /// Resolves when the same connection has come again.
    pub(crate) fn replaced(&self) -> impl Future<Output = ()> + use<> {
        self.replaced.clone().cancelled_owned()
    }

    /// Resolves when somebody has ended the session, with what its client is told.
    pub(crate) fn kicked(&self) -> impl Future<Output = Refusal> + use<> {
        let kicked = self.kicked.clone().cancelled_owned();
        async {
            kicked.await;
            Refusal::new(RefusalCode::Unavailable, "an operator of the relay has ended the session")
        }
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
