//! The command line of `relay`, and the way from there to a [`Config`].

mod backup;
mod ban;
mod certificates;
mod database;
mod domain;
mod domains;
mod init;
mod inspect;
mod limits;
mod load;
mod reload;
mod statistics;
mod table;
mod tls;
mod token;
mod tools;
mod user;
mod web;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use shared::control::protocol::HostName;
use shared::kit::args;
use shared::kit::logging::LogFormat;
use shared::kit::net::{HostPort, Networks, Rules};
use shared::kit::settings::Row;
use shared::token::{Hidden, Secret};

use crate::access::{AccessRules, Anonymous, JwtKeys, JwtRules};
use crate::config::{
    BadSetting, Config, HEARTBEATS, PortRange, Settings, TsigKey, WebSettings, descriptors,
};
use crate::limits::{BanPolicy, BanRule};

use self::domains::DomainArgs;
use self::inspect::InspectArgs;
use self::limits::LimitArgs;

pub use ban::Ban;
pub use load::{Loaded, command, documented, load, start};
pub use reload::{Reloaded, Reloader};
pub use tools::run_tool;

use self::certificates::CertificateArgs;
use self::statistics::StatisticsArgs;
use self::tls::TlsArgs;
use self::web::WebArgs;

/// The public end of a Sallyport tunnel.
///
/// Clients behind a firewall connect to the control port; whoever connects to a public port is
/// led to the local service of the client that serves it.
///
/// An address is PORT or HOST:PORT. A bare port means all interfaces, IPv6 and IPv4; for --admin
/// it means loopback.
///
/// Each flag is also a key of the configuration file, without its dashes. The command line beats
/// the environment, the environment the file.
#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 80, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The configuration file [default: /etc/sallyport/relay.toml, if it is there]
    #[arg(long, env = "RELAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where clients connect
    #[arg(long, env = "RELAY_CONTROL", value_name = "ADDRESS", default_value = "4444")]
    control: HostPort,

    /// Where visitors of the tunnel `default` connect
    #[arg(long, env = "RELAY_PUBLIC", value_name = "ADDRESS", default_value = "8080")]
    public: HostPort,

    /// The name or address under which visitors know this machine; clients show it
    #[arg(long, env = "RELAY_PUBLIC_NAME", value_name = "HOST")]
    public_name: Option<HostName>,

    /// The public ports of other tunnels, on the host of --public; 0 for any free port
    #[arg(long, env = "RELAY_PORTS", value_name = "FIRST-LAST", default_value = "20000-20999")]
    ports: PortRange,

    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, env = "RELAY_ADMIN", value_name = "ADDRESS", default_value = "4445")]
    admin: HostPort,

    /// Another name by which the admin port is asked, beside its address; may be repeated
    #[arg(long, env = "RELAY_ADMIN_HOST", value_name = "HOST", value_delimiter = ',')]
    admin_host: Vec<HostName>,

    /// The folder for what has to outlast the relay, such as the certificate of --tls self-signed
    #[arg(long, env = "RELAY_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// The PostgreSQL in which users and tokens are kept, postgres://USER:PASSWORD@HOST/NAME
    /// [default: a file in --data]
    #[arg(long, env = "RELAY_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<Hidden>,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    web: WebArgs,

    #[command(flatten)]
    certificates: CertificateArgs,

    #[command(flatten)]
    domains: DomainArgs,

    #[command(flatten)]
    statistics: StatisticsArgs,

    #[command(flatten)]
    inspect: InspectArgs,

    /// How long open visits may go on after SIGINT or SIGTERM
    #[arg(long, env = "RELAY_GRACE", value_name = "TIME", default_value = "30s",
          value_parser = args::duration)]
    grace: Duration,

    /// The most visitors that one tunnel has at a time
    #[arg(long, env = "RELAY_MAX_VISITORS", value_name = "N", default_value = "10000",
          value_parser = clap::value_parser!(u64).range(1..=16384))]
    max_visitors: u64,

    /// How long the data of a visit may wait without any of it moving
    #[arg(long, env = "RELAY_STALL_TIMEOUT", value_name = "TIME", default_value = "5m",
          value_parser = args::positive_duration)]
    stall_timeout: Duration,

    /// How long a visit goes on after one direction has ended and the other moves nothing
    #[arg(long, env = "RELAY_HALF_CLOSED_TIMEOUT", value_name = "TIME", default_value = "10m",
          value_parser = args::positive_duration)]
    half_closed_timeout: Duration,

    /// How long a tunnel keeps its port after its last client has gone
    #[arg(long, env = "RELAY_HOLD", value_name = "TIME", default_value = "5m",
          value_parser = args::duration)]
    hold: Duration,

    /// How long new visitors wait for a client that was here a moment ago; 0s: not at all
    #[arg(long, env = "RELAY_HOLD_VISITORS", value_name = "TIME", default_value = "0s",
          value_parser = args::duration)]
    hold_visitors: Duration,

    /// Who may come without a token [default: private, and never as soon as there is a token]
    #[arg(long, env = "RELAY_ANONYMOUS", value_name = "WHO")]
    anonymous: Option<Anonymous>,

    /// A file with the secret that clients have to know; or RELAY_TOKEN holds the secret itself
    #[arg(long, env = "RELAY_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The secret itself. Not for the command line, which everybody on this machine can read
    #[arg(long, env = "RELAY_TOKEN", hide = true, hide_env_values = true, value_name = "SECRET")]
    token: Option<Hidden>,

    /// A file with what JSON Web Tokens are signed with: a public key as PEM (EdDSA, ES256, RS256), a
    /// JSON Web Key Set, or `hs256:` and the shared key of HS256
    #[arg(long, env = "RELAY_JWT_KEY", value_name = "FILE")]
    jwt_key: Option<PathBuf>,

    /// Whom JSON Web Tokens have to be for (`aud`)
    #[arg(long, env = "RELAY_JWT_AUDIENCE", value_name = "NAME", default_value = "sallyport",
          value_parser = NonEmptyStringValueParser::new())]
    jwt_audience: String,

    /// Who has to have made JSON Web Tokens (`iss`) [default: whoever has the key]
    #[arg(long, env = "RELAY_JWT_ISSUER", value_name = "NAME",
          value_parser = NonEmptyStringValueParser::new())]
    jwt_issuer: Option<String>,

    #[command(flatten)]
    limits: LimitArgs,

    /// How often both ends of a session send a heartbeat; one that is silent for three is dead
    #[arg(long, env = "RELAY_HEARTBEAT", value_name = "TIME", default_value = "10s",
          value_parser = heartbeat)]
    heartbeat: Duration,

    /// Threads that move data; more than one helps with many busy clients
    #[arg(long, env = "RELAY_THREADS", value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,

    /// Who may visit, if not everybody: networks such as 10.0.0.0/8, with commas between them
    #[arg(long, env = "RELAY_ALLOW", value_name = "NETWORKS")]
    allow: Vec<Networks>,

    /// Who may not visit, whatever else is said
    #[arg(long, env = "RELAY_DENY", value_name = "NETWORKS")]
    deny: Vec<Networks>,

    /// Ban whoever is refused so often within a time, for a time: `20/1m for 10m`
    #[arg(long, env = "RELAY_BAN", value_name = "COUNT/TIME for TIME")]
    ban: Option<BanRule>,

    /// Who is never banned
    #[arg(long, env = "RELAY_NEVER_BAN", value_name = "NETWORKS")]
    never_ban: Vec<Networks>,

    /// Balancers in front of the public ports: their connections begin with a header of the PROXY
    /// protocol, which says who visits. Requests of HTTP say it in X-Forwarded-For, or in Forwarded
    /// if there is none of that. Networks such as 10.0.0.0/8, with commas between them
    #[arg(long, env = "RELAY_TRUST_PROXY", value_name = "NETWORKS")]
    trust_proxy: Vec<Networks>,

    /// What is logged: error, warn, info, debug, trace, or a filter like
    /// `relay::session=debug,info` [default: info]
    #[arg(long, env = "RELAY_LOG", value_name = "FILTER", value_parser = args::log_filter)]
    log: Option<String>,

    /// What a log line looks like
    #[arg(long, env = "RELAY_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// A file for the audit log besides: who was let in, who was not, and what has changed, as JSON
    /// and whatever --log says. SIGHUP opens it again
    #[arg(long, env = "RELAY_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,
}

/// What the program can do instead of running.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Check all settings, show what would run, and end
    Check,
    /// Show or lift the bans of the relay that runs on this machine
    Ban {
        /// What to do with them
        #[command(subcommand)]
        action: Ban,
    },
    /// Print what makes a shell complete the arguments
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// How the program logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The filter, checked.
    pub filter: String,
    /// Text or JSON.
    pub format: LogFormat,
    /// The file of the audit log, if it has one of its own.
    pub audit: Option<PathBuf>,
}

impl Logging {
    /// Every setting with its key, in the order of the flags.
    fn rows(&self) -> Vec<Row> {
        let audit = self.audit.as_ref().map(|audit| audit.display().to_string());
        vec![
            Row::new("log", &self.filter),
            Row::new("log-format", self.format),
            Row::optional("audit-log", audit.as_deref()),
        ]
    }
}

impl Cli {
    /// The configuration that the arguments describe, with the secrets in the files that
    /// they name.
    ///
    /// # Errors
    ///
    /// A setting with which a relay cannot run.
    pub fn into_config(
        self,
        token: Option<Secret>,
        jwt_keys: Option<JwtKeys>,
        tsig_key: Option<TsigKey>,
    ) -> Result<(Config, Logging), BadSetting> {
        let mut admin = self.admin;
        // Metrics are nobody's business but the operator's.
        admin.host.get_or_insert_with(|| "127.0.0.1".into());
        let web = WebSettings::from(self.web);
        let config = Config::new(Settings {
            control: self.control,
            public: self.public,
            public_name: self.public_name,
            ports: self.ports,
            admin,
            admin_hosts: self.admin_host,
            data: self.data,
            database: self.database,
            tls: self.tls.into_settings()?,
            domains: self.domains.into_settings(web.domain_name(), tsig_key)?,
            web,
            certificates: self.certificates.into_settings()?,
            statistics: self.statistics.into(),
            inspect: self.inspect.into(),
            grace: self.grace,
            max_visitors: self.max_visitors as usize,
            stall_timeout: self.stall_timeout,
            half_closed_timeout: self.half_closed_timeout,
            hold: self.hold,
            hold_visitors: self.hold_visitors,
            access: AccessRules {
                anonymous: self.anonymous,
                token,
                jwt: jwt_keys.map(|keys| JwtRules {
                    keys,
                    audience: self.jwt_audience,
                    issuer: self.jwt_issuer,
                }),
            },
            limits: self.limits.into(),
            heartbeat: self.heartbeat,
            threads: self.threads as usize,
            rules: Rules { allow: Networks::joined(self.allow), deny: Networks::joined(self.deny) },
            bans: BanPolicy { rule: self.ban, never: Networks::joined(self.never_ban) },
            trust_proxy: Networks::joined(self.trust_proxy),
            descriptors: descriptors(),
        })?;
        let filter = shared::kit::logging::filter_or_default(self.log);
        Ok((config, Logging { filter, format: self.log_format, audit: self.audit_log }))
    }
}

/// Within the bounds of a [`Config`], so that a mistake is blamed on the flag or the line.
fn heartbeat(text: &str) -> Result<Duration, String> {
    match args::duration(text) {
        Ok(time) if !HEARTBEATS.contains(&time) => Err("must be between 50ms and 1h".into()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
        documented().debug_assert();
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        for arg in command().get_arguments() {
            let expected = format!("RELAY_{}", arg.get_id().as_str().to_uppercase());
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn a_bare_admin_port_is_on_loopback() {
        let matches = command().try_get_matches_from(["relay", "--admin", "9000"]).unwrap();
        let (config, _) =
            Cli::from_arg_matches(&matches).unwrap().into_config(None, None, None).unwrap();
        assert_eq!(config.admin.to_string(), "127.0.0.1:9000");
    }

    #[test]
    fn everything_that_can_be_set_is_shown() {
        let matches = command().try_get_matches_from(["relay"]).unwrap();
        let (config, logging) =
            Cli::from_arg_matches(&matches).unwrap().into_config(None, None, None).unwrap();
        let shown: Vec<_> = load::rows(&config, &logging).iter().map(|row| row.key).collect();
        let command = command();
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        // What is in the file of the token is shown, and the file is a part of what is shown.
        let flags = flags.filter(|flag| !["config", "token-file"].contains(flag));
        assert_eq!(shown, flags.collect::<Vec<_>>());
    }
}
