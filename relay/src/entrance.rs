//! By what the public reaches a tunnel.

use std::fmt;

use shared::control::protocol::{HostName, PublicAddress};

/// One way in for visitors. No two tunnels have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entrance {
    /// A TCP port of the relay. Zero stands for one that the kernel is still to choose.
    Port(u16),
}

impl Entrance {
    /// Whether it is known already, and not for the kernel to choose.
    pub(crate) fn is_chosen(self) -> bool {
        self != Self::Port(0)
    }

    /// How visitors write it, of a relay that they know as `relay`.
    pub(crate) fn address(self, relay: &HostName) -> PublicAddress {
        match self {
            Self::Port(port) => PublicAddress::tcp(relay, port),
        }
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
        }
    }
}
