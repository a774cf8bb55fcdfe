//! A relay's configuration. Whatever is in a [`Config`] is valid.

mod certificates;
mod current;
mod diff;
mod domains;
mod inspect;
mod statistics;
mod tls;
mod tsig;
mod web;

use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use shared::control::protocol::{self, HostName, MAX_STREAMS};
use shared::kit::args;
use shared::kit::net::{HostPort, MAX_NETWORKS, Networks, Rules};
use shared::token::{Hidden, Secret};
use shared::visit::patience::Patience;

use crate::access::AccessRules;
use crate::limits::{BanPolicy, BanRule, LimitRules, Source};

pub use certificates::{AcmeChallenge, AcmeSettings, CertificateSettings, ExternalAccount};
pub(crate) use current::CurrentConfig;
pub use diff::Diff;
pub use domains::{DnsUpdate, DomainSettings};
pub use inspect::{BadMaskNames, InspectMemory, InspectSettings, MaskNames};
pub use statistics::StatisticsSettings;
pub use tls::{TlsSettings, TlsSource};
pub(crate) use tsig::TsigHash;
pub use tsig::{BadTsigKey, TsigKey};
pub use web::{AccessLogFormat, BadPublicDomain, PublicDomain, WebSettings};

/// How a relay is to be set up, as somebody wishes. [`Config::new`] says whether it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect.
    pub control: HostPort,
    /// Where visitors of the tunnel `default` connect. The ports of other tunnels are on the same
    /// host.
    pub public: HostPort,
    /// The name that visitors know the relay by. Without one it goes by the name that each client
    /// knows it by.
    pub public_name: Option<HostName>,
    /// The public ports of other tunnels.
    pub ports: PortRange,
    /// Where metrics and health are served.
    pub admin: HostPort,
    /// Other names by which the admin port is asked.
    pub admin_hosts: Vec<HostName>,
    /// The folder for what has to outlast the relay. `None`: it keeps nothing.
    pub data: Option<PathBuf>,
    /// The URL of the PostgreSQL that users and tokens are kept in. Without one they are kept in the
    /// data folder.
    pub database: Option<Hidden>,
    /// How clients can reach the control port by TLS.
    pub tls: TlsSettings,
    /// How the web reaches tunnels.
    pub web: WebSettings,
    /// The certificates with which visitors are served.
    pub certificates: CertificateSettings,
    /// By which host names the web reaches tunnels, and what proves whose they are.
    pub domains: DomainSettings,
    /// What is kept of what moves at tunnels.
    pub statistics: StatisticsSettings,
    /// What may be kept of requests and visits, for those who look at their own.
    pub inspect: InspectSettings,
    /// How long open visits may go on after a request to stop.
    pub grace: Duration,
    /// The most visitors that one tunnel has at a time: 1 to [`MAX_STREAMS`].
    pub max_visitors: usize,
    /// How long the data of a visit may wait without any of it moving. Longer than zero.
    pub stall_timeout: Duration,
    /// How long a visit goes on after one direction has ended and the other moves nothing. Longer
    /// than zero.
    pub half_closed_timeout: Duration,
    /// How long a tunnel keeps its port after its last client has gone.
    pub hold: Duration,
    /// How long new visitors wait for a client that was here a moment ago. Zero: not at all.
    pub hold_visitors: Duration,
    /// Whom the relay lets in.
    pub access: AccessRules,
    /// How much of everything there may be.
    pub limits: LimitRules,
    /// How often both ends of a session send a heartbeat: 50 ms to an hour. Three without a byte
    /// are a dead session.
    pub heartbeat: Duration,
    /// Threads that move data: 1 to 256.
    pub threads: usize,
    /// Who may visit any tunnel.
    pub rules: Rules,
    /// Who is banned for being refused again and again.
    pub bans: BanPolicy,
    /// Those whose connections to public ports begin with a header that says who visits.
    pub trust_proxy: Networks,
    /// How many files the process may have open, from which the limits of visitors and of
    /// unfinished handshakes follow.
    pub descriptors: u64,
}

/// How a relay is set up: [`Settings`] that have been checked, to be read and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(Settings);

/// A setting has a value with which a relay cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// Its key, which is its flag without the dashes.
    pub key: &'static str,
    /// What it has to be, to be read behind the key.
    pub must: &'static str,
}

/// The heartbeats that can be asked for. They are announced to clients in milliseconds, and have
/// to be rare enough to cost nothing.
pub(crate) const HEARTBEATS: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(3600);

/// More threads than any machine gains from.
const MOST_THREADS: usize = 256;

impl Settings {
    /// A relay on loopback, on ports that the kernel chooses.
    pub fn loopback() -> Self {
        let any = HostPort { host: Some("127.0.0.1".into()), port: 0 };
        Self {
            control: any.clone(),
            public: any.clone(),
            public_name: None,
            ports: PortRange::ANY,
            admin: any,
            admin_hosts: Vec::new(),
            data: None,
            database: None,
            tls: TlsSettings::default(),
            web: WebSettings::default(),
            certificates: CertificateSettings::default(),
            domains: DomainSettings::default(),
            statistics: StatisticsSettings::default(),
            inspect: InspectSettings::default(),
            grace: Duration::from_secs(5),
            max_visitors: 10_000,
            stall_timeout: Duration::from_secs(300),
            half_closed_timeout: Duration::from_secs(600),
            hold: Duration::from_secs(300),
            hold_visitors: Duration::ZERO,
            access: AccessRules::default(),
            limits: LimitRules::default(),
            heartbeat: protocol::HEARTBEAT,
            threads: 1,
            rules: Rules::default(),
            bans: BanPolicy::default(),
            trust_proxy: Networks::default(),
            descriptors: descriptors(),
        }
    }
}

/// How many files this process may have open.
pub(crate) fn descriptors() -> u64 {
    rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft)
}

impl Config {
    /// A relay on loopback, on ports that the kernel chooses.
    pub fn loopback() -> Self {
        Self(Settings::loopback())
    }

    /// How long whatever carries bytes both ways waits for what.
    pub(crate) fn patience(&self) -> Patience {
        Patience { stall: self.stall_timeout, half_closed: self.half_closed_timeout }
    }

    /// The configuration that `settings` describe.
    ///
    /// # Errors
    ///
    /// The first setting that has no sense.
    pub fn new(settings: Settings) -> Result<Self, BadSetting> {
        let positive = |time: Duration| !time.is_zero();
        let Settings {
            control: _,
            public: _,
            public_name: _,
            ports: _,
            admin: _,
            admin_hosts: _,
            data,
            database,
            tls,
            web,
            certificates,
            domains,
            statistics,
            inspect,
            grace,
            max_visitors,
            stall_timeout,
            half_closed_timeout,
            hold,
            hold_visitors,
            access,
            limits: _,
            heartbeat,
            threads,
            rules,
            bans,
            trust_proxy,
            descriptors,
        } = &settings;
        tls.check()?;
        web.check()?;
        certificates.check(data.is_some() || database.is_some(), domains)?;
        domains.check(web.domain_name())?;
        statistics.check()?;
        inspect.check()?;
        let times = [
            ("grace", grace),
            ("stall-timeout", stall_timeout),
            ("half-closed-timeout", half_closed_timeout),
            ("hold", hold),
            ("hold-visitors", hold_visitors),
        ];
        for (key, time) in times {
            check(key, *time <= args::LONGEST, "must be a year at most")?;
        }
        check("stall-timeout", positive(*stall_timeout), LONGER_THAN_ZERO)?;
        check("half-closed-timeout", positive(*half_closed_timeout), LONGER_THAN_ZERO)?;
        check("heartbeat", HEARTBEATS.contains(heartbeat), "must be between 50ms and 1h")?;
        let visitors = 1..=MAX_STREAMS as usize;
        check("max-visitors", visitors.contains(max_visitors), "must be between 1 and 16384")?;
        let is_key = !matches!(access.token, Some(Secret::Jwt(_)));
        check("token", is_key, "must be a secret or a token, and not a JSON Web Token")?;
        // Of it the relay would know the last key alone, and so not what it is narrowed to.
        let is_narrowed = |secret: &Secret| match secret {
            Secret::Token(token) => token.presented().is_narrowed(),
            Secret::Jwt(_) => false,
        };
        let must = "must be a whole token: give the relay the one that this was narrowed from";
        check("token", !access.token.as_ref().is_some_and(is_narrowed), must)?;
        check("threads", (1..=MOST_THREADS).contains(threads), "must be between 1 and 256")?;
        for (key, list) in [
            ("allow", &rules.allow),
            ("deny", &rules.deny),
            ("never-ban", &bans.never),
            ("trust-proxy", trust_proxy),
        ] {
            check(key, list.len() <= MAX_NETWORKS, "must be 64 networks at most")?;
        }
        let is_postgres = |url: &Hidden| {
            ["postgres://", "postgresql://"].iter().any(|scheme| url.0.starts_with(scheme))
        };
        let must = "must be a URL of PostgreSQL: postgres://USER:PASSWORD@HOST/NAME";
        check("database", database.as_ref().is_none_or(is_postgres), must)?;
        check("descriptors", *descriptors > 0, "must be more than none")?;
        Ok(Self(settings))
    }

    /// What a visitor at `ip` is counted as. `None`: it is a balancer, behind which anybody may be.
    pub(crate) fn source(&self, ip: IpAddr) -> Option<Source> {
        (!self.trust_proxy.contain(ip)).then(|| ip.into())
    }

    /// What it takes to ban whoever is at `ip`, if anything does. A balancer is not to blame for
    /// those who come by it.
    pub(crate) fn ban_rule(&self, ip: IpAddr) -> Option<&BanRule> {
        self.bans.rule_for(ip).filter(|_| !self.trust_proxy.contain(ip))
    }

    /// The same with another number of files that the process may have open.
    #[must_use]
    pub fn with_descriptors(self, descriptors: u64) -> Self {
        Self(Settings { descriptors: descriptors.max(1), ..self.0 })
    }
}

/// What [`BadSetting`] says of a time that is none.
const LONGER_THAN_ZERO: &str = "must be longer than zero";

fn check(key: &'static str, holds: bool, must: &'static str) -> Result<(), BadSetting> {
    if holds { Ok(()) } else { Err(BadSetting { key, must }) }
}

/// To read, not to write: what has been checked stays as it is.
impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.must)
    }
}

impl std::error::Error for BadSetting {}

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
        self.ports().contains(&port)
    }

    /// All ports that a client may ask for.
    pub(crate) fn ports(&self) -> RangeInclusive<u16> {
        if *self == Self::ANY { 1024..=u16::MAX } else { self.first..=self.last }
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
    fn what_cannot_run_is_no_config() {
        const MINUTE: Duration = Duration::from_secs(60);
        type Spoil = fn(&mut Settings);
        let cases: [(Spoil, &str); 14] = [
            (|s| s.heartbeat = Duration::ZERO, "heartbeat must be between 50ms and 1h"),
            (|s| s.heartbeat = Duration::from_secs(3601), "heartbeat must be between 50ms and 1h"),
            (|s| s.threads = 0, "threads must be between 1 and 256"),
            (|s| s.threads = 257, "threads must be between 1 and 256"),
            (|s| s.max_visitors = 0, "max-visitors must be between 1 and 16384"),
            (|s| s.max_visitors = 16_385, "max-visitors must be between 1 and 16384"),
            (|s| s.stall_timeout = Duration::ZERO, "stall-timeout must be longer than zero"),
            (|s| s.half_closed_timeout = Duration::ZERO, "half-closed-timeout must be longer than"),
            (|s| s.grace = Duration::MAX, "grace must be a year at most"),
            (|s| s.descriptors = 0, "descriptors must be more than none"),
            (|s| s.statistics.hours = MINUTE, "statistics must be between 1h and a year, or 0s"),
            (|s| s.statistics.hours = Duration::MAX, "statistics must be between 1h and a year"),
            (|s| s.statistics.minutes = MINUTE, "statistics-minutes must be between 1h and a year"),
            (|s| s.statistics.history = Duration::MAX, "history must be a year at most"),
        ];
        assert_eq!(Config::new(Settings::loopback()), Ok(Config::loopback()));
        for (spoil, reason) in cases {
            let mut settings = Settings::loopback();
            spoil(&mut settings);
            let err = Config::new(settings).unwrap_err().to_string();
            assert!(err.starts_with(reason), "{err}");
        }
    }

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
