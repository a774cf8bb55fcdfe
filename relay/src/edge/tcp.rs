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
use tokio::sync::oneshot;
use tracing::info;

use super::EdgeShared;
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

/// Serves the visitors of an entrance, once it is opened, until the relay stops or its tunnel has
/// gone.
pub(super) async fn listen(
    shared: Arc<EdgeShared>,
    opened: oneshot::Receiver<Opened>,
    listener: TcpListener,
    stop: Stop,
) {
    let Ok(opened) = opened.await else { return };
    let entrance = opened.entrance();
    let Some(tunnel) = shared.registry.find(entrance) else { return };
    if ENTRANCES.allows() {
        info!(tunnel = %tunnel.name(), "{entrance} is open for visitors");
    }
    // `opened` goes with the closure, which goes with the listener: from then on the port is free
    // for others, although visits may still go on.
    let closed = tunnel.closed().clone();
    let handle = {
        let tunnel = Arc::clone(&tunnel);
        move |socket, visitor| visit(&shared, &tunnel, &opened, socket, visitor)
    };
    serve(listener, closed, stop.at_once, handle).await;
    if ENTRANCES.allows() {
        info!(tunnel = %tunnel.name(), "{entrance} is closed");
    }
}

/// Takes a visitor on and leads it to the local service, or turns it away.
fn visit(
    shared: &Arc<EdgeShared>,
    tunnel: &Arc<Tunnel>,
    opened: &Opened,
    socket: TcpStream,
    visitor: SocketAddr,
) -> impl Future<Output = ()> + Send + use<> {
    let socket = ResetUnlessEnded::new(socket);
    let config = shared.config.now();
    let mut visit =
        Visit::begin(Arc::clone(tunnel), opened.entrance(), shared.visits.next(), visitor);
    let room = tunnel.visitor(config.max_visitors).zip(shared.limits.visitor());
    let tunnel = Arc::clone(tunnel);
    // Thousands of visits wait in a bridge: what comes before and after it is boxed, and nothing
    // that is there while it runs has two places.
    async move {
        if room.is_none() {
            visit.no_room();
            return;
        }
        let err = 'nowhere: {
            let placed = Box::pin(place(&tunnel, visit.open(), config.hold_visitors));
            let (mut bridge, permit) = match placed.await {
                Ok(OpenStream { stream, permit }) => {
                    let (stall, half_closed) = (config.stall_timeout, config.half_closed_timeout);
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

/// Ends a visit that has nowhere to go.
async fn not_placed(mut visit: Visit, socket: ResetUnlessEnded<TcpStream>, err: OpenError) {
    visit.not_placed(err);
    drop(visit);
    if err == OpenError::Gone {
        turn_away(socket).await;
    }
}
