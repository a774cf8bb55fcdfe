//! The command line of `client`, and the way from there, and from a file, to a configuration.

#[cfg_attr(not(unix), path = "apply_elsewhere.rs")]
mod apply;
mod load;
mod login;
mod one;
mod reload;
mod server;
mod tools;
mod tunnels;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use shared::control::protocol::MAX_CONNECTIONS;
use shared::kit::args;
use shared::kit::logging::LogFormat;
use shared::token::{Hidden, Secret};

use crate::config::{BadSettings, Reconnect, Settings};
use crate::tunnel::{Target, TunnelConfig};

pub use apply::{Answer, ask};
pub use load::{Loaded, command, documented, load, start};
pub use reload::{Reloaded, Reloader};
pub use tools::{Tool, tool};

use self::one::{HttpTunnelArgs, TcpTunnelArgs, TlsTunnelArgs};
use self::server::{Server, TlsArgs};
use self::tunnels::{Tunnels, TunnelsParser};

/// Exposes local services through a Sallyport relay.
///
/// --local exposes one service at the relay's public port, as the tunnel `default`. --tunnel
/// exposes more, each at a port or host of its own. `client http 3000` exposes one alone.
///
/// A target is PORT (on this machine), HOST:PORT or unix:/path, for the bytes of TCP connections;
/// http://HOST:PORT, https://HOST:PORT or h2c://HOST:PORT, for requests; or tls://HOST:PORT, for TLS
/// connections. Options stand behind a `?`, as in ?port=PORT or ?host=HOST.
///
/// Each flag but --tunnel is also a key of the configuration file, without its dashes; each tunnel
/// is a section, [tunnels.NAME]. The command line beats the environment, the environment the file.
/// Whoever names tunnels elsewhere gets none of those in the file.
#[derive(Debug, Parser)]
#[command(name = "client", version, max_term_width = 80, after_help = EXAMPLES)]
#[command(disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
pub struct Cli {
    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The same as --local
    #[arg(value_name = "TARGET")]
    target: Option<Target>,

    /// The configuration file [default: sallyport/client.toml in $XDG_CONFIG_HOME or ~/.config, if
    /// it is there]
    #[arg(long, env = "CLIENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The relay's control port, with tls:// in front if it is to be reached by TLS
    #[arg(long, env = "CLIENT_SERVER", value_name = "HOST:PORT", default_value = "127.0.0.1:4444")]
    server: Server,

    #[command(flatten)]
    tls: TlsArgs,

    /// A file with the token that the relay wants; or CLIENT_TOKEN holds the token itself
    /// [default: what `client login` has stored, if anything]
    #[arg(long, env = "CLIENT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The token itself. Not for the command line, which everybody on this machine can read
    #[arg(long, env = "CLIENT_TOKEN", hide = true, hide_env_values = true, value_name = "TOKEN")]
    token: Option<Hidden>,

    /// Show the token without TLS, to whoever listens on the way to the relay, or to a relay behind a
    /// proxy that ends TLS
    #[arg(long, env = "CLIENT_INSECURE", value_parser = BoolishValueParser::new())]
    insecure: bool,

    /// The local service of the tunnel `default` [default: 3000, unless there is a --tunnel]
    #[arg(long, env = "CLIENT_LOCAL", value_name = "TARGET")]
    local: Option<Target>,

    /// One more tunnel; may be repeated, or hold several with blanks between
    #[arg(long, env = "CLIENT_TUNNEL", value_name = "NAME=TARGET", value_parser = TunnelsParser,
          hide_env_values = true)]
    tunnel: Vec<Tunnels>,

    /// Connections to the relay. More of them help where the network loses packets
    #[arg(long, env = "CLIENT_CONNECTIONS", value_name = "N", default_value = "1",
          value_parser = value_parser!(u16).range(1..=i64::from(MAX_CONNECTIONS)))]
    connections: u16,

    /// When to connect again after the connection has ended
    #[arg(long, env = "CLIENT_RECONNECT", value_name = "WHEN", default_value = "on-failure")]
    reconnect: When,

    /// How long open visits may go on after SIGINT or SIGTERM
    #[arg(long, env = "CLIENT_GRACE", value_name = "TIME", default_value = "30s",
          value_parser = args::duration)]
    grace: Duration,

    /// How long connecting to the relay, or to a local service, may take
    #[arg(long, env = "CLIENT_CONNECT_TIMEOUT", value_name = "TIME", default_value = "5s",
          value_parser = args::positive_duration)]
    connect_timeout: Duration,

    /// How long the data of a visit may wait without any of it moving
    #[arg(long, env = "CLIENT_STALL_TIMEOUT", value_name = "TIME", default_value = "5m",
          value_parser = args::positive_duration)]
    stall_timeout: Duration,

    /// How long a visit goes on after one direction has ended and the other moves nothing
    #[arg(long, env = "CLIENT_HALF_CLOSED_TIMEOUT", value_name = "TIME", default_value = "10m",
          value_parser = args::positive_duration)]
    half_closed_timeout: Duration,

    /// Print events as JSON, one object a line
    #[arg(long, env = "CLIENT_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    /// Print a QR code of the first public address, for telephones
    #[arg(long, env = "CLIENT_QR", value_parser = BoolishValueParser::new())]
    qr: bool,

    /// Whether a terminal shows below all else what the client is doing
    #[arg(long, env = "CLIENT_STATUS", value_name = "WHEN", default_value = "auto")]
    status: StatusLine,

    /// What is logged: error, warn, info, debug, trace, or a filter like
    /// `client::local=debug,info` [default: info]
    #[arg(long, env = "CLIENT_LOG", value_name = "FILTER", value_parser = args::log_filter)]
    log: Option<String>,

    /// What a log line looks like
    #[arg(long, env = "CLIENT_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// Shown below the flags.
const EXAMPLES: &str = "\
Examples:
  client 3000
  client http 3000 --subdomain app --server tls://relay.example:4444
  client --server tls://relay.example:4444 --local 3000
  client --server relay.example:4444 --tunnel ssh=22 --tunnel db=10.0.0.5:5432
  client --server relay.example:4444 --tunnel 'ssh=22?port=20022'";

/// What the program can do instead of running.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check all settings, show what would run, and end
    Check,
    /// Show what the running client would change with another file, and end
    Apply {
        /// The other file [default: the one that the client runs with, as it is now]
        file: Option<PathBuf>,
        /// Change nothing. A running client reads its file by itself, or at SIGHUP
        #[arg(long, required = true)]
        dry_run: bool,
    },
    /// Print what makes a shell complete the arguments
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Expose one local service that speaks HTTP
    Http(HttpTunnelArgs),
    /// Expose one local service that speaks HTTP over TLS
    Https(HttpTunnelArgs),
    /// Expose one local service that speaks HTTP/2 without TLS, such as gRPC
    H2c(HttpTunnelArgs),
    /// Expose one local service at a TCP port
    Tcp(TcpTunnelArgs),
    /// Expose one local service that does TLS by itself
    Tls(TlsTunnelArgs),
}

/// The values of `--reconnect`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// Any end of the connection ends the client
    Never,
    /// A lost session is restored; a first connection that fails ends the client
    OnFailure,
    /// The first connection is retried too, and a relay that stopped is waited for
    Always,
}

/// How the program logs, and what it prints.
#[derive(Clone, Debug)]
pub struct Output {
    /// The log's filter, checked.
    pub filter: String,
    /// The log's format.
    pub format: LogFormat,
    /// Whether stdout gets JSON instead of text.
    pub json: bool,
    /// Whether the text has a QR code.
    pub qr: bool,
    /// Whether there is a status line.
    pub status: StatusLine,
}

/// Whether what a client is doing is shown below all else, and redrawn in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusLine {
    /// On a terminal, unless --json, NO_COLOR or TERM=dumb speaks against it
    Auto,
    /// Never
    Off,
}

impl StatusLine {
    /// Whether there is one, if there is a terminal for it. Not below events as JSON.
    pub fn is_wanted(self, json: bool) -> bool {
        self == Self::Auto && !json
    }
}

impl fmt::Display for StatusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
        })
    }
}

impl Cli {
    /// The settings that the arguments describe, with these tunnels and this token.
    fn into_settings(
        self,
        tunnels: Vec<TunnelConfig>,
        token: Option<Secret>,
    ) -> Result<(Settings, Output), BadSettings> {
        let settings = Settings {
            server: self.server.address,
            tls: self.tls.into_settings(self.server.scheme)?,
            token,
            insecure: self.insecure,
            tunnels,
            connections: self.connections,
            reconnect: match self.reconnect {
                When::Never => Reconnect::Never,
                When::OnFailure => Reconnect::OnFailure,
                When::Always => Reconnect::Always,
            },
            grace: self.grace,
            connect_timeout: self.connect_timeout,
            stall_timeout: self.stall_timeout,
            half_closed_timeout: self.half_closed_timeout,
        };
        let filter = shared::kit::logging::filter_or_default(self.log);
        let (format, json, qr, status) = (self.log_format, self.json, self.qr, self.status);
        Ok((settings, Output { filter, format, json, qr, status }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnels(args: &[&str]) -> Result<Vec<String>, String> {
        let args = [&["client"], args].concat().iter().map(Into::into).collect();
        let (_, loader) = start(args).map_err(|err| err.to_string())?;
        let loaded = load(&loader).map_err(|err| err.to_string())?;
        Ok(loaded.config.tunnels.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
        documented().debug_assert();
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        let command = command();
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            let expected = format!("CLIENT_{}", arg.get_id().as_str().to_uppercase());
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn the_default_tunnel_is_there_unless_others_are_named() {
        let named = |args: &[&str]| tunnels(args).unwrap();
        assert_eq!(named(&[]), ["default=127.0.0.1:3000"]);
        assert_eq!(named(&["--tunnel", "ssh=22"]), ["ssh=127.0.0.1:22"]);
        let both = ["default=127.0.0.1:80", "ssh=127.0.0.1:22"];
        assert_eq!(named(&["--tunnel", "ssh=22", "--local", "80"]), both);
        assert_eq!(named(&["--tunnel", " a=1  b=2\n"]), ["a=127.0.0.1:1", "b=127.0.0.1:2"]);
        assert_eq!(named(&["--tunnel", ""]), ["default=127.0.0.1:3000"]);
    }

    #[test]
    fn a_bare_target_is_the_local_service() {
        let cases = [
            ("8000", "default=127.0.0.1:8000"),
            ("app.local:80", "default=app.local:80"),
            ("unix:/run/app.sock", "default=unix:/run/app.sock"),
        ];
        for (target, tunnel) in cases {
            assert_eq!(tunnels(&[target]).unwrap(), [tunnel]);
        }
        let both = ["default=127.0.0.1:80", "ssh=127.0.0.1:22"];
        assert_eq!(tunnels(&["80", "--tunnel", "ssh=22"]).unwrap(), both);
        let twice = tunnels(&["80", "--local", "81"]).unwrap_err();
        assert!(twice.contains("--local"), "{twice}");
        let no_target = tunnels(&["chekc"]).unwrap_err();
        assert!(no_target.contains("'chekc' is no target: use PORT"), "{no_target}");
    }

    #[test]
    fn a_server_needs_a_host() {
        let parse = |server| tunnels(&["--server", server]);
        assert!(parse("4444").is_err());
        assert!(parse("relay:0").is_err());
        assert!(parse("relay:4444").is_ok());
        assert!(parse("tls://relay:4444").is_ok() && parse("tcp://relay:4444").is_ok());
        assert!(parse("https://relay:4444").unwrap_err().contains("use tls:// or tcp://"));
    }

    #[test]
    fn everything_that_can_be_set_is_shown() {
        let (_, loader) = start(vec!["client".into()]).unwrap();
        let loaded = load(&loader).unwrap();
        let shown: Vec<_> = loaded.rows().iter().map(|row| row.key).collect();
        let command = command();
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        let elsewhere = ["config", "token-file", "local", "tunnel"];
        let flags: Vec<_> = flags.filter(|flag| !elsewhere.contains(flag)).collect();
        assert_eq!(shown, flags);
    }
}
