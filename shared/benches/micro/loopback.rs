//! Real connections, and the runtime that they are used on.

use shared::kit::net::{Peers, dial_relay, dial_service, listen_on};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// The runtime of a client, and of a relay with one thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Both ends of the connection under a session: the client's, the relay's.
pub(crate) async fn session() -> (TcpStream, TcpStream) {
    let (listener, port) = listen(Peers::Clients);
    let client = dial_relay("127.0.0.1", port).await.expect("a connection");
    let (relay, _) = listener.accept().await.expect("a client");
    (client, relay)
}

/// Both ends of a visitor's connection: the visitor's, the relay's.
pub(crate) async fn visit() -> (TcpStream, TcpStream) {
    let (listener, port) = listen(Peers::Visitors);
    let visitor = dial_service("127.0.0.1", port).await.expect("a connection");
    let (relay, _) = listener.accept().await.expect("a visitor");
    (visitor, relay)
}

fn listen(peers: Peers) -> (TcpListener, u16) {
    let listener = listen_on(([127, 0, 0, 1], 0).into(), peers).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}
