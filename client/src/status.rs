//! What a client is doing, and what happens to it, for whoever watches.

use std::time::Duration;

use shared::control::protocol::{PublicAddress, Refusal, TunnelName};

/// What a client is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// No session: connecting, or waiting to.
    Connecting,
    /// In session; these are its tunnels.
    Live(Vec<LiveTunnel>),
    /// Done.
    Ended,
}

/// A tunnel that is open on the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveTunnel {
    /// Its name.
    pub name: TunnelName,
    /// Where visitors reach it.
    pub public: Vec<PublicAddress>,
    /// The local service it leads to, such as `127.0.0.1:3000`.
    pub local: String,
}

/// What happens to a client, for whoever watches its stdout.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Visitors of the tunnel come to this client.
    Live(LiveTunnel),
    /// Visitors of the tunnel do not come to this client: another one serves it, or this one has
    /// withdrawn. It waits to take over.
    Standby(TunnelName),
    /// The tunnel is not configured any more, and has been closed.
    Closed(TunnelName),
    /// The relay does not open the tunnel. The text says why.
    Refused(TunnelName, String),
    /// The tunnel is opened as soon as somebody has made one of the records of this refusal.
    Waiting(TunnelName, Refusal),
    /// The session is gone. The text says why.
    Lost(String),
    /// The next attempt comes after this delay.
    Reconnecting(Duration),
    /// The client ends. The text says why.
    Ended(String),
}

impl LiveTunnel {
    /// Where visitors reach it, such as `tcp://relay.example:8080`; several addresses with blanks
    /// between.
    pub fn address(&self) -> String {
        let addresses: Vec<_> = self.public.iter().map(PublicAddress::as_str).collect();
        addresses.join(" ")
    }
}

impl Status {
    /// Whether there is a session.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// The tunnels that are open: those of the configuration in its order, then those that came
    /// later. None without a session.
    pub fn tunnels(&self) -> &[LiveTunnel] {
        match self {
            Self::Live(tunnels) => tunnels,
            Self::Connecting | Self::Ended => &[],
        }
    }

    /// The public addresses of the tunnels, in their order.
    pub fn public_addresses(&self) -> Vec<String> {
        self.tunnels().iter().map(LiveTunnel::address).collect()
    }
}
