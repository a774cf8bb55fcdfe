//! A relay's configuration. Whatever is in it is valid.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use shared::control::protocol::{self, HostName};
use shared::kit::net::HostPort;
use shared::visit::patience::HALF_CLOSED_TIMEOUT;

/// How a relay is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub control: HostPort,
    /// Where visitors of the tunnel `default` connect. The ports of other tunnels are on the same
    /// host.
    pub public: HostPort,
    /// The public ports of other tunnels.
    pub ports: PortRange,
    /// Where metrics and health are served.
    pub admin: HostPort,
    /// How long open visits may go on after a request to stop.
    pub grace: Duration,
    /// The most visitors that one tunnel has at a time.
    pub max_visitors: usize,
    /// How long the data of a visit may wait without any of it moving.
    pub stall_timeout: Duration,
    /// How long a visit of which one direction has ended waits for the other end while nothing
    /// moves that way.
    pub half_closed_timeout: Duration,
    /// How long a tunnel keeps its port after its last client has gone.
    pub hold: Duration,
    /// How long visitors wait for a client that was here a moment ago to come back.
    pub hold_visitors: Duration,
    /// The name that visitors know the relay by. Without one it goes by the name that each client
    /// knows it by.
    pub public_name: Option<HostName>,
    /// How often both ends of a session send a heartbeat. Three without a byte are a dead session.
    pub heartbeat: Duration,
    /// Threads that move data.
    pub threads: usize,
    /// How many files the process may have open, from which the limits of visitors and of
    /// unfinished handshakes follow.
    pub descriptors: u64,
}

impl Config {
    /// A relay on loopback, on ports that the kernel chooses.
    pub fn loopback() -> Self {
        let any = HostPort { host: Some("127.0.0.1".into()), port: 0 };
        Self {
            control: any.clone(),
            public: any.clone(),
            ports: PortRange::ANY,
            admin: any,
            grace: Duration::from_secs(5),
            max_visitors: 10_000,
            stall_timeout: Duration::from_secs(300),
            half_closed_timeout: HALF_CLOSED_TIMEOUT,
            hold: Duration::from_secs(300),
            hold_visitors: Duration::ZERO,
            public_name: None,
            heartbeat: protocol::HEARTBEAT,
            threads: 1,
            descriptors: rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft),
        }
    }
}

/// The public ports that the relay gives to tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// The text is no range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPortRange;

impl PortRange {
    /// Whatever port the kernel has free; written `0`.
    pub const ANY: Self = Self { first: 0, last: 0 };

    /// Whether a client may ask for `port`.
    pub fn allows(&self, port: u16) -> bool {
        if *self == Self::ANY { port >= 1024 } else { (self.first..=self.last).contains(&port) }
    }

    /// All ports to try, in order. Zero stands for the kernel's choice.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        self.first..=self.last
    }
}

impl FromStr for PortRange {
    type Err = BadPortRange;

    fn from_str(text: &str) -> Result<Self, BadPortRange> {
        if text == "0" {
            return Ok(Self::ANY);
        }
        let (first, last) = text.split_once('-').ok_or(BadPortRange)?;
        // `u16` would also take `+80`.
        let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return Err(BadPortRange);
        }
        let parse = |port: &str| port.parse::<u16>().map_err(|_| BadPortRange);
        let range = Self { first: parse(first)?, last: parse(last)? };
        if range.first == 0 || range.first > range.last {
            return Err(BadPortRange);
        }
        Ok(range)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            f.write_str("0")
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for BadPortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a range of ports is FIRST-LAST, such as 20000-20999, or 0 for any free port")
    }
}

impl std::error::Error for BadPortRange {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_is_first_to_last() {
        let range: PortRange = "20000-20999".parse().unwrap();
        assert!(range.allows(20000) && range.allows(20999));
        assert!(!range.allows(19999) && !range.allows(21000));
        assert_eq!(range.to_string(), "20000-20999");
        for bad in ["", "1", "2-1", "0-5", "a-b", "1-65536", "-", "+1-+5"] {
            assert_eq!(bad.parse::<PortRange>(), Err(BadPortRange), "{bad}");
        }
    }

    #[test]
    fn any_port_still_excludes_the_privileged_ones() {
        let any: PortRange = "0".parse().unwrap();
        assert!(any.allows(1024) && !any.allows(22));
    }
}
