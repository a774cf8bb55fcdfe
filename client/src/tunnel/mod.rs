//! A tunnel as it is written on the command line: `NAME=TARGET`, with options behind a `?`.

mod bad;
mod draft;
mod health;
mod hosts;
mod http;
mod local;
mod names;
mod options;
mod proxy;
mod query;
mod target;

use std::fmt;
use std::str::FromStr;

use shared::control::protocol::{EntranceRequest, HttpOptions, TunnelName};
use shared::kit::net::Rules;

pub use bad::BadTunnel;
pub(crate) use draft::Draft;
pub use health::{BadProbe, HealthCheck, Probe};
pub use hosts::Hosts;
pub use http::HttpTunnel;
pub use local::{Authorities, LocalService, Trust};
pub(crate) use names::random_name;
pub use options::Carries;
pub(crate) use options::{Options, Written};
pub use proxy::{BadProxyVersion, ProxyVersion};
pub(crate) use query::masked;
pub use target::{Place, Protocol, Secured, Target};

/// One tunnel of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// Its name, unique within the client.
    pub name: TunnelName,
    /// What it carries.
    pub kind: Kind,
    /// Where that goes.
    pub local: LocalService,
    /// The watch over the local service, if there is to be one.
    pub check: Option<HealthCheck>,
    /// Who may visit.
    pub rules: Rules,
}

/// What a tunnel carries, with what only tunnels of this kind have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The bytes of TCP connections to a port.
    Tcp {
        /// The public port that it must have on the relay, if any will not do.
        port: Option<u16>,
        /// How the local service learns who visits, if it wants to.
        proxy: Option<ProxyVersion>,
    },
    /// Requests.
    Http(Box<HttpTunnel>),
    /// TLS connections that name one of these hosts, untouched.
    Tls(Hosts),
}

impl TunnelConfig {
    /// What it leads to, as it would be written.
    pub fn target(&self) -> Target {
        let protocol = match &self.kind {
            Kind::Tcp { .. } => Protocol::Tcp,
            Kind::Http(http) => Protocol::Http(http.options.version),
            Kind::Tls(_) => Protocol::Tls,
        };
        Target { protocol, place: self.local.place() }
    }

    /// By what the public is to reach it, one at least. It would like to have the port `prefer`
    /// again.
    pub(crate) fn entrances(&self, prefer: Option<u16>) -> Vec<EntranceRequest> {
        match &self.kind {
            Kind::Tcp { port, .. } => vec![EntranceRequest::Tcp { port: *port, prefer }],
            Kind::Http(http) => {
                let entrance = |at| EntranceRequest::Http { at, path: http.path.clone() };
                http.hosts.iter().map(entrance).collect()
            }
            Kind::Tls(hosts) => hosts.iter().map(|at| EntranceRequest::Tls { at }).collect(),
        }
    }

    /// How many addresses it has on the relay when it is open: one for each entrance.
    pub(crate) fn addresses(&self) -> usize {
        match &self.kind {
            Kind::Tcp { .. } => 1,
            Kind::Http(http) => http.hosts.iter().count(),
            Kind::Tls(hosts) => hosts.iter().count(),
        }
    }

    /// Whether the public reaches both alike, so that one can become the other while it is open.
    pub(crate) fn has_entrances_of(&self, other: &Self) -> bool {
        self.entrances(None) == other.entrances(None)
    }

    /// What the relay is to do with its requests, if it has any.
    pub(crate) fn http(&self) -> Option<&HttpOptions> {
        match &self.kind {
            Kind::Http(http) => Some(&http.options),
            Kind::Tcp { .. } | Kind::Tls(_) => None,
        }
    }

    /// How the local service learns who visits, if it wants to.
    pub(crate) fn proxy(&self) -> Option<ProxyVersion> {
        match &self.kind {
            Kind::Tcp { proxy, .. } => *proxy,
            Kind::Http(_) | Kind::Tls(_) => None,
        }
    }
}

impl FromStr for TunnelConfig {
    type Err = BadTunnel;

    /// Reads the files that are named.
    fn from_str(text: &str) -> Result<Self, BadTunnel> {
        text.parse::<Draft>()?.read()
    }
}

/// As it would be written on the command line; of secrets what tells them from others.
impl fmt::Display for TunnelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.target())?;
        let mut separator = '?';
        for Written { name, values, is_secret } in self.options() {
            for value in values {
                match is_secret {
                    true => write!(f, "{separator}{name}=(secret {value})")?,
                    false => write!(f, "{separator}{name}={}", query::encoded(&value))?,
                }
                separator = '&';
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
