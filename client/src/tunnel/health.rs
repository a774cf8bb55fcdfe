//! How a client sees whether a local service is well.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use shared::kit::net::HostPort;

use super::target::{Secured, host_port};

/// The watch over one local service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// The time from one probe to the next. Longer than zero.
    pub interval: Duration,
    /// How long one probe may take. Longer than zero.
    pub timeout: Duration,
    /// After so many probes in a row that failed the service counts as unhealthy.
    pub failures: NonZeroU32,
    /// After so many probes in a row that succeeded it counts as healthy again.
    pub successes: NonZeroU32,
    /// Whether an unhealthy tunnel is handed to a client that stands by.
    pub withdraw: bool,
}

/// One look at a local service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is well if it takes a connection; written `tcp`, for a Unix socket too.
    Connect,
    /// It is well if a GET is answered with a status from 200 to 399; written as a URL.
    Http {
        /// Where to ask.
        address: HostPort,
        /// What to ask for, from the first slash on.
        path: String,
    },
    /// The same over TLS.
    Https {
        /// Where to ask.
        at: Secured,
        /// What to ask for, from the first slash on.
        path: String,
    },
}

/// The text is no probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadProbe;

impl HealthCheck {
    /// The check that `probe` alone asks for.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            failures: NonZeroU32::MIN.saturating_add(2),
            successes: NonZeroU32::MIN.saturating_add(1),
            withdraw: false,
        }
    }
}

impl FromStr for Probe {
    type Err = BadProbe;

    fn from_str(text: &str) -> Result<Self, BadProbe> {
        if text == "tcp" {
            return Ok(Self::Connect);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadProbe)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // It becomes a line of a request.
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(BadProbe);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = format!("{slash}{path}");
        let address = |port| host_port(authority, Some(port)).ok_or(BadProbe);
        match scheme {
            "http" => Ok(Self::Http { address: address(80)?, path }),
            "https" => {
                let at = Secured::of(address(443)?).map_err(|_| BadProbe)?;
                Ok(Self::Https { at, path })
            }
            _ => Err(BadProbe),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("tcp"),
            Self::Http { address, path } => write!(f, "http://{address}{path}"),
            Self::Https { at, path } => write!(f, "https://{at}{path}"),
        }
    }
}

impl fmt::Display for BadProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `tcp` or a URL such as http://127.0.0.1:3000/healthz")
    }
}

impl std::error::Error for BadProbe {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_tcp_or_a_url() {
        let good = [
            ("tcp", "tcp"),
            ("http://app:3000/healthz", "http://app:3000/healthz"),
            ("http://app", "http://app:80/"),
            ("http://[::1]/a?b=c", "http://[::1]:80/a?b=c"),
            ("http://[::1]:8080?b", "http://[::1]:8080/?b"),
            ("https://app/healthz", "https://app:443/healthz"),
            ("https://[::1]:8443", "https://[::1]:8443/"),
        ];
        for (text, canonical) in good {
            assert_eq!(text.parse::<Probe>().unwrap().to_string(), canonical, "{text}");
        }
        let bad = ["", "udp", "ftp://a/", "https://a:0/", "http://", "http://:80/", "http://a:0/"];
        for text in bad.into_iter().chain(["http://a/\r\nX: y", "http://a/b c", "http://a/#b"]) {
            assert_eq!(text.parse::<Probe>(), Err(BadProbe), "{text}");
        }
    }
}
