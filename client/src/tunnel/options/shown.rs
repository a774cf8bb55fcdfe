//! The options of a tunnel as they would be written.

use std::path::Path;

use shared::kit::args;
use shared::token::Hidden;

use super::super::http::{BALANCES, HttpChoices, SENDERS, SecretText, name_of};
use super::super::local::{LocalService, Trust};
use super::super::{Kind, TunnelConfig};
use super::{HealthCheck, Options};

/// An option as it would be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its values, one at least; of a secret what tells it from another.
    pub(crate) values: Vec<String>,
    /// Whether its values are secrets.
    pub(crate) is_secret: bool,
}

/// Takes down options, those that are as by default aside.
#[derive(Default)]
struct List(Vec<Written>);

impl TunnelConfig {
    /// The names of all options that a tunnel can have.
    pub const OPTIONS: [&str; Options::NAMES.len()] = Options::NAMES;

    /// The options, as they would be written; those that are as by default are left out.
    pub(crate) fn options(&self) -> Vec<Written> {
        let mut list = List::default();
        match &self.kind {
            Kind::Tcp { port, .. } => list.add("port", port.as_ref()),
            Kind::Http(http) => {
                list.all("host", http.hosts.domains());
                list.add("subdomain", http.hosts.subdomain());
                list.add("path", Some(&http.path).filter(|path| !path.is_root()));
            }
            Kind::Tls(hosts) => {
                list.all("host", hosts.domains());
                list.add("subdomain", hosts.subdomain());
            }
        }
        if let Some(check) = &self.check {
            list.check(check);
        }
        if let Kind::Tcp { proxy, .. } = &self.kind {
            list.add("proxy", proxy.as_ref());
        }
        list.add("allow", Some(&self.rules.allow).filter(|networks| !networks.is_empty()));
        list.add("deny", Some(&self.rules.deny).filter(|networks| !networks.is_empty()));
        if let Kind::Http(http) = &self.kind {
            list.http(&http.choices);
        }
        match &self.local {
            LocalService::Tls(_, Trust::Anybody) => list.add("verify", Some("off")),
            LocalService::Tls(_, Trust::Authorities(authorities)) => {
                list.file("ca", Some(authorities.file()));
            }
            LocalService::Tls(_, Trust::System) | LocalService::Tcp(_) | LocalService::Unix(_) => {}
        }
        list.0
    }
}

impl List {
    fn add(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.all(name, &[value]);
        }
    }

    fn all(&mut self, name: &'static str, values: &[impl ToString]) {
        if !values.is_empty() {
            let values = values.iter().map(ToString::to_string).collect();
            self.0.push(Written { name, values, is_secret: false });
        }
    }

    fn truth(&mut self, name: &'static str, value: bool) {
        self.add(name, Some(value).filter(|value| *value));
    }

    fn file(&mut self, name: &'static str, path: Option<&Path>) {
        self.add(name, path.map(Path::display));
    }

    fn secrets(&mut self, name: &'static str, secrets: &[Hidden]) {
        if !secrets.is_empty() {
            let values = secrets.iter().map(Hidden::fingerprint).collect();
            self.0.push(Written { name, values, is_secret: true });
        }
    }

    fn secret(&mut self, name: &'static str, in_file: &'static str, secret: Option<&SecretText>) {
        match secret {
            Some(SecretText::Given(secret)) => self.secrets(name, std::slice::from_ref(secret)),
            Some(SecretText::In(file)) => self.file(in_file, Some(file)),
            None => {}
        }
    }

    fn check(&mut self, check: &HealthCheck) {
        let default = HealthCheck::new(check.probe.clone());
        let HealthCheck { probe, interval, timeout, failures, successes, withdraw } = check;
        let time = |time: &_, default| Some(*time).filter(|it| *it != default).map(args::time);
        self.add("check", Some(probe));
        self.add("check-interval", time(interval, default.interval));
        self.add("check-timeout", time(timeout, default.timeout));
        self.add("check-failures", Some(failures).filter(|it| **it != default.failures));
        self.add("check-successes", Some(successes).filter(|it| **it != default.successes));
        self.truth("withdraw", *withdraw);
    }

    fn http(&mut self, choices: &HttpChoices) {
        // All are named, so that a new one is not forgotten.
        let HttpChoices {
            token,
            auth,
            auth_file,
            rewrite_host,
            add_header,
            remove_header,
            max_body,
            timeout,
            compress,
            redirect_https,
            hsts,
            redirect,
            rate,
            balance,
            jwt,
            webhook,
        } = choices;
        self.secret("token", "token-file", token.as_ref());
        self.secrets("auth", auth);
        self.file("auth-file", auth_file.as_deref());
        if let Some(jwt) = jwt {
            self.file("jwt-key", Some(&jwt.key));
            self.add("jwt-audience", Some(&jwt.audience));
            self.add("jwt-issuer", jwt.issuer.as_ref());
        }
        if let Some(webhook) = webhook {
            self.add("webhook", Some(name_of(&SENDERS, &webhook.from)));
            self.secret("webhook-secret", "webhook-secret-file", Some(&webhook.secret));
        }
        self.add("rate", rate.as_ref());
        self.add("max-body", max_body.as_ref());
        self.add("timeout", timeout.map(args::time));
        self.add("rewrite-host", rewrite_host.as_ref());
        self.all("add-header", add_header);
        self.all("remove-header", remove_header);
        self.truth("compress", *compress);
        self.all("redirect", redirect);
        self.truth("redirect-https", *redirect_https);
        self.add("hsts", hsts.map(args::time));
        self.add("balance", Some(name_of(&BALANCES, balance)).filter(|name| *name != "newest"));
    }
}
