//! From one configuration to another, while the relay runs.

use shared::control::protocol::HostName;
use shared::kit::args;
use shared::kit::net::Networks;
use shared::kit::settings::{Change, Row, changes};
use shared::token::{Hidden, Secret};

use super::certificates::NEED_RESTART;
use super::domains::list;
use super::{Config, Settings, WebSettings};
use crate::access::AccessRules;

/// The settings that only a restart changes.
const NEEDS_RESTART: [&str; 12] = [
    "control",
    "public",
    "admin",
    "data",
    "database",
    "http",
    "https",
    "domain",
    "board",
    "access-log",
    "access-log-file",
    "threads",
];

fn needs_restart(key: &str) -> bool {
    NEEDS_RESTART.contains(&key) || NEED_RESTART.contains(&key)
}

/// What a relay does when its configuration is to become another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// The configuration from now on: as wished, except for what needs a restart.
    pub config: Config,
    /// What is different from now on.
    pub changed: Vec<Change>,
    /// What stays as it is until a restart.
    pub needs_restart: Vec<Change>,
}

impl Diff {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.needs_restart.is_empty()
    }
}

impl Settings {
    /// Every setting with its key, in the order of the documentation.
    pub fn rows(&self) -> Vec<Row> {
        // All are named, so that a new one is not forgotten.
        let Self {
            control,
            public,
            public_name,
            ports,
            admin,
            admin_hosts,
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
            access: AccessRules { anonymous, token, jwt },
            limits,
            heartbeat,
            threads,
            rules: visitors,
            bans,
            trust_proxy,
            descriptors: _,
        } = self;
        let time = |key, time: &_| Row::new(key, args::time(*time));
        let data = data.as_ref().map(|data| data.display().to_string());
        let mut rows = vec![
            Row::new("control", control),
            Row::new("public", public),
            Row::optional("public-name", public_name.as_ref().map(HostName::as_str)),
            Row::new("ports", ports),
            Row::new("admin", admin),
            list("admin-host", admin_hosts),
            Row::optional("data", data.as_deref()),
            Row::secret("database", database.as_ref().map(Hidden::fingerprint)),
        ];
        rows.extend(tls.rows());
        rows.extend(web.rows());
        rows.extend(certificates.rows());
        rows.extend(domains.rows());
        rows.extend(statistics.rows());
        rows.extend(inspect.rows());
        rows.extend([
            time("grace", grace),
            Row::new("max-visitors", max_visitors),
            time("stall-timeout", stall_timeout),
            time("half-closed-timeout", half_closed_timeout),
            time("hold", hold),
            time("hold-visitors", hold_visitors),
            Row::optional("anonymous", anonymous.map(|who| who.to_string()).as_deref()),
            Row::secret("token", token.as_ref().map(Secret::fingerprint)),
            Row::secret("jwt-key", jwt.as_ref().map(|jwt| jwt.keys.fingerprint())),
            Row::optional("jwt-audience", jwt.as_ref().map(|jwt| jwt.audience.as_str())),
            Row::optional("jwt-issuer", jwt.as_ref().and_then(|jwt| jwt.issuer.as_deref())),
        ]);
        rows.extend(limits.rows());
        rows.extend([
            time("heartbeat", heartbeat),
            Row::new("threads", threads),
            networks("allow", &visitors.allow),
            networks("deny", &visitors.deny),
            Row::optional("ban", bans.rule.as_ref().map(ToString::to_string).as_deref()),
            networks("never-ban", &bans.never),
            networks("trust-proxy", trust_proxy),
        ]);
        rows
    }
}

/// A row of which nothing is shown if it has no networks.
fn networks(key: &'static str, networks: &Networks) -> Row {
    let some = Some(networks).filter(|networks| !networks.is_empty());
    Row::optional(key, some.map(Networks::to_string).as_deref())
}

impl Config {
    /// What is different in `wished`.
    pub fn diff(&self, wished: &Self) -> Diff {
        let all = changes(self.rows(), wished.rows());
        let (needs_restart, changed) =
            all.into_iter().partition(|change| needs_restart(change.key));
        let config = Self(Settings {
            control: self.control.clone(),
            public: self.public.clone(),
            admin: self.admin.clone(),
            data: self.data.clone(),
            database: self.database.clone(),
            certificates: self.certificates.clone(),
            web: WebSettings {
                http: self.web.http.clone(),
                https: self.web.https.clone(),
                domain: self.web.domain.clone(),
                access_log: self.web.access_log,
                access_log_file: self.web.access_log_file.clone(),
                ..wished.web.clone()
            },
            threads: self.threads,
            descriptors: self.descriptors,
            ..wished.0.clone()
        });
        Diff { config, changed, needs_restart }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::AccessLogFormat;

    #[test]
    fn limits_and_times_change_at_once_and_addresses_with_a_restart() {
        let old = Config::new(Settings::loopback()).unwrap();
        let mut wished = Settings::loopback();
        wished.control.port = 4444;
        wished.threads = 2;
        wished.web.access_log = AccessLogFormat::Json;
        wished.web.error_pages = Some("/srv/pages".into());
        wished.inspect.mask = "iban".parse().unwrap();
        wished.max_visitors = 7;
        wished.ports = "20000-20009".parse().unwrap();
        wished.hold = Duration::from_secs(60);
        wished.statistics.hours = Duration::ZERO;
        wished.statistics.history_addresses = true;
        wished.public_name = Some("relay.example".parse().unwrap());
        let wished = Config::new(wished).unwrap();

        let diff = old.diff(&wished);
        let lines = |changes: &[Change]| -> Vec<String> {
            changes.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            lines(&diff.changed),
            [
                "~ public-name: not set -> relay.example",
                "~ ports: 0 -> 20000-20009",
                "~ error-pages: not set -> /srv/pages",
                "~ statistics: 90d -> 0s",
                "~ history-addresses: false -> true",
                "~ inspect-mask: not set -> iban",
                "~ max-visitors: 10000 -> 7",
                "~ hold: 5m -> 1m",
            ]
        );
        assert_eq!(
            lines(&diff.needs_restart),
            [
                "~ control: 127.0.0.1:0 -> 127.0.0.1:4444",
                "~ access-log: text -> json",
                "~ threads: 1 -> 2",
            ]
        );
        assert_eq!((diff.config.control.port, diff.config.threads), (0, 1));
        assert_eq!((diff.config.max_visitors, diff.config.hold.as_secs()), (7, 60));

        // What needs a restart is said again at the next reload, and nothing else is.
        let again = diff.config.diff(&wished);
        assert_eq!((again.changed, again.needs_restart), (vec![], diff.needs_restart));
    }

    #[test]
    fn what_is_not_changed_is_not_reloaded() {
        let config = Config::new(Settings::loopback()).unwrap();
        let diff = config.diff(&config);
        assert!(diff.is_empty());
        assert_eq!(diff.config, config);
    }
}
