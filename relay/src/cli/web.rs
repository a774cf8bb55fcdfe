//! The flags of the web.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use shared::control::protocol::DomainName;
use shared::kit::args;
use shared::kit::net::HostPort;

use crate::config::{AccessLogFormat, PublicDomain, WebSettings};

/// How the web reaches tunnels.
#[derive(Clone, Debug, Args)]
pub(super) struct WebArgs {
    /// Where visitors connect for HTTP [default: nowhere]
    #[arg(long, env = "RELAY_HTTP", value_name = "ADDRESS")]
    http: Option<HostPort>,

    /// Where visitors connect for HTTP by TLS [default: nowhere]
    #[arg(long, env = "RELAY_HTTPS", value_name = "ADDRESS")]
    https: Option<HostPort>,

    /// What subdomains are in front of: the tunnel app is at app.DOMAIN. With https:// in front where
    /// something else speaks TLS for the relay [default: tunnels are told apart by paths, /t/app/]
    #[arg(long, env = "RELAY_DOMAIN", value_name = "DOMAIN")]
    domain: Option<PublicDomain>,

    /// The host at which the relay's own API and board are reached, by HTTPS [default: at the admin
    /// port alone]
    #[arg(long, env = "RELAY_BOARD", value_name = "HOST")]
    board: Option<DomainName>,

    /// How long requests wait for a client that was here a moment ago; 0s: not at all
    #[arg(long, env = "RELAY_HOLD_REQUESTS", value_name = "TIME", default_value = "10s",
          value_parser = args::duration)]
    hold_requests: Duration,

    /// How long a local service may take to begin its answer, unless the tunnel says otherwise
    #[arg(long, env = "RELAY_REQUEST_TIMEOUT", value_name = "TIME", default_value = "10m",
          value_parser = args::positive_duration)]
    request_timeout: Duration,

    /// How long a connection is kept open for a visitor's next request
    #[arg(long, env = "RELAY_KEEP_ALIVE", value_name = "TIME", default_value = "75s",
          value_parser = args::positive_duration)]
    keep_alive: Duration,

    /// What a line about a request looks like; `off`: none is written
    #[arg(long, env = "RELAY_ACCESS_LOG", value_name = "FORMAT", default_value = "text")]
    access_log: AccessLogFormat,

    /// A file for these lines [default: they stand with the other log]. SIGHUP opens it again
    #[arg(long, env = "RELAY_ACCESS_LOG_FILE", value_name = "FILE")]
    access_log_file: Option<PathBuf>,

    /// A folder with pages for people whose requests are not answered: 404.html, 5xx.html,
    /// no_client.html, default.html. SIGHUP reads them again [default: the relay's own page]
    #[arg(long, env = "RELAY_ERROR_PAGES", value_name = "DIR")]
    error_pages: Option<PathBuf>,
}

impl From<WebArgs> for WebSettings {
    fn from(args: WebArgs) -> Self {
        let WebArgs {
            http,
            https,
            domain,
            board,
            hold_requests,
            request_timeout,
            keep_alive,
            access_log,
            access_log_file,
            error_pages,
        } = args;
        Self {
            http,
            https,
            domain,
            board,
            hold_requests,
            request_timeout,
            keep_alive,
            access_log,
            access_log_file,
            error_pages,
        }
    }
}
