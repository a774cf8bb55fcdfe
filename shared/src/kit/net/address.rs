//! Addresses as people write them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// `PORT` or `HOST:PORT`, as a flag takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The host as written: a name or an address, IPv6 without brackets. `None`: only a port.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
}

/// The text is neither `PORT` nor `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHostPort(String);

impl FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(text: &str) -> Result<Self, BadHostPort> {
        let bad = || BadHostPort(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            None => (None, text),
            Some((host, port)) => (Some(host), port),
        };
        // `u16` would also take `+80`.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let port = port.parse().map_err(|_| bad())?;
        let host = match host {
            None => None,
            Some(host) => Some(parse_host(host).ok_or_else(bad)?),
        };
        Ok(Self { host, port })
    }
}

/// A host name or address, IPv6 in brackets.
fn parse_host(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!text.is_empty() && text.chars().all(allowed)).then(|| text.to_owned())
}

impl HostPort {
    /// The address with `host` in the place of a missing one, ready to be resolved.
    pub fn or_host<'a>(&'a self, host: &'a str) -> (&'a str, u16) {
        (self.host.as_deref().unwrap_or(host), self.port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, "{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Display for BadHostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is neither PORT (0 to 65535) nor HOST:PORT", self.0)
    }
}

impl std::error::Error for BadHostPort {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_port_or_a_host_and_a_port() {
        let parse = |text: &str| text.parse::<HostPort>();
        let good = [
            ("4444", None, 4444),
            ("relay.example:4444", Some("relay.example"), 4444),
            ("10.0.0.5:80", Some("10.0.0.5"), 80),
            ("[::1]:80", Some("::1"), 80),
        ];
        for (text, host, port) in good {
            let addr = parse(text).unwrap();
            assert_eq!((addr.host.as_deref(), addr.port), (host, port), "{text}");
            assert_eq!(addr.to_string(), text);
        }
        for bad in
            ["", ":80", "a:", "a:b", "+80", "65536", "::1:80", "[::1]", "a b:80", "http://a:1"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
