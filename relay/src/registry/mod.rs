//! Which tunnels there are.
//!
//! The two halves of the relay meet here and nowhere else. A session claims a tunnel for each that
//! its client asks for; the edge is told of each entrance that opens, and finds the tunnel behind
//! it. Neither half knows that the other exists. Hosts are not bound by anybody: requests find their
//! tunnels by the [`Routes`].
//!
//! A new tunnel comes about in three steps, so that nothing slow happens under the lock:
//! [`opening`] reserves its name and its entrances, the edge binds them, and the registry commits.
//!
//! # Invariants
//!
//! - An entrance leads to one tunnel, until what was bound for it is closed again.
//! - All entrances of a host are of one owner: nobody else has a part of its paths.
//! - A tunnel has the same entrances for as long as it exists.
//! - A connection that comes back replaces its own stale session before it claims anything, and never
//!   that of another owner.
//! - The lock is never held across an `.await`, nor over more than a few look-ups.

mod hosts;
mod look;
mod membership;
mod opening;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use shared::control::protocol::{
    MAX_TUNNELS, Refusal, RefusalCode, TunnelName, TunnelRequest, WebHost,
};
use shared::kit::logging::Rate;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::access::Owner;
use crate::config::CurrentConfig;
use crate::entrance::{Entrance, WebFront};
use crate::limits::Limits;
use crate::metrics::{Limit, Metrics};
use crate::routes::Routes;
use crate::tunnel::{
    Claim, Claimant, Conditions, Health, MOST_CLIENTS, Over, OwnConnection, Service, Tunnel,
    TunnelId, Vacancies,
};
use crate::visit::Visits;
use crate::web::Policy;

use self::hosts::HeldHost;
use self::membership::Latest;
use self::opening::Reservation;

pub(crate) use self::hosts::Hosting;
pub(crate) use self::membership::{Membership, Peer};
pub(crate) use self::opening::Opening;

/// Entrances that the edge has not bound yet. It does so at once; more wait in the sessions.
const OPENINGS: usize = 64;

/// Tunnels that nobody has come back to.
static ABANDONED: Rate = Rate::generous(|more| {
    info!(left_out = more.count, "closed, no client for too long: {more}");
});

/// A cheap handle to the tunnels.
#[derive(Clone, Debug)]
pub(crate) struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: CurrentConfig,
    limits: Limits,
    metrics: Metrics,
    stopping: CancellationToken,
    openings: mpsc::Sender<Opening>,
    routes: Routes,
    hosting: Hosting,
    vacancies: Vacancies,
    visits: Visits,
    table: Mutex<Table>,
    /// Told when a reservation is over or an entrance is free again.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    tunnels: HashMap<TunnelId, Place>,
    entrances: HashMap<Entrance, Slot>,
    hosts: HashMap<WebHost, HeldHost>,
    connections: HashMap<OwnConnection, Latest>,
    sessions: u64,
    routes: Routes,
}

/// What there is under a tunnel's name.
#[derive(Debug)]
enum Place {
    /// A session is opening it.
    Reserved,
    Open(Arc<Tunnel>),
}

/// What an entrance leads to.
#[derive(Debug)]
enum Slot {
    /// To a tunnel that a session is opening.
    Reserved,
    Open(Arc<Tunnel>),
    /// To a tunnel that has gone: what was bound is about to be closed.
    Closing,
}

/// An entrance that is open. The edge has it for as long as it listens there; dropping it frees the
/// entrance.
#[derive(Debug)]
#[must_use = "dropping it frees the entrance"]
pub(crate) struct Opened {
    registry: Registry,
    entrance: Entrance,
    /// It goes with its tunnel, and not with this.
    is_kept: bool,
    /// Its place among the descriptors.
    _descriptor: Option<OwnedSemaphorePermit>,
}

impl Registry {
    /// A registry without any tunnel, whose entrances the edge binds as it receives them. All are
    /// to be closed when `stopping` fires.
    pub(crate) fn new(
        config: CurrentConfig,
        limits: Limits,
        metrics: Metrics,
        stopping: CancellationToken,
        hosting: Hosting,
    ) -> (Self, mpsc::Receiver<Opening>) {
        let (openings, receiver) = mpsc::channel(OPENINGS);
        let routes = Routes::default();
        let table = Table { routes: routes.clone(), ..Table::default() };
        let shared = Shared {
            config,
            vacancies: Vacancies::new(limits.clone()),
            limits,
            metrics,
            stopping,
            openings,
            routes,
            hosting,
            visits: Visits::default(),
            table: Mutex::new(table),
            freed: Notify::new(),
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// Adds the tunnel `default`, which is always there, at an entrance that is bound already.
    pub(crate) fn open_default(&self, entrance: Entrance) -> Opened {
        let id = TunnelId { owner: Owner::Anybody, name: TunnelName::default_tunnel() };
        let tunnel = self.tunnel(id.clone(), [entrance.clone()].into());
        let mut table = self.0.table.lock();
        table.tunnels.insert(id, Place::Open(Arc::clone(&tunnel)));
        table.entrances.insert(entrance.clone(), Slot::Open(tunnel));
        Opened { registry: self.clone(), entrance, is_kept: false, _descriptor: None }
    }

    /// Which tunnel requests are for.
    pub(crate) fn routes(&self) -> &Routes {
        &self.0.routes
    }

    /// The visits that are going on.
    pub(crate) fn visits(&self) -> &Visits {
        &self.0.visits
    }

    /// Where the web reaches the relay.
    pub(crate) fn front(&self) -> &WebFront {
        &self.0.hosting.front
    }

    /// The tunnel that an entrance leads to.
    pub(crate) fn find(&self, entrance: &Entrance) -> Option<Arc<Tunnel>> {
        match self.0.table.lock().entrances.get(entrance)? {
            Slot::Open(tunnel) => Some(Arc::clone(tunnel)),
            Slot::Reserved | Slot::Closing => None,
        }
    }

    /// Claims the tunnel of each request for the session of `member`, and opens those that are not
    /// there yet: all of them, or none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: then none is claimed.
    ///
    /// # Errors
    ///
    /// A refusal that says what about which request is wrong, or that the connection has come
    /// again meanwhile.
    pub(crate) async fn claim(
        &self,
        member: &Membership,
        requests: &[TunnelRequest],
        claimant: &Arc<Claimant>,
    ) -> Result<Vec<Claim>, Refusal> {
        let rights = member.principal().rights();
        for request in requests {
            rights.check_name(&request.name)?;
        }
        self.check_parts(member, requests)?;
        let services = requests.iter().map(service).collect::<Result<Vec<_>, _>>()?;
        loop {
            let wanted = requests.iter().map(|request| (member.tunnel(&request.name), request));
            let reservations = self.reserve(wanted.collect(), rights).await?;
            if let Some(claims) =
                self.commit(member, requests, &services, claimant, reservations)?
            {
                return Ok(claims);
            }
            // A tunnel was abandoned in the moment in between.
        }
    }

    /// Gives a claim up for good: a tunnel that nobody else claims is closed at once.
    pub(crate) fn give_up(&self, claim: Claim) {
        let tunnel = Arc::clone(claim.tunnel());
        // Claims are made under the table's lock, so none can come in between.
        let mut table = self.0.table.lock();
        claim.give_up();
        if !tunnel.is_claimed() {
            table.close(&tunnel);
        }
    }

    /// Closes tunnels to which nobody has come back for as long as the configuration says. Never
    /// returns: whoever polls it drops it in the end.
    pub(crate) async fn close_abandoned(&self) -> Infallible {
        let hold = || self.0.config.now().hold;
        loop {
            let (id, hold, why) = match self.0.vacancies.next(hold).await {
                Over::Time(id) => (id, hold(), "no client for too long"),
                Over::Surplus(id) => {
                    self.0.metrics.limit(Limit::HeldPorts);
                    (id, Duration::ZERO, "too many are held for whoever had it")
                }
            };
            let mut table = self.0.table.lock();
            if let Some(Place::Open(tunnel)) = table.tunnels.get(&id) {
                // Claims are made under the table's lock, so none can come in between.
                let tunnel = Arc::clone(tunnel);
                if tunnel.is_abandoned(hold) {
                    if ABANDONED.allows() {
                        info!(tunnel = %tunnel.name(), "closed: {why}");
                    }
                    table.close(&tunnel);
                }
            }
        }
    }

    /// The last step: everything that was reserved becomes a tunnel, and all are claimed. `None`: a
    /// tunnel that was there has gone.
    fn commit(
        &self,
        member: &Membership,
        requests: &[TunnelRequest],
        services: &[Service],
        claimant: &Arc<Claimant>,
        reservations: Vec<Reservation>,
    ) -> Result<Option<Vec<Claim>>, Refusal> {
        let ids: Vec<_> = requests.iter().map(|request| member.tunnel(&request.name)).collect();
        let mut bound = Vec::new();
        let claims = {
            let mut table = self.0.table.lock();
            if !table.is_current(member) {
                // It must not take the place of the newer one.
                let message = "the client has connected again";
                return Err(Refusal::new(RefusalCode::Replaced, message));
            }
            let is_ours = |id| reservations.iter().any(|reservation| reservation.id() == id);
            let is_there = |id| matches!(table.tunnels.get(id), Some(Place::Open(_)));
            if !ids.iter().all(|id| is_ours(id) || is_there(id)) {
                return Ok(None);
            }
            let ports: HashMap<_, _> =
                reservations.iter().map(|new| (new.id(), new.ports())).collect();
            let ports = |id| ports.get(id).copied().or_else(|| table.ports(id)).unwrap_or(1);
            let parts = ids.iter().map(|id| claimant.principal().parts(&id.name, ports(id)));
            let parts = parts.collect::<Result<Vec<_>, _>>().map_err(|limit| self.over(limit))?;
            self.check_hosts(&reservations)?;
            check_room(&table, &ids, claimant)?;
            check_holder(&table, &ids, claimant, self.0.config.now().hold)?;
            for reservation in reservations {
                let (id, entrances) = reservation.into_parts();
                let all = entrances.iter().map(|bound| bound.entrance().clone());
                let tunnel = self.tunnel(id.clone(), all.collect());
                for entrance in tunnel.entrances() {
                    self.0.routes.insert(entrance, &tunnel);
                    table.want_certificate(entrance, &self.0.hosting);
                    table.entrances.insert(entrance.clone(), Slot::Open(Arc::clone(&tunnel)));
                }
                table.tunnels.insert(id, Place::Open(tunnel));
                bound.extend(entrances);
            }
            let wanted = ids.iter().zip(services).zip(parts);
            let claims = wanted.map(|((id, service), parts)| match &table.tunnels[id] {
                Place::Open(tunnel) => {
                    Some(tunnel.claim(Arc::clone(claimant), service.clone(), parts))
                }
                Place::Reserved => None,
            });
            claims.collect()
        };
        for bound in bound {
            bound.commit();
        }
        self.0.freed.notify_waiters();
        Ok(claims)
    }

    /// Whether its accounts have room for what a client asks for. Asked before anything is bound for
    /// it, which costs far more than to say no; what it takes up is taken when all is there.
    fn check_parts(&self, member: &Membership, requests: &[TunnelRequest]) -> Result<(), Refusal> {
        // They are taken under its lock, so none who come at the same time are in the way.
        let table = self.0.table.lock();
        let parts = requests.iter().map(|request| {
            // A tunnel that is there may be kept, or make room for one as it is asked for.
            let there = table.ports(&member.tunnel(&request.name)).unwrap_or(usize::MAX);
            member.principal().parts(&request.name, request.entrances.len().min(there))
        });
        let parts: Result<Vec<_>, _> = parts.collect();
        parts.map(drop).map_err(|limit| self.over(limit))
    }

    /// Whether a session may have so many tunnels.
    ///
    /// # Errors
    ///
    /// The refusal that says how many it may have.
    pub(crate) fn check_tunnels(&self, count: usize) -> Result<(), Refusal> {
        let most = self.0.limits.rules().max_tunnels_per_session;
        let most = most.map_or(MAX_TUNNELS, |most| (most as usize).min(MAX_TUNNELS));
        if count <= most {
            return Ok(());
        }
        self.0.metrics.limit(Limit::TunnelsPerSession);
        let message = format!("a client has {most} tunnels at most");
        Err(Refusal::new(RefusalCode::TooManyTunnels, message))
    }

    /// The refusal of a client that comes up against a limit, which is counted.
    fn over(&self, limit: Limit) -> Refusal {
        self.0.metrics.limit(limit);
        Refusal::new(RefusalCode::OverLimit, format!("too many {}", limit.of_what()))
    }

    fn tunnel(&self, id: TunnelId, entrances: Box<[Entrance]>) -> Arc<Tunnel> {
        let vacancies = self.0.vacancies.clone();
        Tunnel::new(id, entrances, &self.0.metrics, self.0.stopping.child_token(), vacancies)
    }
}

/// Whether each tunnel that is there has room for one more claim.
fn check_room(table: &Table, ids: &[TunnelId], claimant: &Claimant) -> Result<(), Refusal> {
    let client = claimant.connection.instance;
    let is_full = |id: &&TunnelId| match table.tunnels.get(id) {
        Some(Place::Open(tunnel)) => !tunnel.has_room_for(client),
        Some(Place::Reserved) | None => false,
    };
    match ids.iter().find(is_full) {
        None => Ok(()),
        Some(TunnelId { name, .. }) => {
            let message = format!(
                "{MOST_CLIENTS} clients have the tunnel `{name}` already, which is as many as may \
                 stand by: give this one another name"
            );
            Err(Refusal::new(RefusalCode::TooManyClients, message))
        }
    }
}

/// Whether nobody else has the tunnel `default`: it is not the owner's own, like all others.
fn check_holder(
    table: &Table,
    ids: &[TunnelId],
    claimant: &Claimant,
    hold: Duration,
) -> Result<(), Refusal> {
    let Some(id) = ids.iter().find(|id| id.name.is_default()) else { return Ok(()) };
    match table.tunnels.get(id) {
        Some(Place::Open(tunnel)) if tunnel.is_taken_from(claimant.principal().owner(), hold) => {
            let message = "somebody else has the tunnel `default` and its public port: give yours \
                           another name, as in --tunnel web=3000";
            Err(Refusal::new(RefusalCode::TunnelTaken, message))
        }
        Some(_) | None => Ok(()),
    }
}

impl Table {
    /// Whether the member's session is the latest of its connection.
    fn is_current(&self, member: &Membership) -> bool {
        let latest = self.connections.get(member.connection());
        latest.is_some_and(|latest| latest.session == member.session())
    }

    /// How many ports a tunnel has that is there.
    fn ports(&self, id: &TunnelId) -> Option<usize> {
        match self.tunnels.get(id)? {
            Place::Open(tunnel) => Some(tunnel.entrances().len()),
            Place::Reserved => None,
        }
    }

    /// Takes a tunnel away and has its entrances closed. They are free when that is done. The
    /// tunnel `default` stays.
    fn close(&mut self, tunnel: &Tunnel) {
        let is_there = matches!(self.tunnels.get(tunnel.id()), Some(Place::Open(open)) if std::ptr::eq(&**open, tunnel));
        if !is_there || tunnel.name().is_default() {
            return;
        }
        self.tunnels.remove(tunnel.id());
        for entrance in tunnel.entrances() {
            self.routes.remove(entrance);
            match entrance {
                Entrance::Port(_) => drop(self.entrances.insert(entrance.clone(), Slot::Closing)),
                // Nobody listens there.
                Entrance::Web(_) | Entrance::ServerName(_) => drop(self.free(entrance)),
            }
        }
        tunnel.close();
    }
}

impl Opened {
    pub(crate) fn entrance(&self) -> &Entrance {
        &self.entrance
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let mut table = self.registry.0.table.lock();
        if let Some(Slot::Open(tunnel)) = table.free(&self.entrance) {
            // Whoever listened has stopped by itself: no visitor gets there any more.
            table.close(&tunnel);
            table.free(&self.entrance);
        }
        drop(table);
        self.registry.0.freed.notify_waiters();
    }
}

/// The local service behind a tunnel, as a request describes it.
///
/// # Errors
///
/// The refusal that says what of it makes no sense.
pub(crate) fn service(request: &TunnelRequest) -> Result<Service, Refusal> {
    let TunnelRequest { name, local, healthy, withdraw, destination, rules, http, .. } = request;
    let policy = http.as_ref().map(Policy::new).transpose().map_err(|err| {
        let message = format!("the tunnel `{name}`: {err}");
        Refusal::new(RefusalCode::BadRequest, message)
    })?;
    let conditions = match (rules.is_empty(), policy) {
        (true, None) => None,
        (_, policy) => Some(Arc::new(Conditions { rules: rules.clone(), policy })),
    };
    let health = Health { healthy: *healthy, withdraw: *withdraw };
    Ok(Service { local: local.clone(), health, destination: *destination, conditions })
}

#[cfg(test)]
mod tests;
