//! A public TCP port: one visit for each connection.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use shared::kit::logging::Rate;
use shared::kit::serve::serve;
use shared::kit::stop::Stop;
use shared::visit::bridge::Bridge;
use shared::visit::patience::Patience;
use shared::visit::socket::ResetUnlessEnded;
use tokio::net::{TcpListener, TcpStream};
use tracing::info;

use super::EdgeShared;
use super::admit::admit;
use super::turned_away::turn_away;
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
        let mut visit =
            Visit::begin(Arc::clone(tunnel), opened.entrance(), shared.visits.next(), visitor);
        let admitted = admit(&shared.limits, tunnel, visitor, config.max_visitors);
        let permit = match admitted {
            Ok((permit, allowance)) => {
                visit.limit(allowance);
                Ok(permit)
            }
            Err(limit) => {
                shared.metrics.limit(limit);
                Err(limit)
            }
        };
        let tunnel = Arc::clone(tunnel);
        // Thousands of visits wait in a bridge: what comes before and after it is boxed, and
        // nothing that is there while it runs has two places.
        async move {
            let _permit = match permit {
                Ok(permit) => permit,
                Err(limit) => {
                    visit.over_limit(limit);
                    return;
                }
            };
            let err = 'nowhere: {
                let placed = Box::pin(place(&tunnel, visit.open(), config.hold_visitors));
                let (mut bridge, permit) = match placed.await {
                    Ok(OpenStream { stream, permit }) => {
                        let (stall, half_closed) =
                            (config.stall_timeout, config.half_closed_timeout);
                        let patience = Patience { stall, half_closed };
                        (Bridge::new(socket, stream, patience, &mut visit), permit)
                    }
                    Err(err) => break 'nowhere err,
                };
                let ended = (&mut bridge).await;
                drop((bridge, permit));
                visit.carried(&ended);
                return;
            };
            Box::pin(not_placed(visit, socket, err)).await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if ENTRANCES.allows() {
            info!(tunnel = %self.tunnel.name(), "{} is closed", self.opened.entrance());
        }
    }
}

/// Ends a visit that has nowhere to go.
async fn not_placed(mut visit: Visit, socket: ResetUnlessEnded<TcpStream>, err: OpenError) {
    visit.not_placed(err);
    drop(visit);
    if err == OpenError::Gone {
        turn_away(socket).await;
    }
}
