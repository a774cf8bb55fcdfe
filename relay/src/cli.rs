//! The command line of `relay`, and the way from there to a [`Config`].

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Parser;
use shared::kit::args;
use shared::kit::logging::LogFormat;
use shared::kit::net::HostPort;
use shared::visit::patience::HALF_CLOSED_TIMEOUT;

use crate::config::{Config, PortRange};

/// The public end of a Sallyport tunnel.
///
/// Clients behind a firewall connect to the control port; whoever connects to a public port is
/// led to the local service of the client that serves it.
///
/// An address is PORT or HOST:PORT. A bare port means all interfaces, IPv6 and IPv4; for --admin
/// it means loopback.
#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 80)]
pub struct Cli {
    /// Where clients connect
    #[arg(long, env = "RELAY_CONTROL", value_name = "ADDRESS", default_value = "4444")]
    control: HostPort,

    /// Where visitors of the tunnel `default` connect
    #[arg(long, env = "RELAY_PUBLIC", value_name = "ADDRESS", default_value = "8080")]
    public: HostPort,

    /// The public ports of other tunnels, on the host of --public; 0 for any free port
    #[arg(long, env = "RELAY_PORTS", value_name = "FIRST-LAST", default_value = "20000-20999")]
    ports: PortRange,

    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, env = "RELAY_ADMIN", value_name = "ADDRESS", default_value = "4445")]
    admin: HostPort,

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

    /// How long a tunnel keeps its port after its last client has gone
    #[arg(long, env = "RELAY_HOLD", value_name = "TIME", default_value = "5m",
          value_parser = args::duration)]
    hold: Duration,

    /// How often both ends of a session send a heartbeat; one that is silent for three is dead
    #[arg(long, env = "RELAY_HEARTBEAT", value_name = "TIME", default_value = "10s",
          value_parser = heartbeat)]
    heartbeat: Duration,

    /// Threads that move data; more than one helps with many busy clients
    #[arg(long, env = "RELAY_THREADS", value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,

    /// What is logged: error, warn, info, debug, trace, or a filter like
    /// `relay::edge=debug,info` [default: info]
    #[arg(long, env = "RELAY_LOG", value_name = "FILTER", value_parser = args::log_filter)]
    log: Option<String>,

    /// What a log line looks like
    #[arg(long, env = "RELAY_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// How the program logs.
#[derive(Clone, Debug)]
pub struct Logging {
    /// The filter, checked.
    pub filter: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Cli {
    /// The configuration that the arguments describe.
    pub fn into_config(self) -> (Config, Logging) {
        let mut admin = self.admin;
        // Metrics are nobody's business but the operator's.
        admin.host.get_or_insert_with(|| "127.0.0.1".into());
        let config = Config {
            control: self.control,
            public: self.public,
            ports: self.ports,
            admin,
            grace: self.grace,
            max_visitors: self.max_visitors as usize,
            stall_timeout: self.stall_timeout,
            half_closed_timeout: HALF_CLOSED_TIMEOUT,
            hold: self.hold,
            hold_visitors: Duration::ZERO,
            public_name: None,
            heartbeat: self.heartbeat,
            threads: self.threads as usize,
            descriptors: Config::loopback().descriptors,
        };
        let filter = shared::kit::logging::filter_or_default(self.log);
        (config, Logging { filter, format: self.log_format })
    }
}

/// Heartbeats are announced to clients in milliseconds, and must be rare enough to cost nothing.
fn heartbeat(text: &str) -> Result<Duration, String> {
    match args::duration(text) {
        Ok(time) if !HEARTBEATS.contains(&time) => Err("must be between 50ms and 1h".into()),
        result => result,
    }
}

/// The heartbeats that can be asked for.
const HEARTBEATS: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        for arg in Cli::command().get_arguments() {
            let expected = format!("RELAY_{}", arg.get_id().as_str().to_uppercase());
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn a_bare_admin_port_is_on_loopback() {
        let cli = Cli::try_parse_from(["relay", "--admin", "9000"]).unwrap();
        assert_eq!(cli.into_config().0.admin.to_string(), "127.0.0.1:9000");
    }
}
