//! The options of a tunnel: the same names behind `?` on the command line and in a file.

mod shown;
mod table;

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use shared::control::protocol::{DomainName, PathPrefix, Subdomain, TunnelName};
use shared::kit::net::Rules;

use super::draft::{Draft, DraftKind, Verify};
use super::health::{HealthCheck, Probe};
use super::hosts::Hosts;
use super::http::HttpParts;
use super::target::{Place, Protocol, Target};
use super::{BadTunnel, ProxyVersion};

use self::table::{Row, TABLE};

pub(crate) use self::shown::Written;

/// The options as they come, until all are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Those that have come, each once.
    given: Vec<&'static Row>,
    port: Option<u16>,
    proxy: Option<ProxyVersion>,
    domains: Vec<DomainName>,
    subdomain: Option<Subdomain>,
    path: PathPrefix,
    verify_off: bool,
    ca: Option<PathBuf>,
    check: Option<Probe>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    failures: Option<NonZeroU32>,
    successes: Option<NonZeroU32>,
    withdraw: Option<bool>,
    rules: Rules,
    http: HttpParts,
}

/// Which tunnels an option is for, by what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// All tunnels.
    Anything,
    /// The bytes of TCP connections.
    Tcp,
    /// What names a host: requests, and TLS connections.
    Hosts,
    /// Requests.
    Http,
    /// Requests to a local service with TLS.
    Https,
}

impl Options {
    /// The names of all options.
    pub(crate) const NAMES: [&'static str; TABLE.len()] = {
        let mut names = [""; TABLE.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = TABLE[at].name;
            at += 1;
        }
        names
    };

    /// Whether `name` is an option whose values everybody may see.
    pub(crate) fn may_be_seen(name: &str) -> bool {
        TABLE.iter().any(|row| row.name == name && !row.is_secret)
    }

    /// Takes in one option, or one more value of it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), BadTunnel> {
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            return Err(BadTunnel::UnknownOption(name.to_owned()));
        };
        let is_new = !self.given.iter().any(|given| given.name == row.name);
        if !is_new && !row.repeats {
            return Err(BadTunnel::Twice(row.name));
        }
        let taken = (row.set)(self, value);
        taken.map_err(|expected| match row.is_secret {
            true => BadTunnel::Secret { option: row.name, expected },
            false => BadTunnel::Value { option: row.name, value: value.to_owned(), expected },
        })?;
        if is_new {
            self.given.push(row);
        }
        Ok(())
    }

    /// The tunnel `name` that leads to `target`, with these options.
    pub(crate) fn finish(self, name: TunnelName, target: Target) -> Result<Draft, BadTunnel> {
        let scheme = target.scheme();
        if let Some(row) = self.given.iter().find(|row| !row.is_for.fits(&target)) {
            return Err(BadTunnel::WrongKind { option: row.name, is_for: row.is_for, scheme });
        }
        let verify = match (self.verify_off, self.ca.clone()) {
            (true, Some(_)) => return Err(BadTunnel::Both("verify", "ca")),
            (true, None) => Verify::Off,
            (false, Some(file)) => Verify::With(file),
            (false, None) => Verify::WithSystem,
        };
        let (check, rules) = (self.finish_check()?, self.rules);
        let hosts = |name, subdomain| Hosts::of(name, self.domains, subdomain);
        let kind = match target.protocol {
            Protocol::Tcp => DraftKind::Tcp { port: self.port, proxy: self.proxy },
            Protocol::Tls => DraftKind::Tls(hosts(&name, self.subdomain)?),
            Protocol::Http(version) => DraftKind::Http {
                hosts: hosts(&name, self.subdomain)?,
                path: self.path,
                version,
                choices: Box::new(self.http.finish()?),
            },
        };
        Ok(Draft { name, kind, place: target.place, verify, check, rules })
    }

    fn finish_check(&self) -> Result<Option<HealthCheck>, BadTunnel> {
        let Some(probe) = self.check.clone() else {
            let alone = [
                (self.interval.is_some(), "check-interval"),
                (self.timeout.is_some(), "check-timeout"),
                (self.failures.is_some(), "check-failures"),
                (self.successes.is_some(), "check-successes"),
                (self.withdraw == Some(true), "withdraw"),
            ];
            return match alone.into_iter().find(|(is_there, _)| *is_there) {
                Some((_, option)) => Err(BadTunnel::Needs(option, "check")),
                None => Ok(None),
            };
        };
        let default = HealthCheck::new(probe);
        let check = HealthCheck {
            interval: self.interval.unwrap_or(default.interval),
            timeout: self.timeout.unwrap_or(default.timeout),
            failures: self.failures.unwrap_or(default.failures),
            successes: self.successes.unwrap_or(default.successes),
            withdraw: self.withdraw.unwrap_or(default.withdraw),
            ..default
        };
        Ok(Some(check))
    }
}

impl Carries {
    fn fits(self, target: &Target) -> bool {
        match self {
            Self::Anything => true,
            Self::Tcp => target.protocol == Protocol::Tcp,
            Self::Hosts => target.protocol != Protocol::Tcp,
            Self::Http => matches!(target.protocol, Protocol::Http(_)),
            Self::Https => matches!(target.place, Place::Secured(_)),
        }
    }
}

/// The schemes of these tunnels.
impl fmt::Display for Carries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anything => "all",
            Self::Tcp => "tcp",
            Self::Hosts => "http, https, h2c and tls",
            Self::Http => "http, https and h2c",
            Self::Https => "https",
        })
    }
}
