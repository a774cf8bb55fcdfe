//! The public TCP port of one tunnel.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::kit::serve::serve;
use shared::kit::stop::Stop;
use shared::visit::socket::ResetUnlessEnded;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::{Instrument, info};

use super::EdgeShared;
use super::visit::Visit;
use crate::tunnel::Tunnel;

/// A tunnel that nobody came back to waits so long for a visitor who is being turned away just now.
const TURNING_AWAY: Duration = Duration::from_millis(100);

/// Serves the visitors of `tunnel` until the relay stops or the tunnel has been abandoned.
pub(super) async fn listen(
    shared: Arc<EdgeShared>,
    tunnel: Arc<Tunnel>,
    listener: TcpListener,
    stop: Stop,
) {
    let span = tunnel.span().clone();
    async {
        // A child, so that a tunnel can end without the relay.
        let stop = Stop {
            gracefully: stop.gracefully.child_token(),
            at_once: stop.at_once.child_token(),
        };
        info!(port = tunnel.port(), "open for visitors");
        let serving = serve(listener, stop.gracefully.clone(), stop.at_once.clone(), {
            let (shared, tunnel) = (Arc::clone(&shared), Arc::clone(&tunnel));
            move |socket, visitor| admit(&shared, &tunnel, socket, visitor)
        });
        tokio::select! {
            () = serving => (),
            () = retire(&shared, &tunnel) => info!(port = tunnel.port(), "closed: no client for too long"),
        }
    }
    .instrument(span)
    .await;
}

/// Takes a visitor on, or turns it away because there is no room.
fn admit(
    shared: &Arc<EdgeShared>,
    tunnel: &Arc<Tunnel>,
    socket: TcpStream,
    visitor: SocketAddr,
) -> impl Future<Output = ()> + Send + use<> {
    let socket = ResetUnlessEnded::new(socket);
    let visit = Visit::begin(Arc::clone(tunnel), shared.next_visit(), visitor);
    let permits = tunnel.visitor().zip(shared.limits.visitor());
    let stall_timeout = shared.stall_timeout;
    async move {
        match permits {
            Some(permits) => {
                visit.run(socket, stall_timeout).await;
                drop(permits);
            }
            None => visit.no_room(),
        }
    }
}

/// Resolves when the tunnel has been taken out of the registry because nobody came back to it.
async fn retire(shared: &EdgeShared, tunnel: &Tunnel) {
    if tunnel.name().is_default() {
        return std::future::pending().await;
    }
    loop {
        tunnel.abandoned(shared.hold).await;
        while !tunnel.is_claimed() {
            if shared.registry.retire(tunnel) {
                return;
            }
            sleep(TURNING_AWAY).await;
        }
    }
}
