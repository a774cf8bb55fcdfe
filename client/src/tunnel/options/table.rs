//! All options, with what each is for and how its value is taken.

use std::fmt::{self, Display};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use shared::kit::args;
use shared::kit::net::{MAX_NETWORKS, Networks};
use shared::token::Hidden;

use super::super::hosts::add_domain;
use super::super::http::{
    bad_line, bad_login, bad_token, balance, header_name, long_enough, not_empty, sender,
    whole_seconds,
};
use super::{Carries, Options};

/// One option.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) is_for: Carries,
    /// It may come several times.
    pub(super) repeats: bool,
    /// Nobody sees its value.
    pub(super) is_secret: bool,
    /// Takes a value, or says what is wrong with it.
    pub(super) set: Set,
}

type Set = fn(&mut Options, &str) -> Result<(), String>;

impl Row {
    const fn new(name: &'static str, is_for: Carries, set: Set) -> Self {
        Self { name, is_for, repeats: false, is_secret: false, set }
    }

    const fn repeated(self) -> Self {
        Self { repeats: true, ..self }
    }

    const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

use Carries::{Anything, Hosts, Http, Https, Tcp};

/// In the order of the documentation.
pub(super) static TABLE: [Row; 36] = [
    Row::new("port", Tcp, |to, value| put(&mut to.port, port(value))),
    Row::new("host", Hosts, |to, value| add_domain(&mut to.domains, value)).repeated(),
    Row::new("subdomain", Hosts, |to, value| put(&mut to.subdomain, parse(value))),
    Row::new("path", Http, |to, value| set(&mut to.path, parse(value))),
    Row::new("check", Anything, |to, value| put(&mut to.check, parse(value))),
    Row::new("check-interval", Anything, |to, value| {
        put(&mut to.interval, args::positive_duration(value))
    }),
    Row::new("check-timeout", Anything, |to, value| {
        put(&mut to.timeout, args::positive_duration(value))
    }),
    Row::new("check-failures", Anything, |to, value| put(&mut to.failures, count(value))),
    Row::new("check-successes", Anything, |to, value| put(&mut to.successes, count(value))),
    Row::new("withdraw", Anything, |to, value| put(&mut to.withdraw, truth(value))),
    Row::new("proxy", Tcp, |to, value| put(&mut to.proxy, parse(value))),
    Row::new("allow", Anything, |to, value| {
        let networks = networks(value, to.rules.deny.len())?;
        to.rules.allow = networks;
        Ok(())
    }),
    Row::new("deny", Anything, |to, value| {
        let networks = networks(value, to.rules.allow.len())?;
        to.rules.deny = networks;
        Ok(())
    }),
    Row::new("token", Http, |to, value| put(&mut to.http.token, hidden(value, bad_token))).secret(),
    Row::new("token-file", Http, |to, value| put(&mut to.http.token_file, file(value))),
    Row::new("auth", Http, |to, value| {
        to.http.choices.auth.push(hidden(value, bad_login)?);
        Ok(())
    })
    .repeated()
    .secret(),
    Row::new("auth-file", Http, |to, value| put(&mut to.http.choices.auth_file, file(value))),
    Row::new("jwt-key", Http, |to, value| put(&mut to.http.jwt_key, file(value))),
    Row::new("jwt-audience", Http, |to, value| put(&mut to.http.jwt_audience, not_empty(value))),
    Row::new("jwt-issuer", Http, |to, value| put(&mut to.http.jwt_issuer, not_empty(value))),
    Row::new("webhook", Http, |to, value| put(&mut to.http.webhook, sender(value))),
    Row::new("webhook-secret", Http, |to, value| {
        put(&mut to.http.webhook_secret, hidden(value, bad_line))
    })
    .secret(),
    Row::new("webhook-secret-file", Http, |to, value| {
        put(&mut to.http.webhook_secret_file, file(value))
    }),
    Row::new("rate", Http, |to, value| put(&mut to.http.choices.rate, parse(value))),
    Row::new("max-body", Http, |to, value| put(&mut to.http.choices.max_body, parse(value))),
    Row::new("timeout", Http, |to, value| put(&mut to.http.choices.timeout, long_enough(value))),
    Row::new("rewrite-host", Http, |to, value| {
        put(&mut to.http.choices.rewrite_host, parse(value))
    }),
    Row::new("add-header", Http, |to, value| {
        to.http.choices.add_header.push(parse(value)?);
        Ok(())
    })
    .repeated(),
    Row::new("remove-header", Http, |to, value| {
        to.http.choices.remove_header.push(header_name(value)?);
        Ok(())
    })
    .repeated(),
    Row::new("compress", Http, |to, value| set(&mut to.http.choices.compress, truth(value))),
    Row::new("redirect", Http, |to, value| {
        to.http.choices.redirect.push(parse(value)?);
        Ok(())
    })
    .repeated(),
    Row::new("redirect-https", Http, |to, value| {
        set(&mut to.http.choices.redirect_https, truth(value))
    }),
    Row::new("hsts", Http, |to, value| put(&mut to.http.choices.hsts, whole_seconds(value))),
    Row::new("balance", Http, |to, value| set(&mut to.http.choices.balance, balance(value))),
    Row::new("verify", Https, |to, value| set(&mut to.verify_off, is_off(value))),
    Row::new("ca", Https, |to, value| put(&mut to.ca, file(value))),
];

fn put<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

fn set<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn parse<T: FromStr<Err: Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|err: T::Err| err.to_string())
}

fn port(value: &str) -> Result<u16, String> {
    let port = value.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| "expected a port, 1 to 65535".into())
}

fn count(value: &str) -> Result<NonZeroU32, String> {
    value.parse().map_err(|_| "expected a number, 1 or more".to_owned())
}

fn truth(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "expected `true` or `false`".to_owned())
}

fn is_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(false),
        "off" => Ok(true),
        _ => Err("expected `on` or `off`".into()),
    }
}

fn file(value: &str) -> Result<PathBuf, String> {
    not_empty(value).map(PathBuf::from)
}

fn hidden(value: &str, bad: fn(&str) -> Option<&'static str>) -> Result<Hidden, String> {
    match bad(value) {
        None => Ok(Hidden(value.to_owned())),
        Some(what) => Err(what.into()),
    }
}

/// Networks beside so many others of the same tunnel.
fn networks(value: &str, others: usize) -> Result<Networks, String> {
    let networks: Networks = parse(value)?;
    if networks.len() + others > MAX_NETWORKS {
        return Err(format!("a tunnel has {MAX_NETWORKS} networks at most"));
    }
    Ok(networks)
}
