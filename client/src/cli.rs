//! The command line of `client`, and the way from there to a [`Config`].

use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum, value_parser};
use shared::control::protocol::{MAX_CONNECTIONS, MAX_TUNNELS};
use shared::kit::args;
use shared::kit::logging::LogFormat;
use shared::kit::net::HostPort;
use shared::visit::patience::HALF_CLOSED_TIMEOUT;

use crate::config::{Config, Reconnect};
use crate::tunnel::{BadTunnel, LocalService, TunnelConfig};

/// Exposes local services through a Sallyport relay.
///
/// --local exposes one service at the relay's public port, as the tunnel `default`. --tunnel
/// exposes more, each at a port of its own.
///
/// A target is PORT (on this machine), HOST:PORT, tcp://HOST:PORT or unix:/path. A tunnel can ask
/// for a public port with ?port=PORT.
#[derive(Debug, Parser)]
#[command(name = "client", version, max_term_width = 80, after_help = EXAMPLES)]
pub struct Cli {
    /// The relay's control port
    #[arg(long, env = "CLIENT_SERVER", value_name = "HOST:PORT", value_parser = server)]
    server: HostPort,

    /// The local service of the tunnel `default` [default: 3000, unless there is a --tunnel]
    #[arg(long, env = "CLIENT_LOCAL", value_name = "TARGET")]
    local: Option<LocalService>,

    /// One more tunnel; may be repeated, or hold several with blanks between
    #[arg(long, env = "CLIENT_TUNNEL", value_name = "NAME=TARGET")]
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

    /// Print events as JSON, one object a line
    #[arg(long, env = "CLIENT_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

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
  client --server relay.example:4444 --local 3000
  client --server relay.example:4444 --tunnel ssh=22 --tunnel db=10.0.0.5:5432
  client --server relay.example:4444 --tunnel 'ssh=22?port=20022'";

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
}

/// The local service of `default` if nothing is said.
const DEFAULT_LOCAL: HostPort = HostPort { host: None, port: 3000 };

impl Cli {
    /// The configuration that the arguments describe. Ends the program with status 2 if they
    /// contradict each other.
    pub fn into_config(self) -> (Config, Output) {
        let mut tunnels: Vec<_> = self.tunnel.into_iter().flat_map(|tunnels| tunnels.0).collect();
        let local =
            self.local.or_else(|| tunnels.is_empty().then_some(LocalService::Tcp(DEFAULT_LOCAL)));
        if let Some(local) = local {
            tunnels.insert(0, TunnelConfig::default_tunnel(local));
        }
        if let Some(twice) = first_repeated(&tunnels) {
            fail(&format!("the tunnel `{twice}` is there twice: give each its own name"));
        }
        if tunnels.len() > MAX_TUNNELS {
            fail(&format!("{} tunnels, {MAX_TUNNELS} are the most", tunnels.len()));
        }
        let config = Config {
            server: self.server,
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
            half_closed_timeout: HALF_CLOSED_TIMEOUT,
        };
        let filter = shared::kit::logging::filter_or_default(self.log);
        (config, Output { filter, format: self.log_format, json: self.json })
    }
}

/// The tunnels in one value. A variable has to hold them all, and may be empty.
#[derive(Clone, Debug)]
struct Tunnels(Vec<TunnelConfig>);

impl FromStr for Tunnels {
    type Err = BadTunnel;

    fn from_str(text: &str) -> Result<Self, BadTunnel> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Ends the program as for any other bad argument: the reason, usage, status 2.
fn fail(reason: &str) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, reason).exit()
}

fn first_repeated(tunnels: &[TunnelConfig]) -> Option<String> {
    let repeated = |i: usize| tunnels[..i].iter().any(|before| before.name == tunnels[i].name);
    (1..tunnels.len()).find(|i| repeated(*i)).map(|i| tunnels[i].name.to_string())
}

fn server(text: &str) -> Result<HostPort, String> {
    let server: HostPort = text.parse().map_err(|err| format!("{err}"))?;
    if server.host.is_none() {
        return Err("needs a host as well, such as relay.example:4444".into());
    }
    if server.port == 0 {
        return Err("the port must not be 0".into());
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnels(args: &[&str]) -> Vec<String> {
        let args = [&["client", "--server", "relay:4444"], args].concat();
        let (config, _) = Cli::try_parse_from(args).unwrap().into_config();
        config.tunnels.iter().map(|tunnel| format!("{}={}", tunnel.name, tunnel.local)).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        for arg in Cli::command().get_arguments() {
            let expected = format!("CLIENT_{}", arg.get_id().as_str().to_uppercase());
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn the_default_tunnel_is_there_unless_others_are_named() {
        assert_eq!(tunnels(&[]), ["default=127.0.0.1:3000"]);
        assert_eq!(tunnels(&["--tunnel", "ssh=22"]), ["ssh=127.0.0.1:22"]);
        assert_eq!(
            tunnels(&["--tunnel", "ssh=22", "--local", "80"]),
            ["default=127.0.0.1:80", "ssh=127.0.0.1:22"]
        );
        assert_eq!(tunnels(&["--tunnel", " a=1  b=2\n"]), ["a=127.0.0.1:1", "b=127.0.0.1:2"]);
        assert_eq!(tunnels(&["--tunnel", ""]), ["default=127.0.0.1:3000"]);
    }

    #[test]
    fn a_server_needs_a_host() {
        let parse = |server| Cli::try_parse_from(["client", "--server", server]);
        assert!(parse("4444").is_err());
        assert!(parse("relay:0").is_err());
        assert!(parse("relay:4444").is_ok());
    }
}
