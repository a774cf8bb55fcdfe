//! A tunnel as it is written on the command line: `NAME=TARGET`, with options behind a `?`.

mod health;
mod local;
mod options;
mod proxy;

use std::fmt;
use std::str::FromStr;

use shared::control::protocol::{BadTunnelName, TunnelName};
use shared::kit::nearest::did_you_mean;
use shared::kit::net::Rules;

pub use health::{BadProbe, HealthCheck, Probe};
pub use local::LocalService;
pub(crate) use options::{Chosen, Options};
pub use proxy::{BadProxyVersion, ProxyVersion};

/// One tunnel of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// Its name, unique within the client.
    pub name: TunnelName,
    /// What it leads to.
    pub local: LocalService,
    /// The public port that it must have on the relay, if any will not do.
    pub port: Option<u16>,
    /// The watch over the local service, if there is to be one.
    pub check: Option<HealthCheck>,
    /// How the local service learns who visits, if it wants to.
    pub proxy: Option<ProxyVersion>,
    /// Who may visit.
    pub rules: Rules,
}

impl TunnelConfig {
    /// The tunnel `default`, which leads to `local`.
    pub fn default_tunnel(local: LocalService) -> Self {
        let chosen = Chosen { port: None, check: None, proxy: None, rules: Rules::default() };
        Self::new(TunnelName::default_tunnel(), local, chosen)
    }

    /// The tunnel `name`, which leads to `local`, with these options.
    pub(crate) fn new(name: TunnelName, local: LocalService, chosen: Chosen) -> Self {
        let Chosen { port, check, proxy, rules } = chosen;
        Self { name, local, port, check, proxy, rules }
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
        let (target, query) = match target.split_once('?') {
            Some((target, query)) => (target, Some(query)),
            None => (target, None),
        };
        let local = target.parse()?;
        let mut options = Options::default();
        for option in query.into_iter().flat_map(|query| query.split('&')) {
            let (option, value) = option.split_once('=').unwrap_or((option, ""));
            options.set(option, value)?;
        }
        Ok(Self::new(name, local, options.finish()?))
    }
}

/// As it would be written on the command line.
impl fmt::Display for TunnelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.local)?;
        for (i, (name, value)) in self.options().into_iter().enumerate() {
            let separator = if i == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
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
    UnknownOption(String),
    /// An option has a value that is none.
    Value {
        /// The option's name.
        option: String,
        /// Its value.
        value: String,
        /// What should be there, for a person.
        expected: String,
    },
    /// This option says how to check, but there is no `check`.
    NoCheck(&'static str),
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
            Self::UnknownOption(option) => {
                let hint = did_you_mean(option, Options::NAMES);
                write!(f, "the option '{option}' is not known{hint}")
            }
            Self::Value { option, value, expected } => write!(f, "'{option}={value}': {expected}"),
            Self::NoCheck(option) => write!(f, "'{option}' needs a 'check'"),
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
    fn a_tunnel_is_shown_as_it_would_be_written() {
        let written = [
            "ssh=127.0.0.1:22",
            "db=10.0.0.5:5432?port=20010",
            "web=127.0.0.1:80?port=20011&check=http://127.0.0.1:80/healthz?deep",
            "web=127.0.0.1:80?check=tcp&check-interval=1m30s&check-timeout=500ms\
             &check-failures=5&check-successes=1&withdraw=true",
            "web=unix:/run/app.sock?port=20012&check=tcp&proxy=v2",
            "ssh=127.0.0.1:22?allow=10.0.0.0/8,2001:db8::/32&deny=10.1.0.0/16",
        ];
        for text in written {
            assert_eq!(text.parse::<TunnelConfig>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_check_has_sensible_times_of_its_own() {
        let tunnel: TunnelConfig = "web=80?check=tcp".parse().unwrap();
        assert_eq!(tunnel.check, Some(HealthCheck::new(Probe::Connect)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("22", "a tunnel is NAME=TARGET, such as ssh=22"),
            ("ssh=0", "'0' is no target: use PORT, HOST:PORT, tcp://HOST:PORT or unix:/path"),
            ("ssh=", "'' is no target: use PORT, HOST:PORT, tcp://HOST:PORT or unix:/path"),
            ("ssh=unix:", "unix: needs a path, such as unix:/run/app.sock"),
            ("web=http://a:1", "'http://' is not known: use tcp:// or leave it out"),
            ("ssh=22?prot=1", "the option 'prot' is not known: did you mean 'port'?"),
            ("ssh=22?port=0", "'port=0': expected a port, 1 to 65535"),
            ("ssh=22?port=70000", "'port=70000': expected a port, 1 to 65535"),
            ("ssh=22?port", "'port=': expected a port, 1 to 65535"),
            (
                "ssh=22?check=udp",
                "'check=udp': expected `tcp` or a URL such as \
              http://127.0.0.1:3000/healthz",
            ),
            (
                "ssh=22?check=tcp&check-failures=0",
                "'check-failures=0': expected a number, 1 or more",
            ),
            ("ssh=22?check=tcp&check-interval=0s", "'check-interval=0s': must be longer than zero"),
            ("ssh=22?withdraw=yes", "'withdraw=yes': expected `true` or `false`"),
            (
                "ssh=22?allow=10.0.0.0/8,office",
                "'allow=10.0.0.0/8,office': 'office' is no network: use an address, or one with \
                 a length as in 10.0.0.0/8",
            ),
            ("ssh=22?proxy=v3", "'proxy=v3': expected `v1` or `v2`"),
            ("ssh=22?check-timeout=1s", "'check-timeout' needs a 'check'"),
            ("ssh=22?withdraw=true", "'withdraw' needs a 'check'"),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<TunnelConfig>().unwrap_err().to_string(), error, "{text}");
        }
        assert_eq!("SSH=22".parse::<TunnelConfig>(), Err(BadTunnel::Name(BadTunnelName)));
    }
}
