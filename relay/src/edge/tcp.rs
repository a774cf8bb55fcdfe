//! A public TCP port: one visit for each connection.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use shared::kit::serve::serve;
use shared::kit::stop::Stop;
use shared::visit::bridge::Bridge;
use shared::visit::patience::Patience;
use shared::visit::socket::ResetUnlessEnded;
use tokio::net::{TcpListener, TcpStream};
use tracing::info;

use super::EdgeShared;
use super::turned_away::turn_away;
use crate::config::Config;
use crate::placement::place;
use crate::registry::Opened;
use crate::target::{OpenError, OpenStream};
use crate::tunnel::Tunnel;
use crate::visit::Visit;

/// Serves the visitors of an entrance until the relay stops or its tunnel has gone.
pub(super) async fn listen(
    shared: Arc<EdgeShared>,
    opened: Opened,
    listener: TcpListener,
    stop: Stop,
) {
    let entrance = opened.entrance();
    let Some(tunnel) = shared.registry.find(entrance) else { return };
    info!(tunnel = %tunnel.name(), "{entrance} is open for visitors");
    // `opened` goes with the closure, which goes with the listener: from then on the port is free
    // for others, although visits may still go on.
    let closed = tunnel.closed().clone();
    let handle = {
        let tunnel = Arc::clone(&tunnel);
        move |socket, visitor| visit(&shared, &tunnel, &opened, socket, visitor)
    };
    serve(listener, closed, stop.at_once, handle).await;
    info!(tunnel = %tunnel.name(), "{entrance} is closed");
}

/// Takes a visitor on, or turns it away because there is no room.
fn visit(
    shared: &Arc<EdgeShared>,
    tunnel: &Arc<Tunnel>,
    opened: &Opened,
    socket: TcpStream,
    visitor: SocketAddr,
) -> impl Future<Output = ()> + Send + use<> {
    let socket = ResetUnlessEnded::new(socket);
    let config = shared.config.now();
    let visit = Visit::begin(Arc::clone(tunnel), opened.entrance(), shared.visits.next(), visitor);
    let room = tunnel.visitor(config.max_visitors).zip(shared.limits.visitor());
    let tunnel = Arc::clone(tunnel);
    async move {
        let Some(room) = room else {
            visit.no_room();
            return;
        };
        carry(visit, &tunnel, socket, &config).await;
        drop(room);
    }
}

/// Leads the visitor to the local service, or turns it away.
async fn carry(
    mut visit: Visit,
    tunnel: &Tunnel,
    socket: ResetUnlessEnded<TcpStream>,
    config: &Config,
) {
    // Boxed: thousands of visits wait in a bridge, and what it took to get there is over.
    match Box::pin(place(tunnel, visit.open(), config.hold_visitors)).await {
        Ok(OpenStream { stream, permit }) => {
            let patience =
                Patience { stall: config.stall_timeout, half_closed: config.half_closed_timeout };
            let ended = Bridge::new(socket, stream, patience, &mut visit).await;
            drop(permit);
            visit.carried(&ended);
        }
        Err(err) => {
            visit.not_placed(err);
            drop(visit);
            if err == OpenError::Gone {
                Box::pin(turn_away(socket)).await;
            }
        }
    }
}
