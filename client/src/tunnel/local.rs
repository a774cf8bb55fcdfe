//! What a tunnel leads to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use shared::kit::net::HostPort;

use super::BadTunnel;

/// What a tunnel leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalService {
    /// A TCP port. Without a host it is on loopback.
    Tcp(HostPort),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for LocalService {
    type Err = BadTunnel;

    fn from_str(text: &str) -> Result<Self, BadTunnel> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(BadTunnel::NoPath)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let address = match text.split_once("://") {
            None => text,
            Some(("tcp", address)) => address,
            Some((scheme, _)) => return Err(BadTunnel::Scheme(scheme.to_owned())),
        };
        let address: HostPort =
            address.parse().map_err(|_| BadTunnel::Target(address.to_owned()))?;
        if address.port == 0 {
            return Err(BadTunnel::Target(text.to_owned()));
        }
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => match &address.host {
                Some(_) => address.fmt(f),
                None => write!(f, "127.0.0.1:{}", address.port),
            },
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
