//! The options of sockets. What only some systems have is here and nowhere else: without it a
//! tunnel works, and what the option is for works less well.

use std::io;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::TcpStream;

/// Bytes that the kernel takes from us beyond what the network can carry. What is in the kernel
/// cannot be overtaken any more: this bounds how long a small request waits behind bulk, and what
/// a stalled reader holds.
pub(crate) const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

/// A silent connection is probed after this long, so that a peer that vanished is noticed.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);

/// Time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// On a control connection, data that is not acknowledged for this long ends it (RFC 5482).
const CONTROL_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Who connects to a listener, which decides the options of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Clients: connections that carry sessions.
    Clients,
    /// Visitors, or whoever asks the admin port.
    Visitors,
}

/// Sets the options of a connection, or of the listener that its connections have them from.
pub(super) fn set_options(socket: &Socket, peers: Peers) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    set_unsent_limit(socket, NOT_SENT_LOW_WATER)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    if peers == Peers::Clients {
        set_user_timeout(socket, CONTROL_USER_TIMEOUT)?;
    }
    Ok(())
}

/// Lets at most about so many bytes of ours wait in the kernel for the network, beyond what it can
/// carry.
pub(crate) fn limit_unsent(stream: &TcpStream, bytes: u32) {
    // It cannot fail on a socket that is open, and does not matter on one that is not.
    drop(set_unsent_limit(&SockRef::from(stream), bytes));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_unsent_limit(socket: &Socket, bytes: u32) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(bytes)
}

/// macOS has the option too, but nothing safe to set it with; Windows has none. There more bulk
/// lies ahead of a small request.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_unsent_limit(_: &Socket, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(timeout))
}

/// Elsewhere heartbeats alone notice that a cable was cut.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_user_timeout(_: &Socket, _: Duration) -> io::Result<()> {
    Ok(())
}

/// After a restart, connections of the last run must not keep the port.
#[cfg(not(windows))]
pub(super) fn share_with_the_past(listener: &Socket) -> io::Result<()> {
    listener.set_reuse_address(true)
}

/// They do not on Windows, where the option would let another program take the port over.
#[cfg(windows)]
pub(super) fn share_with_the_past(_: &Socket) -> io::Result<()> {
    Ok(())
}
