//! The options of a tunnel: the same names behind `?` on the command line and in a file.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use shared::kit::args;
use shared::kit::net::{MAX_NETWORKS, Rules};

use super::health::{HealthCheck, Probe};
use super::{BadTunnel, ProxyVersion, TunnelConfig};

/// The options as they come, until all are there.
#[derive(Debug, Default)]
pub(crate) struct Options {
    port: Option<u16>,
    check: Option<Probe>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    failures: Option<NonZeroU32>,
    successes: Option<NonZeroU32>,
    withdraw: Option<bool>,
    proxy: Option<ProxyVersion>,
    rules: Rules,
}

/// What the options come to.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The public port.
    pub(crate) port: Option<u16>,
    pub(crate) check: Option<HealthCheck>,
    pub(crate) proxy: Option<ProxyVersion>,
    pub(crate) rules: Rules,
}

impl Options {
    /// The names of all options.
    pub(crate) const NAMES: [&str; 10] = [
        "port",
        "check",
        "check-interval",
        "check-timeout",
        "check-failures",
        "check-successes",
        "withdraw",
        "proxy",
        "allow",
        "deny",
    ];

    /// Takes in one option.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), BadTunnel> {
        let bad = |expected: String| BadTunnel::Value {
            option: name.to_owned(),
            value: value.to_owned(),
            expected,
        };
        match name {
            "port" => {
                let port = value.parse().ok().filter(|port| *port != 0);
                self.port = Some(port.ok_or_else(|| bad("expected a port, 1 to 65535".into()))?);
            }
            "check" => self.check = Some(parse(value).map_err(bad)?),
            "check-interval" => self.interval = Some(args::positive_duration(value).map_err(bad)?),
            "check-timeout" => self.timeout = Some(args::positive_duration(value).map_err(bad)?),
            "check-failures" => self.failures = Some(count(value).map_err(bad)?),
            "check-successes" => self.successes = Some(count(value).map_err(bad)?),
            "withdraw" => self.withdraw = Some(truth(value).map_err(bad)?),
            "proxy" => self.proxy = Some(parse(value).map_err(bad)?),
            "allow" | "deny" => {
                let networks = parse(value).map_err(&bad)?;
                let list =
                    if name == "allow" { &mut self.rules.allow } else { &mut self.rules.deny };
                *list = networks;
                if self.rules.len() > MAX_NETWORKS {
                    return Err(bad(format!("a tunnel has {MAX_NETWORKS} networks at most")));
                }
            }
            _ => return Err(BadTunnel::UnknownOption(name.to_owned())),
        }
        Ok(())
    }

    /// What the options ask for.
    pub(crate) fn finish(self) -> Result<Chosen, BadTunnel> {
        let (port, proxy, rules) = (self.port, self.proxy, self.rules.clone());
        Ok(Chosen { port, proxy, rules, check: self.finish_check()? })
    }

    fn finish_check(self) -> Result<Option<HealthCheck>, BadTunnel> {
        let Some(probe) = self.check else {
            let alone = [
                (self.interval.is_some(), "check-interval"),
                (self.timeout.is_some(), "check-timeout"),
                (self.failures.is_some(), "check-failures"),
                (self.successes.is_some(), "check-successes"),
                (self.withdraw == Some(true), "withdraw"),
            ];
            return match alone.into_iter().find(|(is_there, _)| *is_there) {
                Some((_, option)) => Err(BadTunnel::NoCheck(option)),
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

impl TunnelConfig {
    /// The names of all options that a tunnel can have.
    pub const OPTIONS: [&str; 10] = Options::NAMES;

    /// The options, by name, as they would be written; those that are as by default are left out.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = Vec::new();
        let mut add = |name, differs: bool, value: String| {
            if differs {
                options.push((name, value));
            }
        };
        if let Some(port) = self.port {
            add("port", true, port.to_string());
        }
        if let Some(check) = &self.check {
            let default = HealthCheck::new(check.probe.clone());
            let HealthCheck { probe, interval, timeout, failures, successes, withdraw } = check;
            add("check", true, probe.to_string());
            add("check-interval", *interval != default.interval, args::time(*interval));
            add("check-timeout", *timeout != default.timeout, args::time(*timeout));
            add("check-failures", *failures != default.failures, failures.to_string());
            add("check-successes", *successes != default.successes, successes.to_string());
            add("withdraw", *withdraw, withdraw.to_string());
        }
        if let Some(proxy) = self.proxy {
            add("proxy", true, proxy.to_string());
        }
        let Rules { allow, deny } = &self.rules;
        add("allow", !allow.is_empty(), allow.to_string());
        add("deny", !deny.is_empty(), deny.to_string());
        options
    }
}

fn parse<T: FromStr<Err: Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|err: T::Err| err.to_string())
}

fn count(value: &str) -> Result<NonZeroU32, String> {
    value.parse().map_err(|_| "expected a number, 1 or more".to_owned())
}

fn truth(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "expected `true` or `false`".to_owned())
}
