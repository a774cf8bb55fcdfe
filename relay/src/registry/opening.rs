//! The first steps to a new tunnel: its name and its entrances are reserved, and the edge binds
//! them.

use std::fmt;
use std::io;

use shared::control::protocol::{
    EntranceRequest, PathPrefix, Refusal, RefusalCode, TunnelRequest, WebHost,
};
use tokio::sync::oneshot;

use super::{Opened, Place, Registry, Slot};
use crate::access::{Owner, Principal, Rights};
use crate::domains::{Patience, Refused};
use crate::entrance::{Entrance, WebAddress};
use crate::metrics::HostRefusal;
use crate::ports::{Wish, candidates};
use crate::tunnel::{Tunnel, TunnelId};

/// An entrance that the edge is to bind. It answers at once, and serves when it is told that the
/// tunnel is there; if it is not, the entrance is closed again.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) entrance: Entrance,
    /// Takes what was bound: the kernel may have chosen.
    pub(crate) bound: oneshot::Sender<io::Result<Entrance>>,
    /// Brings the entrance, once it leads somewhere.
    pub(crate) opened: oneshot::Receiver<Opened>,
}

/// A tunnel that is about to be. Dropping it frees its name and its entrances.
#[derive(Debug)]
pub(super) struct Reservation {
    name: ReservedName,
    entrances: Vec<Bound>,
}

#[derive(Debug)]
struct ReservedName {
    registry: Registry,
    id: TunnelId,
    /// Until the tunnel is there.
    is_reserved: bool,
}

/// An entrance that visitors can be let in by.
#[derive(Debug)]
pub(super) struct Bound {
    opened: Opened,
    /// Tells the edge, which has bound it. `None`: there is nothing to bind.
    commit: Option<oneshot::Sender<Opened>>,
}

impl Registry {
    /// Reserves what requests ask for, with the entrances bound. Tunnels that are there already, as
    /// they should be, are left out.
    pub(super) async fn reserve(
        &self,
        mut requests: Vec<(TunnelId, &TunnelRequest)>,
        rights: &Rights,
    ) -> Result<Vec<Reservation>, Refusal> {
        // In the same order for everybody, so that no two wait for each other.
        requests.sort_unstable_by_key(|(_, request)| &request.name);
        let mut reserved = Vec::new();
        for (id, request) in requests {
            let name = self.reserve_name(id, request, rights).await?;
            reserved.extend(name.map(|name| (name, request)));
        }
        // Whoever insists on a port comes before those who do with another one.
        reserved.sort_by_key(|(_, request)| request.entrances.iter().map(ease).min());
        let mut reservations = Vec::new();
        for (name, request) in reserved {
            let entrances = self.bind_all(&name.id, request, rights).await?;
            reservations.push(Reservation { name, entrances });
        }
        Ok(reservations)
    }

    /// Why a tunnel has to wait until its owner has proven that its hosts are its own: of all of
    /// them, and what the first counts as. `None` also if one of them is refused for a reason that
    /// no proof would help: that is said when the tunnel is opened, as is whether its ports and
    /// paths can be had. Whoever asks for it here has the proofs looked for.
    pub(crate) async fn must_wait(
        &self,
        principal: &Principal,
        request: &TunnelRequest,
        patience: &mut Patience,
    ) -> Option<Refused> {
        let (owner, rights) = (principal.owner(), principal.rights());
        rights.check_name(&request.name).ok()?;
        let mut waits: Option<Refused> = None;
        for entrance in request.entrances.iter().filter_map(entrance) {
            // What somebody's token is not for is not waited for.
            self.check_host(&entrance, rights).ok()?;
            let Some(host) = entrance.host() else { continue };
            match (self.0.hosting.domains.ask(owner, host, patience).await, &mut waits) {
                (Ok(()), _) => (),
                (Err((_, refusal)), _) if !refusal.waits_for_records() => return None,
                (Err((_, refusal)), Some((_, all))) => add(all, refusal),
                (Err(refused), None) => waits = Some(refused),
            }
        }
        waits
    }

    /// A tunnel has to wait, or goes on waiting for another reason.
    pub(crate) fn count_waiting(&self, reason: HostRefusal) {
        self.0.hosting.domains.count_refusal(reason);
    }

    async fn bind_all(
        &self,
        id: &TunnelId,
        request: &TunnelRequest,
        rights: &Rights,
    ) -> Result<Vec<Bound>, Refusal> {
        let mut entrances = Vec::new();
        for wanted in &request.entrances {
            entrances.push(match wanted {
                EntranceRequest::Tcp { port, prefer } => {
                    let wish = Wish { exactly: *port, before: *prefer };
                    self.bind_port(id, wish, rights).await?
                }
                EntranceRequest::Http { at, path } => {
                    self.reserve_host(id, web(at, path), rights).await?
                }
                EntranceRequest::Tls { at } => {
                    self.reserve_host(id, Entrance::ServerName(at.clone()), rights).await?
                }
            });
        }
        Ok(entrances)
    }

    /// Reserves a tunnel's name, unless the tunnel is there.
    async fn reserve_name(
        &self,
        id: TunnelId,
        request: &TunnelRequest,
        rights: &Rights,
    ) -> Result<Option<ReservedName>, Refusal> {
        loop {
            let freed = self.0.freed.notified();
            {
                let mut table = self.0.table.lock();
                match table.tunnels.get(&id) {
                    None => {
                        table.tunnels.insert(id.clone(), Place::Reserved);
                        let registry = self.clone();
                        return Ok(Some(ReservedName { registry, id, is_reserved: true }));
                    }
                    Some(Place::Open(tunnel)) => {
                        match self.check_entrances(tunnel, request, rights) {
                            // Nobody insists on the old ones.
                            Err(_) if !tunnel.is_claimed() && !tunnel.name().is_default() => {
                                let tunnel = tunnel.clone();
                                table.close(&tunnel);
                                continue;
                            }
                            checked => return checked.map(|()| None),
                        }
                    }
                    Some(Place::Reserved) => (),
                }
            }
            freed.await;
        }
    }

    /// Binds the first of the ports in question that can be had.
    async fn bind_port(
        &self,
        id: &TunnelId,
        wish: Wish,
        rights: &Rights,
    ) -> Result<Bound, Refusal> {
        let range = self.0.config.now().ports;
        for port in candidates(range, rights, &id.owner, &id.name, wish)? {
            let Some(reserved) = self.reserve_entrance(Entrance::Port(port), &id.owner).await?
            else {
                continue;
            };
            match self.bind(reserved).await {
                Ok(bound) => return Ok(bound),
                Err(err) if wish.exactly.is_some() => {
                    let message = format!("the relay cannot open port {port}: {err}");
                    return Err(Refusal::new(RefusalCode::PortTaken, message));
                }
                Err(err) if err.kind() == io::ErrorKind::AddrInUse => (),
                // Out of files, say: the next port will not do better.
                Err(err) => return Err(cannot_open(&err)),
            }
        }
        Err(match wish.exactly {
            Some(port) => {
                let message =
                    format!("the relay cannot open port {port}: it is in use by another tunnel");
                Refusal::new(RefusalCode::PortTaken, message)
            }
            None => {
                let mut message = format!("every public port of the range {range} is taken");
                for ports in rights.ports() {
                    message += &format!(", or not among the token's, {ports}");
                }
                Refusal::new(RefusalCode::NoPortFree, message)
            }
        })
    }

    /// Reserves an entrance that is a host, or a part of one.
    async fn reserve_host(
        &self,
        id: &TunnelId,
        entrance: Entrance,
        rights: &Rights,
    ) -> Result<Bound, Refusal> {
        self.check_host(&entrance, rights)?;
        if let Some(host) = entrance.host() {
            self.0.hosting.domains.may_claim(&id.owner, host)?;
        }
        match self.reserve_entrance(entrance.clone(), &id.owner).await? {
            Some(opened) => Ok(Bound { opened, commit: None }),
            None => {
                let message =
                    format!("somebody has {entrance} already: choose another name, host or path");
                Err(Refusal::new(RefusalCode::TunnelTaken, message))
            }
        }
    }

    /// Whether the relay serves such an entrance, and its host is one that these rights are for.
    fn check_host(&self, entrance: &Entrance, rights: &Rights) -> Result<(), Refusal> {
        self.check_offered(entrance)?;
        match entrance.host() {
            Some(host) => rights.check_host(&self.front().shown(host)),
            None => Ok(()),
        }
    }

    /// Whether the relay serves such entrances at all.
    fn check_offered(&self, entrance: &Entrance) -> Result<(), Refusal> {
        let front = self.front();
        let (is_offered, flag) = match entrance {
            Entrance::Port(_) => (true, ""),
            Entrance::Web(_) => (front.port.is_some(), "--http or --https"),
            Entrance::ServerName(_) => (front.tls_port.is_some(), "--https"),
        };
        if is_offered {
            return Ok(());
        }
        let message = format!("the relay does not serve hosts: its operator can add {flag}");
        Err(Refusal::new(RefusalCode::NotOffered, message))
    }

    /// Reserves an entrance. `None`: it leads somewhere, or is about to.
    async fn reserve_entrance(
        &self,
        entrance: Entrance,
        owner: &Owner,
    ) -> Result<Option<Opened>, Refusal> {
        loop {
            let freed = self.0.freed.notified();
            {
                let mut table = self.0.table.lock();
                match table.entrances.get(&entrance) {
                    None => {
                        let descriptor = match entrance {
                            Entrance::Port(_) => match self.0.limits.listener() {
                                None => {
                                    return Err(cannot_open(&"its limit of open files is reached"));
                                }
                                descriptor => descriptor,
                            },
                            Entrance::Web(_) | Entrance::ServerName(_) => None,
                        };
                        if !table.take_host(&entrance, owner) {
                            return Ok(None);
                        }
                        if entrance.is_chosen() {
                            table.entrances.insert(entrance.clone(), Slot::Reserved);
                        }
                        return Ok(Some(Opened {
                            registry: self.clone(),
                            entrance,
                            is_kept: false,
                            _descriptor: descriptor,
                        }));
                    }
                    Some(Slot::Reserved | Slot::Open(_)) => return Ok(None),
                    Some(Slot::Closing) => (),
                }
            }
            freed.await;
        }
    }

    /// Has the edge bind an entrance that is reserved.
    async fn bind(&self, mut reserved: Opened) -> io::Result<Bound> {
        let gone = || io::Error::other("the relay is stopping");
        let (bound, binding) = oneshot::channel();
        let (commit, opened) = oneshot::channel();
        let opening = Opening { entrance: reserved.entrance.clone(), bound, opened };
        self.0.openings.send(opening).await.map_err(|_| gone())?;
        let entrance = binding.await.map_err(|_| gone())??;
        if !reserved.entrance.is_chosen() {
            self.0.table.lock().entrances.insert(entrance.clone(), Slot::Reserved);
            reserved.entrance = entrance;
        }
        Ok(Bound { opened: reserved, commit: Some(commit) })
    }
}

impl Reservation {
    pub(super) fn id(&self) -> &TunnelId {
        &self.name.id
    }

    /// The hosts that the tunnel is going to have.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &WebHost> {
        self.entrances.iter().filter_map(|bound| bound.entrance().host())
    }

    /// How many ports the tunnel is going to have.
    pub(super) fn ports(&self) -> usize {
        self.entrances.len()
    }

    /// The name and the entrances of a tunnel that is there from now on.
    pub(super) fn into_parts(mut self) -> (TunnelId, Vec<Bound>) {
        (self.name.keep(), self.entrances)
    }
}

impl ReservedName {
    fn keep(&mut self) -> TunnelId {
        self.is_reserved = false;
        self.id.clone()
    }
}

impl Drop for ReservedName {
    fn drop(&mut self) {
        if self.is_reserved {
            self.registry.0.table.lock().tunnels.remove(&self.id);
            self.registry.0.freed.notify_waiters();
        }
    }
}

impl Bound {
    pub(super) fn entrance(&self) -> &Entrance {
        &self.opened.entrance
    }

    /// Lets visitors in. Not under the lock: an edge that has stopped gives the entrance back.
    pub(super) fn commit(mut self) {
        match self.commit {
            Some(commit) => drop(commit.send(self.opened)),
            None => self.opened.is_kept = true,
        }
    }
}

/// How easily a wish is met: those that are harder to meet come first.
fn ease(wanted: &EntranceRequest) -> u8 {
    match wanted {
        EntranceRequest::Tcp { port: Some(_), .. } => 0,
        EntranceRequest::Tcp { prefer: Some(_), .. } => 1,
        EntranceRequest::Tcp { .. } => 2,
        EntranceRequest::Http { .. } | EntranceRequest::Tls { .. } => 3,
    }
}

impl Registry {
    /// Whether a tunnel has the entrances that a client insists on.
    fn check_entrances(
        &self,
        tunnel: &Tunnel,
        request: &TunnelRequest,
        rights: &Rights,
    ) -> Result<(), Refusal> {
        for entrance in tunnel.entrances() {
            match entrance {
                Entrance::Port(port) => rights.check_port(*port)?,
                Entrance::Web(WebAddress { host, .. }) | Entrance::ServerName(host) => {
                    rights.check_host(&self.front().shown(host))?;
                }
            }
        }
        let has = tunnel.entrances();
        for wanted in &request.entrances {
            let Some(missing) = entrance(wanted) else { continue };
            if !has.contains(&missing) {
                let what = match missing {
                    Entrance::Port(port) => (port.to_string(), "the port"),
                    other => (other.to_string(), "that"),
                };
                return Err(has_others(tunnel, &what.0, what.1));
            }
        }
        if has.len() != request.entrances.len() {
            return Err(has_others(
                tunnel,
                &format!("{} entrances", request.entrances.len()),
                "some",
            ));
        }
        Ok(())
    }
}

/// Adds what one more host of a tunnel waits for. Entrances may have a host in common.
fn add(all: &mut Refusal, refusal: Refusal) {
    if !all.message.contains(&refusal.message) {
        all.message += "; ";
        all.message += &refusal.message;
    }
    for record in refusal.records {
        if !all.records.contains(&record) {
            all.records.push(record);
        }
    }
}

/// The entrance that somebody insists on. `None`: whichever port can be had.
fn entrance(wanted: &EntranceRequest) -> Option<Entrance> {
    match wanted {
        EntranceRequest::Tcp { port, .. } => port.map(Entrance::Port),
        EntranceRequest::Http { at, path } => Some(web(at, path)),
        EntranceRequest::Tls { at } => Some(Entrance::ServerName(at.clone())),
    }
}

fn web(host: &WebHost, path: &PathPrefix) -> Entrance {
    Entrance::Web(WebAddress { host: host.clone(), path: path.clone() })
}

/// `what` is what to leave out.
fn has_others(tunnel: &Tunnel, wanted: &str, what: &str) -> Refusal {
    let has: Vec<_> = tunnel.entrances().iter().map(Entrance::to_string).collect();
    let (name, has) = (tunnel.name(), has.join(" and "));
    let message = format!(
        "the tunnel `{name}` has {has}, not {wanted}: leave {what} out or use another name"
    );
    Refusal::new(RefusalCode::PortMismatch, message)
}

fn cannot_open(err: &dyn fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::NoPortFree, format!("the relay cannot open one more port: {err}"))
}
