//! The first steps to a new tunnel: its name and its entrances are reserved, and the edge binds
//! them.

use std::fmt;
use std::io;

use shared::control::protocol::{EntranceRequest, Refusal, RefusalCode, TunnelRequest};
use tokio::sync::oneshot;

use super::{Opened, Place, Registry, Slot};
use crate::access::Rights;
use crate::entrance::Entrance;
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

/// An entrance that the edge has bound and does not serve yet.
#[derive(Debug)]
pub(super) struct Bound {
    opened: Opened,
    commit: oneshot::Sender<Opened>,
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

    async fn bind_all(
        &self,
        id: &TunnelId,
        request: &TunnelRequest,
        rights: &Rights,
    ) -> Result<Vec<Bound>, Refusal> {
        let mut entrances = Vec::new();
        for wanted in &request.entrances {
            let EntranceRequest::Tcp { port, prefer } = *wanted else {
                return Err(no_web());
            };
            let wish = Wish { exactly: port, before: prefer };
            entrances.push(self.bind_port(id, wish, rights).await?);
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
                    Some(Place::Open(tunnel)) => match check_entrances(tunnel, request, rights) {
                        // Nobody insists on the old ones.
                        Err(_) if !tunnel.is_claimed() && !tunnel.name().is_default() => {
                            let tunnel = tunnel.clone();
                            table.close(&tunnel);
                            continue;
                        }
                        checked => return checked.map(|()| None),
                    },
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
            let Some(reserved) = self.reserve_entrance(Entrance::Port(port)).await? else {
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

    /// Reserves an entrance. `None`: it leads somewhere, or is about to.
    async fn reserve_entrance(&self, entrance: Entrance) -> Result<Option<Opened>, Refusal> {
        loop {
            let freed = self.0.freed.notified();
            {
                let mut table = self.0.table.lock();
                match table.entrances.get(&entrance) {
                    None => {
                        let Some(descriptor) = self.0.limits.listener() else {
                            return Err(cannot_open(&"its limit of open files is reached"));
                        };
                        if entrance.is_chosen() {
                            table.entrances.insert(entrance, Slot::Reserved);
                        }
                        return Ok(Some(Opened {
                            registry: self.clone(),
                            entrance,
                            _descriptor: Some(descriptor),
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
        let opening = Opening { entrance: reserved.entrance, bound, opened };
        self.0.openings.send(opening).await.map_err(|_| gone())?;
        let entrance = binding.await.map_err(|_| gone())??;
        if !reserved.entrance.is_chosen() {
            self.0.table.lock().entrances.insert(entrance, Slot::Reserved);
            reserved.entrance = entrance;
        }
        Ok(Bound { opened: reserved, commit })
    }
}

impl Reservation {
    pub(super) fn id(&self) -> &TunnelId {
        &self.name.id
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
    pub(super) fn entrance(&self) -> Entrance {
        self.opened.entrance
    }

    /// Lets visitors in. Not under the lock: an edge that has stopped gives the entrance back.
    pub(super) fn commit(self) {
        drop(self.commit.send(self.opened));
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

/// Whether a tunnel has the entrances that a client insists on.
fn check_entrances(
    tunnel: &Tunnel,
    request: &TunnelRequest,
    rights: &Rights,
) -> Result<(), Refusal> {
    for entrance in tunnel.entrances() {
        let Entrance::Port(port) = *entrance;
        rights.check_port(port)?;
    }
    for wanted in &request.entrances {
        let EntranceRequest::Tcp { port, .. } = *wanted else {
            return Err(no_web());
        };
        if let Some(port) = port
            && !tunnel.entrances().contains(&Entrance::Port(port))
        {
            let has: Vec<_> = tunnel.entrances().iter().map(Entrance::to_string).collect();
            let message = format!(
                "the tunnel `{}` has {}, not {port}: leave the port out or use another name",
                tunnel.name(),
                has.join(" and "),
            );
            return Err(Refusal::new(RefusalCode::PortMismatch, message));
        }
    }
    Ok(())
}

fn no_web() -> Refusal {
    Refusal::new(RefusalCode::BadRequest, "the relay serves no hosts, only ports")
}

fn cannot_open(err: &dyn fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::NoPortFree, format!("the relay cannot open one more port: {err}"))
}
