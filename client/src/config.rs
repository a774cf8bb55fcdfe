//! A client's configuration. Whatever is in it is valid.

use std::time::Duration;

#[cfg(doc)]
use shared::control::protocol::MAX_CONNECTIONS;
use shared::kit::net::HostPort;
use shared::visit::patience::HALF_CLOSED_TIMEOUT;

use crate::tunnel::TunnelConfig;

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The relay's control port.
    pub server: HostPort,
    /// The tunnels, at least one, each with a name of its own.
    pub tunnels: Vec<TunnelConfig>,
    /// How many connections to hold to the relay: 1 to [`MAX_CONNECTIONS`].
    pub connections: u16,
    /// When to connect again.
    pub reconnect: Reconnect,
    /// How long open visits may go on after a request to stop.
    pub grace: Duration,
    /// How long connecting to the relay, or to a local service, may take.
    pub connect_timeout: Duration,
    /// How long the data of a visit may wait without any of it moving.
    pub stall_timeout: Duration,
    /// How long a visit of which one direction has ended waits for the other end while nothing
    /// moves that way.
    pub half_closed_timeout: Duration,
}

impl Config {
    /// A client of a relay on loopback.
    pub fn loopback(server: std::net::SocketAddr, tunnels: Vec<TunnelConfig>) -> Self {
        Self {
            server: HostPort { host: Some(server.ip().to_string()), port: server.port() },
            tunnels,
            connections: 1,
            reconnect: Reconnect::OnFailure,
            grace: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(300),
            half_closed_timeout: HALF_CLOSED_TIMEOUT,
        }
    }
}

/// When a client connects again, like a container's restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Any end of the connection ends the client.
    Never,
    /// A session that is lost is restored. A first connection that fails, and a session that the
    /// relay ends on purpose, end the client.
    OnFailure,
    /// Whatever happens, unless the relay says that coming back cannot help.
    Always,
}
