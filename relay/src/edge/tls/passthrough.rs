//! TLS connections that the relay does not open: they go to the local service as they are.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use shared::visit::bridge::Bridge;
use shared::visit::open::ServerName;
use shared::visit::socket::ResetUnlessEnded;
use tokio::net::TcpStream;

use crate::edge::EdgeShared;
use crate::edge::admit::{Gate, allowance};
use crate::edge::prefixed::Prefixed;
use crate::edge::tcp::{Nowhere, Streaming, own_address};
use crate::entrance::Entrance;
use crate::limits;
use crate::placement::{Order, place};
use crate::target::OpenStream;
use crate::tunnel::Tunnel;
use crate::visit::Visit;

/// A TLS connection that goes to a tunnel as it is.
pub(super) struct Passing {
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) entrance: Entrance,
    pub(super) name: Option<ServerName>,
    pub(super) visitor: SocketAddr,
    pub(super) place: limits::Visitor,
}

/// Leads it to the local service, of which `seen` has been read already. One that has nowhere to go is
/// reset.
pub(super) async fn pass(edge: &EdgeShared, passing: Passing, socket: TcpStream, seen: Bytes) {
    let Passing { tunnel, entrance, name, visitor, place: of_all } = passing;
    let destination = tunnel.tells_destination().then(|| own_address(&socket)).flatten();
    let socket = ResetUnlessEnded::new(Prefixed::new(seen, socket));
    let config = edge.config.now();
    let gate = Gate { shared: edge, config: &config, tunnel: &tunnel };
    let (id, history) = (edge.registry.visits().next(), edge.history.clone());
    let mut visit = Visit::begin(Arc::clone(&tunnel), entrance, id, visitor, history);
    visit.announce();
    let placed = async {
        gate.permits(visitor)?;
        let mut permit = gate.room_for(of_all)?;
        let mut accounts = gate.admit(&mut permit, visitor)?;
        let mut open = visit.open();
        open.server_name = name;
        open.destination = destination;
        let attempt = Streaming {
            gate: &gate,
            open: &open,
            visitor,
            permit: &mut permit,
            accounts: &mut accounts,
        };
        let placed = place(&tunnel, Order::Newest, config.hold_visitors, attempt).await?;
        Ok::<_, Nowhere>((placed, permit, allowance(edge, &tunnel, &accounts)))
    };
    let (placed, permit, allowance) = match placed.await {
        Ok(placed) => placed,
        Err(err) => return err.note(&mut visit),
    };
    let (OpenStream { stream, permit: of_session, .. }, session) = placed;
    visit.limit(allowance);
    let ending = visit.placed(edge.registry.visits(), session);
    let bridge = Bridge::new(socket, stream, config.patience(), &mut visit);
    let ended = ending.unless_cut(bridge).await;
    drop((permit, of_session));
    visit.carried(ended.as_ref());
}
