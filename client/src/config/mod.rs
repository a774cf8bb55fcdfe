//! A client's configuration. Whatever is in a [`Config`] is valid.

mod diff;
mod file;
mod tls;

use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use shared::control::protocol::{
    EntranceRequest, MAX_CONNECTIONS, MAX_TUNNELS, TunnelName, WebHost,
};
use shared::kit::args;
use shared::kit::net::HostPort;
use shared::token::Secret;

use crate::tunnel::TunnelConfig;

pub use diff::{Diff, Update};
pub(crate) use file::{TUNNELS, TunnelInFile, tunnels};
pub use tls::TlsSettings;

/// How a client is to be set up, as somebody wishes. [`Config::new`] says whether it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The relay's control port, with a host.
    pub server: HostPort,
    /// Whether and how to speak TLS with it.
    pub tls: TlsSettings,
    /// What the client shows to be let in.
    pub token: Option<Secret>,
    /// Whether the token may be shown over a connection that others can listen to and change.
    pub insecure: bool,
    /// The tunnels: 1 to [`MAX_TUNNELS`], each with a name of its own.
    pub tunnels: Vec<TunnelConfig>,
    /// How many connections to hold to the relay: 1 to [`MAX_CONNECTIONS`].
    pub connections: u16,
    /// When to connect again.
    pub reconnect: Reconnect,
    /// How long open visits may go on after a request to stop.
    pub grace: Duration,
    /// How long connecting to the relay, or to a local service, may take. Longer than zero.
    pub connect_timeout: Duration,
    /// How long the data of a visit may wait without any of it moving. Longer than zero.
    pub stall_timeout: Duration,
    /// How long a visit goes on after one direction has ended and the other moves nothing. Longer
    /// than zero.
    pub half_closed_timeout: Duration,
}

/// How a client is set up: [`Settings`] that have been checked, to be read and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(Settings);

/// What keeps a client from running with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSettings {
    /// A setting has a value that has no sense.
    Setting {
        /// Its key, which is its flag without the dashes.
        key: &'static str,
        /// What it has to be, to be read behind the key.
        must: &'static str,
    },
    /// There is no tunnel.
    NoTunnel,
    /// There are so many tunnels.
    TooManyTunnels(usize),
    /// Two tunnels have this name.
    Twice(TunnelName),
    /// Two tunnels insist on the same public port.
    SamePort(u16),
    /// Two tunnels want the same host and path.
    SameHost(String),
}

impl Settings {
    /// A client of a relay on loopback.
    pub fn loopback(server: std::net::SocketAddr, tunnels: Vec<TunnelConfig>) -> Self {
        Self {
            server: HostPort { host: Some(server.ip().to_string()), port: server.port() },
            tls: TlsSettings::default(),
            token: None,
            insecure: false,
            tunnels,
            connections: 1,
            reconnect: Reconnect::OnFailure,
            grace: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(300),
            half_closed_timeout: Duration::from_secs(600),
        }
    }
}

impl Config {
    /// The configuration that `settings` describe.
    ///
    /// # Errors
    ///
    /// The first thing that has no sense.
    pub fn new(settings: Settings) -> Result<Self, BadSettings> {
        let Settings {
            server,
            tls,
            token: _,
            insecure: _,
            tunnels,
            connections,
            reconnect: _,
            grace,
            connect_timeout,
            stall_timeout,
            half_closed_timeout,
        } = &settings;
        check("server", server.host.is_some(), "needs a host as well, such as relay:4444")?;
        check("server", server.port != 0, "needs a port other than 0")?;
        tls.check(server.host.as_deref())?;
        let connection_numbers = 1..=MAX_CONNECTIONS;
        check("connections", connection_numbers.contains(connections), "must be between 1 and 16")?;
        check("grace", *grace <= args::LONGEST, YEAR)?;
        let positive = [
            ("connect-timeout", connect_timeout),
            ("stall-timeout", stall_timeout),
            ("half-closed-timeout", half_closed_timeout),
        ];
        let checks = tunnels.iter().filter_map(|tunnel| tunnel.check.as_ref());
        let of_checks = checks.flat_map(|health| {
            [("check-interval", &health.interval), ("check-timeout", &health.timeout)]
        });
        for (key, time) in positive.into_iter().chain(of_checks) {
            check(key, !time.is_zero(), "must be longer than zero")?;
            check(key, *time <= args::LONGEST, YEAR)?;
        }
        match tunnels.len() {
            0 => return Err(BadSettings::NoTunnel),
            many if many > MAX_TUNNELS => return Err(BadSettings::TooManyTunnels(many)),
            _ => (),
        }
        let mut names = HashSet::new();
        if let Some(twice) = tunnels.iter().find(|tunnel| !names.insert(&tunnel.name)) {
            return Err(BadSettings::Twice(twice.name.clone()));
        }
        check_entrances(tunnels)?;
        Ok(Self(settings))
    }
}

/// Whether no two of `tunnels` are to be reached in the same way.
fn check_entrances(tunnels: &[TunnelConfig]) -> Result<(), BadSettings> {
    let (mut ports, mut requests, mut names) = (HashSet::new(), HashSet::new(), HashSet::new());
    for entrance in tunnels.iter().flat_map(|tunnel| tunnel.entrances(None)) {
        let shown = |at: &WebHost, path: &str| match at {
            WebHost::Subdomain(subdomain) => format!("the subdomain {subdomain}{path}"),
            WebHost::Host(host) => format!("{host}{path}"),
        };
        match entrance {
            EntranceRequest::Tcp { port: Some(port), .. } if !ports.insert(port) => {
                return Err(BadSettings::SamePort(port));
            }
            EntranceRequest::Tcp { .. } => {}
            EntranceRequest::Http { at, path } => {
                let shown = shown(&at, if path.is_root() { "" } else { path.as_str() });
                if !requests.insert((at, path)) {
                    return Err(BadSettings::SameHost(shown));
                }
            }
            EntranceRequest::Tls { at } => {
                let shown = shown(&at, "");
                if !names.insert(at) {
                    return Err(BadSettings::SameHost(shown));
                }
            }
        }
    }
    Ok(())
}

/// What is said of a time that is too long.
const YEAR: &str = "must be a year at most";

fn check(key: &'static str, holds: bool, must: &'static str) -> Result<(), BadSettings> {
    if holds { Ok(()) } else { Err(BadSettings::Setting { key, must }) }
}

/// To read, not to write: what has been checked stays as it is.
impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { key, must } => write!(f, "{key} {must}"),
            Self::NoTunnel => f.write_str("there is no tunnel"),
            Self::TooManyTunnels(many) => write!(f, "{many} tunnels, {MAX_TUNNELS} are the most"),
            Self::Twice(name) => {
                write!(f, "the tunnel `{name}` is there twice: give each its own name")
            }
            Self::SamePort(port) => {
                write!(f, "two tunnels insist on port {port}: give each its own")
            }
            Self::SameHost(host) => {
                write!(f, "two tunnels want {host}: give each its own host or path")
            }
        }
    }
}

impl std::error::Error for BadSettings {}

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

impl fmt::Display for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::loopback(([127, 0, 0, 1], 4444).into(), vec!["ssh=22".parse().unwrap()])
    }

    #[test]
    fn what_cannot_run_is_no_config() {
        type Spoil = fn(&mut Settings);
        let cases: [(Spoil, &str); 11] = [
            (|s| s.server.host = None, "server needs a host as well, such as relay:4444"),
            (|s| s.server.port = 0, "server needs a port other than 0"),
            (|s| s.connections = 0, "connections must be between 1 and 16"),
            (|s| s.connections = 17, "connections must be between 1 and 16"),
            (|s| s.grace = Duration::MAX, "grace must be a year at most"),
            (|s| s.connect_timeout = Duration::ZERO, "connect-timeout must be longer than zero"),
            (|s| s.stall_timeout = Duration::ZERO, "stall-timeout must be longer than zero"),
            (
                |s| s.half_closed_timeout = Duration::MAX,
                "half-closed-timeout must be a year at most",
            ),
            (|s| s.tunnels.clear(), "there is no tunnel"),
            (
                |s| s.tunnels.extend_from_within(..),
                "the tunnel `ssh` is there twice: give each its own name",
            ),
            (
                |s| {
                    let mut check = crate::tunnel::HealthCheck::new("tcp".parse().unwrap());
                    check.interval = Duration::ZERO;
                    s.tunnels[0].check = Some(check);
                },
                "check-interval must be longer than zero",
            ),
        ];
        assert!(Config::new(settings()).is_ok());
        for (spoil, reason) in cases {
            let mut settings = settings();
            spoil(&mut settings);
            assert_eq!(Config::new(settings).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn two_tunnels_cannot_have_one_port() {
        let tunnels = |ports: [&str; 2]| {
            let tunnel = |(name, port): (char, &str)| format!("{name}=22{port}").parse().unwrap();
            ['a', 'b'].into_iter().zip(ports).map(tunnel).collect()
        };
        let config = |ports| Config::new(Settings { tunnels: tunnels(ports), ..settings() });
        let err = config(["?port=20001", "?port=20001"]).unwrap_err();
        assert_eq!(err, BadSettings::SamePort(20001));
        for good in [["?port=20001", "?port=20002"], ["", ""]] {
            assert!(config(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn two_tunnels_cannot_have_one_host_and_path() {
        let config = |tunnels: &[&str]| {
            let tunnels = tunnels.iter().map(|tunnel| tunnel.parse().unwrap()).collect();
            Config::new(Settings { tunnels, ..settings() }).map_err(|err| err.to_string())
        };
        let bad = [
            (["a=http://1", "b=http://2?subdomain=a"], "the subdomain a"),
            (
                ["a=http://1?host=a.example&path=/x", "b=h2c://2?host=a.example&path=/x/"],
                "a.example/x",
            ),
            (["a=tls://1?host=a.example", "b=tls://2?host=a.example"], "a.example"),
        ];
        for (tunnels, what) in bad {
            let expected = format!("two tunnels want {what}: give each its own host or path");
            assert_eq!(config(&tunnels).unwrap_err(), expected);
        }
        assert!(config(&["a=http://1", "b=http://2?subdomain=a&path=/x", "c=tcp://3"]).is_ok());
    }

    #[test]
    fn more_tunnels_than_a_session_takes_are_no_config() {
        let tunnels = (0..=MAX_TUNNELS).map(|i| format!("t{i}=22").parse().unwrap());
        let settings = Settings { tunnels: tunnels.collect(), ..settings() };
        let err = Config::new(settings).unwrap_err();
        assert_eq!(err, BadSettings::TooManyTunnels(MAX_TUNNELS + 1));
    }
}
