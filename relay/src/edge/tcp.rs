//! A public TCP port: one visit for each connection.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::kit::logging::Rate;
use shared::kit::serve::serve;
use shared::kit::stop::Stop;
use shared::visit::bridge::Bridge;
use shared::visit::open::Open;
use shared::visit::patience::Patience;
use shared::visit::socket::ResetUnlessEnded;
use shared::visit::stream::DataStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::either::Either;
use tracing::info;

use super::EdgeShared;
use super::admit::{Gate, NotAdmitted, Permit, allowance};
use super::proxied::{BadHeader, introduction};
use super::turned_away::turn_away;
use crate::limits::{Account, Source};
use crate::placement::{Attempt, Miss, OPEN_TIMEOUT, Order, open_on_client, place};
use crate::registry::Opened;
use crate::target::{OpenError, OpenStream};
use crate::tunnel::{Candidate, Tunnel};
use crate::visit::{Ending, Visit};

/// Entrances come and go with tunnels, of which an admitted client can have many.
static ENTRANCES: Rate = Rate::generous(|more| {
    info!(left_out = more.count, "entrances opened and closed: {more}");
});

/// An entrance that visitors can reach.
struct Listening {
    shared: Arc<EdgeShared>,
    tunnel: Arc<Tunnel>,
    opened: Opened,
}

/// Serves the visitors of an entrance until the relay stops or its tunnel has gone. `None` if that
/// is so already.
///
/// No `async fn`: thousands of these wait at a time, and in the state of an `async fn` every
/// argument that moves has two places.
pub(super) fn listen(
    shared: Arc<EdgeShared>,
    opened: Opened,
    listener: TcpListener,
    stop: Stop,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    let entrance = opened.entrance().clone();
    let tunnel = shared.registry.find(&entrance)?;
    if ENTRANCES.allows() {
        info!(tunnel = %tunnel.name(), "{entrance} is open for visitors");
    }
    let closed = tunnel.closed().clone();
    let listening = Listening { shared, tunnel, opened };
    // It goes with the listener: from then on the port is free for others, although visits may
    // still go on.
    let handle = move |socket, visitor| listening.visit(socket, visitor);
    Some(serve(listener, closed, stop.at_once, handle))
}

impl Listening {
    /// Takes a visitor on and leads it to the local service, or turns it away.
    fn visit(
        &self,
        socket: TcpStream,
        visitor: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Self { shared, tunnel, opened } = self;
        let socket = ResetUnlessEnded::new(socket);
        let config = shared.config.now();
        let from_balancer = config.trust_proxy.contain(visitor.ip());
        // A balancer is not to blame for those who visit it.
        if !from_balancer && shared.limits.is_banned(visitor) {
            shared.metrics.banned_connection();
            return Either::Left(ready(()));
        }
        let mut visit = Visit::begin(
            Arc::clone(tunnel),
            opened.entrance().clone(),
            shared.registry.visits().next(),
            visitor,
            shared.history.clone(),
        );
        let gate = Gate { shared, config: &config, tunnel };
        let admitted = match from_balancer {
            // Who visits it is not known yet.
            true => gate.room().map(|permit| (permit, None)),
            false => gate.permits(visitor).and_then(|()| {
                visit.announce();
                let mut permit = gate.room()?;
                let accounts = gate.admit(&mut permit, visitor)?;
                Ok((permit, Some(accounts)))
            }),
        };
        let (shared, tunnel) = (Arc::clone(shared), Arc::clone(tunnel));
        // Boxed: thousands of visits wait in a bridge, and what it took to get there is over.
        let placed = Box::pin(async move {
            let (mut visit, mut socket) = (visit, socket);
            let (mut permit, accounts) = match admitted {
                Ok(admitted) => admitted,
                Err(err) => {
                    nowhere(visit, socket, err.into()).await;
                    return None;
                }
            };
            let gate = Gate { shared: &shared, config: &config, tunnel: &tunnel };
            let placed = async {
                let (open, mut accounts) = match accounts {
                    Some(accounts) => {
                        let mut open = visit.open();
                        if tunnel.tells_destination() {
                            open.destination = own_address(&socket);
                        }
                        (open, accounts)
                    }
                    None => {
                        let open = introduce(&mut visit, &mut socket, &gate).await?;
                        (open, gate.admit(&mut permit, visit.visitor())?)
                    }
                };
                let visitor = visit.visitor();
                let attempt = Streaming {
                    gate: &gate,
                    open: &open,
                    visitor,
                    permit: &mut permit,
                    accounts: &mut accounts,
                };
                let hold = config.hold_visitors;
                let placed = place(&tunnel, Order::Newest, hold, attempt).await?;
                visit.limit(allowance(&shared, &tunnel, &accounts));
                let (placed, session) = placed;
                let ending = visit.placed(shared.registry.visits(), session);
                Ok((placed, ending))
            };
            match placed.await {
                Ok((OpenStream { stream, permit: of_session, .. }, ending)) => {
                    let (patience, permits) = (config.patience(), (permit, of_session));
                    Some(Placed { visit, ending, socket, stream, patience, permits })
                }
                Err(err) => {
                    nowhere(visit, socket, err).await;
                    // It takes up a descriptor until then.
                    drop(permit);
                    None
                }
            }
        });
        Either::Right(async move {
            let Some(Placed { mut visit, ending, socket, stream, patience, permits }) =
                placed.await
            else {
                return;
            };
            let bridge = Bridge::new(socket, stream, patience, &mut visit);
            let ended = ending.unless_cut(bridge).await;
            drop(permits);
            visit.carried(ended.as_ref());
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if ENTRANCES.allows() {
            info!(tunnel = %self.tunnel.name(), "{} is closed", self.opened.entrance());
        }
    }
}

/// A visit that has reached a client.
struct Placed {
    visit: Visit,
    ending: Ending,
    socket: ResetUnlessEnded<TcpStream>,
    stream: DataStream,
    patience: Patience,
    /// Its own, and that of its stream.
    permits: (Permit, OwnedSemaphorePermit),
}

/// A visit that needs a stream.
pub(super) struct Streaming<'a> {
    pub(super) gate: &'a Gate<'a>,
    pub(super) open: &'a Open,
    pub(super) visitor: SocketAddr,
    pub(super) permit: &'a mut Permit,
    pub(super) accounts: &'a mut Arc<[Arc<Account>]>,
}

impl Attempt for Streaming<'_> {
    /// And the number of the session that it is on.
    type Served = (OpenStream, u64);
    type Error = Nowhere;

    const PATIENCE: Duration = OPEN_TIMEOUT;

    fn source(&self) -> Option<Source> {
        self.gate.config.source(self.visitor.ip())
    }

    async fn with(&mut self, client: &Candidate) -> Result<Self::Served, Miss<Nowhere>> {
        let Self { gate, open, visitor, permit, accounts } = self;
        let admitted = gate.admit_to(client, permit, *visitor, accounts);
        admitted.map_err(|err| Miss::Nowhere(err.into()))?;
        match open_on_client(&client.sessions, open, None).await {
            Ok((opened, target)) => Ok((opened, target.session())),
            Err(OpenError::Gone) => Err(Miss::Gone),
            Err(err) => Err(Miss::Nowhere(err.into())),
        }
    }
}

/// Why a visit has nowhere to go.
pub(super) enum Nowhere {
    /// It is not known who visits.
    BadHeader(BadHeader),
    NotAdmitted(NotAdmitted),
    NotPlaced(OpenError),
}

impl From<NotAdmitted> for Nowhere {
    fn from(why: NotAdmitted) -> Self {
        Self::NotAdmitted(why)
    }
}

impl From<OpenError> for Nowhere {
    fn from(why: OpenError) -> Self {
        Self::NotPlaced(why)
    }
}

/// Learns from the balancer who visits, and what the client is to be told of it.
async fn introduce(
    visit: &mut Visit,
    socket: &mut TcpStream,
    gate: &Gate<'_>,
) -> Result<Open, Nowhere> {
    let said = introduction(socket).await.map_err(Nowhere::BadHeader)?;
    if let Some((visitor, _)) = said.ends {
        visit.comes_from(visitor);
    }
    let visitor = visit.visitor();
    if gate.shared.limits.is_banned(visitor) {
        gate.shared.metrics.banned_connection();
        return Err(NotAdmitted::Denied.into());
    }
    gate.permits(visitor)?;
    visit.announce();
    let mut open = visit.open();
    if gate.tunnel.tells_destination() {
        let there = said.ends.map(|(_, destination)| destination);
        open.destination = there.or_else(|| own_address(socket));
    }
    open.server_name = said.server_name;
    Ok(open)
}

/// The address that the visitor has connected to.
pub(super) fn own_address(socket: &TcpStream) -> Option<SocketAddr> {
    let address = socket.local_addr().ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Ends a visit that has nowhere to go.
async fn nowhere(mut visit: Visit, socket: ResetUnlessEnded<TcpStream>, err: Nowhere) {
    err.note(&mut visit);
    drop(visit);
    if let Nowhere::NotPlaced(OpenError::Gone) = err {
        turn_away(socket).await;
    }
}

impl Nowhere {
    /// Takes it down in the account of the visit.
    pub(super) fn note(&self, visit: &mut Visit) {
        match self {
            Self::NotAdmitted(NotAdmitted::Denied) => visit.denied(),
            Self::NotAdmitted(NotAdmitted::OverLimit(limit)) => visit.over_limit(*limit),
            Self::BadHeader(err) => visit.bad_header(err.to_string()),
            Self::NotPlaced(err) => visit.not_placed(*err),
        }
    }
}
