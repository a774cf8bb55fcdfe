//! A tunnel as it is written, before the files that it names are read.
//!
//! Arguments are looked at more often than once, and a pipe can be read only once.

use std::path::PathBuf;
use std::str::FromStr;

use shared::control::protocol::{HttpVersion, PathPrefix, TunnelName};
use shared::kit::net::Rules;

use super::hosts::Hosts;
use super::http::{HttpChoices, HttpTunnel};
use super::local::{Authorities, LocalService, Trust};
use super::options::Options;
use super::target::{Place, Target};
use super::{BadTunnel, HealthCheck, Kind, ProxyVersion, TunnelConfig, query};

/// A tunnel of which nothing but its files can be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(super) name: TunnelName,
    pub(super) kind: DraftKind,
    pub(super) place: Place,
    pub(super) verify: Verify,
    pub(super) check: Option<HealthCheck>,
    pub(super) rules: Rules,
}

/// See [`Kind`].
#[derive(Clone, Debug)]
pub(super) enum DraftKind {
    Tcp { port: Option<u16>, proxy: Option<ProxyVersion> },
    Http { hosts: Hosts, path: PathPrefix, version: HttpVersion, choices: Box<HttpChoices> },
    Tls(Hosts),
}

/// How a local service with TLS is to be verified. See [`Trust`].
#[derive(Clone, Debug)]
pub(super) enum Verify {
    WithSystem,
    With(PathBuf),
    Off,
}

impl Draft {
    /// The tunnel `default`, which leads to `target`.
    pub(crate) fn default_tunnel(target: Target) -> Result<Self, BadTunnel> {
        Options::default().finish(TunnelName::default_tunnel(), target)
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One of them is not good; or what is in them is more than the relay takes.
    pub(crate) fn read(self) -> Result<TunnelConfig, BadTunnel> {
        let Self { name, kind, place, verify, check, rules } = self;
        let kind = match kind {
            DraftKind::Tcp { port, proxy } => Kind::Tcp { port, proxy },
            DraftKind::Tls(hosts) => Kind::Tls(hosts),
            DraftKind::Http { hosts, path, version, choices } => {
                let options = choices.read(&name, version, &place)?;
                Kind::Http(Box::new(HttpTunnel { hosts, path, choices: *choices, options }))
            }
        };
        let local = match place {
            Place::Tcp(address) => LocalService::Tcp(address),
            Place::Unix(path) => LocalService::Unix(path),
            Place::Secured(at) => LocalService::Tls(at, verify.read()?),
        };
        Ok(TunnelConfig { name, kind, local, check, rules })
    }
}

impl Verify {
    fn read(self) -> Result<Trust, BadTunnel> {
        Ok(match self {
            Self::WithSystem => Trust::System,
            Self::Off => Trust::Anybody,
            Self::With(file) => Trust::Authorities(
                Authorities::read(&file)
                    .map_err(|err| BadTunnel::File { option: "ca", what: err.to_string() })?,
            ),
        })
    }
}

impl FromStr for Draft {
    type Err = BadTunnel;

    fn from_str(text: &str) -> Result<Self, BadTunnel> {
        let (name, target) = text.split_once('=').ok_or(BadTunnel::NoName)?;
        let name = name.parse().map_err(BadTunnel::Name)?;
        let (target, query) = match target.split_once('?') {
            Some((target, query)) => (target, Some(query)),
            None => (target, None),
        };
        let target = target.parse()?;
        let mut options = Options::default();
        for option in query.into_iter().flat_map(query::options) {
            let (option, value) = option?;
            options.set(option, &value)?;
        }
        options.finish(name, target)
    }
}
