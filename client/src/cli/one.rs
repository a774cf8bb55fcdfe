//! `client http 3000` and the like: one tunnel, whose options are flags.

use std::str::FromStr;

use clap::Args;
use shared::control::protocol::TunnelName;
use shared::token::Hidden;

use super::Command;
use crate::tunnel::{BadTunnel, Draft, Options, Target, random_name};

/// A tunnel with the options that each kind has.
#[derive(Clone, Debug, Args)]
pub struct TcpTunnelArgs {
    /// Where the service is: PORT, HOST:PORT or unix:/path
    #[arg(value_name = "TARGET")]
    local_service: String,

    /// The tunnel's name [default: a random one, the same until the client ends]
    #[arg(long, value_name = "NAME")]
    name: Option<TunnelName>,

    /// An option of the tunnel, such as check=tcp; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    with: Vec<With>,
}

/// A tunnel that is found by a host.
#[derive(Clone, Debug, Args)]
pub struct TlsTunnelArgs {
    #[command(flatten)]
    tunnel: TcpTunnelArgs,

    /// The label in front of the relay's domain [default: the tunnel's name]
    #[arg(long, value_name = "LABEL")]
    subdomain: Option<String>,

    /// A domain of yours that points to the relay, instead of a subdomain; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
}

/// A tunnel of requests.
#[derive(Clone, Debug, Args)]
pub struct HttpTunnelArgs {
    #[command(flatten)]
    tunnel: TlsTunnelArgs,

    /// What the paths that come here begin with
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// Who may come in; may be repeated. Everybody on this machine can read it here: --with
    /// auth-file=FILE keeps it from them
    #[arg(long, value_name = "USER:PASSWORD")]
    auth: Vec<Hidden>,
}

/// One option with its value, which may be a secret.
#[derive(Clone, Debug)]
struct With {
    key: String,
    value: Hidden,
}

impl Command {
    /// The one tunnel that the client is to have, if it is started like this.
    ///
    /// # Errors
    ///
    /// The target or an option is not good.
    pub(super) fn one_tunnel(&self) -> Option<Result<Draft, BadTunnel>> {
        Some(match self {
            Self::Http(args) => args.draft("http"),
            Self::Https(args) => args.draft("https"),
            Self::H2c(args) => args.draft("h2c"),
            Self::Tcp(args) => args.draft("tcp", Options::default()),
            Self::Tls(args) => args.draft("tls", Options::default()),
            Self::Check | Self::Apply { .. } | Self::Completions { .. } => return None,
        })
    }
}

impl HttpTunnelArgs {
    fn draft(&self, scheme: &'static str) -> Result<Draft, BadTunnel> {
        let mut options = Options::default();
        if let Some(path) = &self.path {
            options.set("path", path)?;
        }
        for login in &self.auth {
            options.set("auth", &login.0)?;
        }
        self.tunnel.draft(scheme, options)
    }
}

impl TlsTunnelArgs {
    fn draft(&self, scheme: &'static str, mut options: Options) -> Result<Draft, BadTunnel> {
        if let Some(subdomain) = &self.subdomain {
            options.set("subdomain", subdomain)?;
        }
        for host in &self.host {
            options.set("host", host)?;
        }
        self.tunnel.draft(scheme, options)
    }
}

impl TcpTunnelArgs {
    fn draft(&self, scheme: &'static str, mut options: Options) -> Result<Draft, BadTunnel> {
        let target = Target::of_scheme(scheme, &self.local_service)?;
        for With { key, value } in &self.with {
            options.set(key, &value.0)?;
        }
        options.finish(self.name.clone().unwrap_or_else(random_name), target)
    }
}

impl FromStr for With {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        Ok(Self { key: key.to_owned(), value: Hidden(value.to_owned()) })
    }
}
