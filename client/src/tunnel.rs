//! A tunnel as it is written on the command line: `NAME=TARGET`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use shared::control::protocol::{BadTunnelName, TunnelName};
use shared::kit::net::HostPort;

/// One tunnel of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// Its name, unique within the client.
    pub name: TunnelName,
    /// What it leads to.
    pub local: LocalService,
    /// The public port that it must have on the relay, if any will not do.
    pub port: Option<u16>,
}

/// What a tunnel leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalService {
    /// A TCP port. Without a host it is on loopback.
    Tcp(HostPort),
    /// A Unix socket.
    Unix(PathBuf),
}

impl TunnelConfig {
    /// The tunnel `default`, which leads to `local`.
    pub fn default_tunnel(local: LocalService) -> Self {
        Self { name: TunnelName::default_tunnel(), local, port: None }
    }

    /// Whether the public reaches both alike, so that one can become the other while it is open.
    pub(crate) fn has_entrances_of(&self, other: &Self) -> bool {
        self.port == other.port
    }
}

impl FromStr for TunnelConfig {
    type Err = BadTunnel;

    fn from_str(text: &str) -> Result<Self, BadTunnel> {
        let (name, target) = text.split_once('=').ok_or(BadTunnel::NoName)?;
        let name = name.parse().map_err(BadTunnel::Name)?;
        let (target, options) = match target.split_once('?') {
            Some((target, options)) => (target, Some(options)),
            None => (target, None),
        };
        let mut tunnel = Self { name, local: target.parse()?, port: None };
        for option in options.into_iter().flat_map(|options| options.split('&')) {
            tunnel.set_option(option)?;
        }
        Ok(tunnel)
    }
}

impl TunnelConfig {
    fn set_option(&mut self, option: &str) -> Result<(), BadTunnel> {
        match option.split_once('=') {
            Some(("port", port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                self.port = Some(port.ok_or_else(|| BadTunnel::Port(option.to_owned()))?);
                Ok(())
            }
            _ => Err(BadTunnel::Option(option.to_owned())),
        }
    }
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

/// What is wrong with a tunnel's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTunnel {
    /// There is no `=`.
    NoName,
    /// The part before the `=` is no name.
    Name(BadTunnelName),
    /// The target is not an address.
    Target(String),
    /// `unix:` without a path.
    NoPath,
    /// The kind before `://` is not known.
    Scheme(String),
    /// The option is not known.
    Option(String),
    /// The port is no number from 1 to 65535.
    Port(String),
}

impl fmt::Display for BadTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("a tunnel is NAME=TARGET, such as ssh=22"),
            Self::Name(err) => err.fmt(f),
            Self::Target(target) => write!(
                f,
                "'{target}' is no target: use PORT, HOST:PORT, tcp://HOST:PORT or unix:/path"
            ),
            Self::NoPath => f.write_str("unix: needs a path, such as unix:/run/app.sock"),
            Self::Scheme(scheme) => {
                write!(f, "'{scheme}://' is not known: use tcp:// or leave it out")
            }
            Self::Option(option) => {
                write!(f, "the option '{option}' is not known: there is ?port=PORT")
            }
            Self::Port(option) => write!(f, "'{option}' is no port from 1 to 65535"),
        }
    }
}

impl std::error::Error for BadTunnel {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_a_name_and_a_target() {
        let cases = [
            ("ssh=22", "ssh", "127.0.0.1:22", None),
            ("db=tcp://10.0.0.5:5432?port=20010", "db", "10.0.0.5:5432", Some(20010)),
            ("web=app.local:3000", "web", "app.local:3000", None),
            ("app=unix:/run/app.sock", "app", "unix:/run/app.sock", None),
            ("app=unix:/run/a=b.sock?port=20011", "app", "unix:/run/a=b.sock", Some(20011)),
            ("v6=[::1]:80", "v6", "[::1]:80", None),
        ];
        for (text, name, local, port) in cases {
            let tunnel: TunnelConfig = text.parse().unwrap();
            let found = (tunnel.name.as_str(), tunnel.local.to_string(), tunnel.port);
            assert_eq!(found, (name, local.to_owned(), port), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("22", BadTunnel::NoName),
            ("SSH=22", BadTunnel::Name(BadTunnelName)),
            ("ssh=0", BadTunnel::Target("0".into())),
            ("ssh=", BadTunnel::Target(String::new())),
            ("ssh=unix:", BadTunnel::NoPath),
            ("web=http://a:1", BadTunnel::Scheme("http".into())),
            ("ssh=22?prot=1", BadTunnel::Option("prot=1".into())),
            ("ssh=22?port=0", BadTunnel::Port("port=0".into())),
            ("ssh=22?port=70000", BadTunnel::Port("port=70000".into())),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<TunnelConfig>(), Err(error), "{text}");
        }
    }
}
