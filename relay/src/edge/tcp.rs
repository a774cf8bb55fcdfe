//! A public TCP port: one visit for each connection.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use shared::kit::logging::Rate;
use shared::kit::serve::serve;
use shared::kit::stop::Stop;
use shared::visit::bridge::Bridge;
use shared::visit::open::Open;
use shared::visit::patience::Patience;
use shared::visit::socket::ResetUnlessEnded;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::either::Either;
use tracing::info;

use super::EdgeShared;
use super::admit::{Permit, allowance};
use super::proxied::{BadHeader, introduction};
use super::turned_away::turn_away;
use crate::config::Config;
use crate::metrics::Limit;
use crate::placement::place;
use crate::registry::Opened;
use crate::target::{OpenError, OpenStream};
use crate::tunnel::Tunnel;
use crate::visit::Visit;

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
    let entrance = opened.entrance();
    let tunnel = shared.registry.find(entrance)?;
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
        let mut visit =
            Visit::begin(Arc::clone(tunnel), opened.entrance(), shared.visits.next(), visitor);
        // Who visits a balancer is not known yet.
        let admitted = match from_balancer {
            true => room(shared, tunnel, &config),
            false => permitted(shared, tunnel, &config, visitor).and_then(|()| {
                visit.announce();
                admit(room(shared, tunnel, &config)?, tunnel, visitor, shared, &config)
            }),
        };
        if admitted.is_ok() {
            visit.limit(allowance(&shared.limits, tunnel));
        }
        let (shared, tunnel) = (Arc::clone(shared), Arc::clone(tunnel));
        // Thousands of visits wait in a bridge: what comes before and after it is boxed, and
        // nothing that is there while it runs has two places.
        Either::Right(async move {
            let mut socket = socket;
            let err = 'nowhere: {
                let permit = match admitted {
                    Ok(permit) => permit,
                    Err(err) => break 'nowhere err,
                };
                let placed = Box::pin(async {
                    let mut permit = permit;
                    let open = if from_balancer {
                        let visitor = introduce(&mut visit, &mut socket, &shared, &config);
                        let open = visitor.await?;
                        permit = admit(permit, &tunnel, visit.visitor(), &shared, &config)?;
                        open
                    } else {
                        let mut open = visit.open();
                        if tunnel.tells_destination() {
                            open.destination = own_address(&socket);
                        }
                        open
                    };
                    let placed = place(&tunnel, open, config.hold_visitors).await;
                    Ok((placed.map_err(Nowhere::NotPlaced)?, permit))
                });
                let (mut bridge, permits) = match placed.await {
                    Ok((OpenStream { stream, permit }, present)) => {
                        let (stall, half_closed) =
                            (config.stall_timeout, config.half_closed_timeout);
                        let patience = Patience { stall, half_closed };
                        (Bridge::new(socket, stream, patience, &mut visit), (permit, present))
                    }
                    Err(err) => break 'nowhere err,
                };
                let ended = (&mut bridge).await;
                drop((bridge, permits));
                visit.carried(&ended);
                return;
            };
            Box::pin(nowhere(visit, socket, err)).await;
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

/// Why a visit has nowhere to go.
enum Nowhere {
    /// It is not known who visits.
    BadHeader(BadHeader),
    Denied,
    OverLimit(Limit),
    NotPlaced(OpenError),
}

/// Room for one more visitor, wherever it comes from.
fn room(shared: &EdgeShared, tunnel: &Arc<Tunnel>, config: &Config) -> Result<Permit, Nowhere> {
    Permit::new(&shared.limits, tunnel, config.max_visitors).map_err(|limit| {
        shared.metrics.limit(limit);
        Nowhere::OverLimit(limit)
    })
}

/// Lets in somebody of whom it is known where it comes from.
fn admit(
    permit: Permit,
    tunnel: &Tunnel,
    visitor: SocketAddr,
    shared: &EdgeShared,
    config: &Config,
) -> Result<Permit, Nowhere> {
    permit.for_visitor(&shared.limits, tunnel, visitor).map_err(|limit| {
        shared.metrics.limit(limit);
        if limit.is_of_a_source() {
            strike(shared, config, visitor);
        }
        Nowhere::OverLimit(limit)
    })
}

/// Whether relay and tunnel let a visitor in.
fn permitted(
    shared: &EdgeShared,
    tunnel: &Tunnel,
    config: &Config,
    visitor: SocketAddr,
) -> Result<(), Nowhere> {
    let by_relay = config.rules.permit(visitor.ip());
    if !by_relay {
        strike(shared, config, visitor);
    }
    if by_relay && tunnel.permits(visitor.ip()) { Ok(()) } else { Err(Nowhere::Denied) }
}

/// Somebody has done what the relay itself does not want. What a client does not want is no matter
/// of the relay, or each could have whom it likes banned from all tunnels.
fn strike(shared: &EdgeShared, config: &Config, visitor: SocketAddr) {
    if !config.trust_proxy.contain(visitor.ip()) {
        shared.limits.refused(visitor, &config.bans);
    }
}

/// Learns from the balancer who visits, and what the client is to be told of it.
async fn introduce(
    visit: &mut Visit,
    socket: &mut TcpStream,
    shared: &EdgeShared,
    config: &Config,
) -> Result<Open, Nowhere> {
    let said = introduction(socket).await.map_err(Nowhere::BadHeader)?;
    if let Some((visitor, _)) = said.ends {
        visit.comes_from(visitor);
    }
    let (visitor, tunnel) = (visit.visitor(), visit.tunnel());
    if shared.limits.is_banned(visitor) {
        shared.metrics.banned_connection();
        return Err(Nowhere::Denied);
    }
    permitted(shared, tunnel, config, visitor)?;
    let tells_destination = tunnel.tells_destination();
    visit.announce();
    let mut open = visit.open();
    if tells_destination {
        let there = said.ends.map(|(_, destination)| destination);
        open.destination = there.or_else(|| own_address(socket));
    }
    open.server_name = said.server_name;
    Ok(open)
}

/// The address that the visitor has connected to.
fn own_address(socket: &TcpStream) -> Option<SocketAddr> {
    let address = socket.local_addr().ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Ends a visit that has nowhere to go.
async fn nowhere(mut visit: Visit, socket: ResetUnlessEnded<TcpStream>, err: Nowhere) {
    match err {
        Nowhere::Denied => visit.denied(),
        Nowhere::OverLimit(limit) => visit.over_limit(limit),
        Nowhere::BadHeader(err) => visit.bad_header(err.to_string()),
        Nowhere::NotPlaced(err) => {
            visit.not_placed(err);
            drop(visit);
            if err == OpenError::Gone {
                turn_away(socket).await;
            }
        }
    }
}
