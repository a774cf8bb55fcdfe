//! Where connections come from, as far as it matters who is behind them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where a connection comes from: an IPv4 address, or an IPv6 network of 64 bits, which is what one
/// customer has at least (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Source(IpAddr);

impl From<SocketAddr> for Source {
    fn from(addr: SocketAddr) -> Self {
        addr.ip().into()
    }
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let network = u128::from(ip) & !u128::from(u64::MAX);
                Ipv6Addr::from(network).into()
            }
            v4 => v4,
        })
    }
}

/// As an address, or a network with its length.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

#[cfg(test)]
impl From<([u8; 4], u16)> for Source {
    fn from(addr: ([u8; 4], u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}
