//! The relay and the client as real processes.
//!
//! A test starts a [`Relay`] and its [`Client`]s, sends them signals, and waits for what they log,
//! print and exit with. When it fails, the whole output of every process is printed.
//!
//! The programs get no environment but what a test gives them. Their defaults for tests come from
//! environment variables, so that a test can override each by its flag.

mod binaries;
mod client;
mod end;
mod lines;
mod program;
mod relay;
mod terminal;
mod usage;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::Peer;
use crate::wait::{eventually, within};

pub use self::binaries::use_programs_in;
pub use self::client::Client;
pub(crate) use self::end::kill;
pub use self::lines::Lines;
pub use self::program::{Process, Program, Signal};
pub use self::relay::Relay;
pub use self::terminal::Terminal;

/// A loopback address that nobody else uses, not even another run of the tests at the same time.
/// Its ports are free until the test takes them, and given to nobody else when it lets them go.
pub fn own_host() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(64);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, next, high, low)
}

/// A visitor of an echo, if it is served rather than turned away.
pub async fn try_visit(public: SocketAddr) -> Option<Peer> {
    let visit = async {
        let mut socket = TcpStream::connect(public).await?;
        socket.write_all(b"hello").await?;
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"hello");
        Ok::<_, io::Error>(Peer::from(socket))
    };
    within("a visitor to be served or turned away", visit).await.ok()
}

/// A visitor of an echo that is served.
pub async fn visit(public: SocketAddr) -> Peer {
    try_visit(public).await.expect("a visitor that is served")
}

/// Waits until a visitor of an echo is served.
pub async fn served_again(public: SocketAddr) {
    eventually("service to resume", async || try_visit(public).await.is_some()).await;
}
