//! The relay's domain, host names of others, and DNS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use shared::control::protocol::{DomainName, Subdomain};
use shared::kit::args;
use shared::kit::net::HostPort;
use shared::kit::settings::Row;

use super::{BadSetting, TsigKey, check};

/// Whose host names are, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSettings {
    /// Labels that nobody gets in front of it by asking, besides those that mislead.
    pub reserved: Vec<Subdomain>,
    /// Whether whoever comes first has a host name that nobody has proven to be its own.
    pub any_host: bool,
    /// The name server that is asked. `None`: those of the system.
    pub resolver: Option<SocketAddr>,
    /// How long a new code is left alone before it is looked for.
    pub first_look: Duration,
    /// How often proofs are looked for again. Longer than zero.
    pub recheck: Duration,
    /// How long a domain stays an owner's whose proof is not there any more.
    pub grace: Duration,
    /// So many host names clients of one user may ask for. Those that an operator adds do not
    /// count.
    pub max_per_owner: u32,
    /// The zone in which the relay makes records by itself.
    pub update: Option<DnsUpdate>,
    /// The program that makes all other records.
    pub hook: Option<PathBuf>,
    /// Where all subdomains of the relay's domain lead. None: that is not the relay's business.
    pub addresses: Vec<IpAddr>,
}

/// A zone in which the relay makes records by itself (RFC 2136).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsUpdate {
    /// The name server that takes them. It has a host.
    pub server: HostPort,
    /// What they are signed with.
    pub key: TsigKey,
    /// The zone.
    pub zone: DomainName,
}

impl DnsUpdate {
    /// Whether `name` is in the zone.
    pub(crate) fn has(&self, name: &str) -> bool {
        let front = name.strip_suffix(self.zone.as_str());
        front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
    }
}

impl Default for DomainSettings {
    fn default() -> Self {
        Self {
            reserved: Vec::new(),
            any_host: false,
            resolver: None,
            first_look: Duration::from_secs(30),
            recheck: Duration::from_secs(3600),
            grace: Duration::from_secs(72 * 3600),
            max_per_owner: 100,
            update: None,
            hook: None,
            addresses: Vec::new(),
        }
    }
}

impl DomainSettings {
    /// Whether it can be, for a relay of this domain.
    pub(super) fn check(&self, domain: Option<&DomainName>) -> Result<(), BadSetting> {
        check("domain-recheck", !self.recheck.is_zero(), super::LONGER_THAN_ZERO)?;
        let times = [
            ("domain-first-look", self.first_look),
            ("domain-recheck", self.recheck),
            ("domain-grace", self.grace),
        ];
        for (key, time) in times {
            check(key, time <= args::LONGEST, "must be a year at most")?;
        }
        let server = self.update.as_ref().map(|update| &update.server);
        check("dns-update", server.is_none_or(|server| server.host.is_some()), "must have a host")?;
        let is_asked = !self.addresses.is_empty();
        let must = "needs dns-update or dns-hook as well";
        check("dns-address", !is_asked || self.makes_records(), must)?;
        let must = "needs domain, to which the addresses belong";
        check("dns-address", !is_asked || domain.is_some(), must)?;
        let must = "must be the domain or above it, since there are addresses for that";
        let can_be = !is_asked || domain.is_none_or(|domain| self.makes_records_of(domain));
        check("dns-update-zone", can_be, must)
    }

    /// Whether the relay can make records of `name`.
    pub(super) fn makes_records_of(&self, name: &DomainName) -> bool {
        let is_in = |update: &DnsUpdate| update.has(name.as_str());
        self.hook.is_some() || self.update.as_ref().is_some_and(is_in)
    }

    /// Whether it can make records of any name.
    pub(super) fn makes_records(&self) -> bool {
        self.hook.is_some() || self.update.is_some()
    }

    /// Every setting with its key, in the order of the documentation.
    pub(super) fn rows(&self) -> Vec<Row> {
        // All are named, so that a new one is not forgotten.
        let Self {
            reserved,
            any_host,
            resolver,
            first_look,
            recheck,
            grace,
            max_per_owner,
            update,
            hook,
            addresses,
        } = self;
        let (server, key, zone) = match update {
            Some(DnsUpdate { server, key, zone }) => (Some(server), Some(key), Some(zone)),
            None => (None, None, None),
        };
        let hook = hook.as_ref().map(|program| program.display().to_string());
        vec![
            list("reserved-names", reserved),
            Row::new("any-host", any_host),
            optional("resolver", resolver.as_ref()),
            Row::new("domain-first-look", args::time(*first_look)),
            Row::new("domain-recheck", args::time(*recheck)),
            Row::new("domain-grace", args::time(*grace)),
            Row::new("max-domains-per-owner", max_per_owner),
            optional("dns-update", server),
            Row::secret("dns-update-key-file", key.map(TsigKey::fingerprint)),
            optional("dns-update-zone", zone),
            Row::optional("dns-hook", hook.as_deref()),
            list("dns-address", addresses),
        ]
    }
}

fn optional(key: &'static str, value: Option<&impl ToString>) -> Row {
    Row::optional(key, value.map(ToString::to_string).as_deref())
}

pub(super) fn list(key: &'static str, values: &[impl ToString]) -> Row {
    let shown: Vec<_> = values.iter().map(ToString::to_string).collect();
    Row::optional(key, Some(shown.join(",")).filter(|_| !shown.is_empty()).as_deref())
}
