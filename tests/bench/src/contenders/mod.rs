//! Who is measured: our tunnel, other tunnels, two plain hops, and no tunnel at all.
//!
//! Each kind of contender has a file that says how it is started, and nothing else; a form of it
//! with TLS is the same start with a few words more. Starting, waiting and stopping are the same for
//! all and live in [`tunnel`](crate::tunnel).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::programs::Programs;

mod bore;
mod caddy;
pub(crate) mod certificate;
mod chisel;
pub(crate) mod fleet;
mod frp;
mod hops;
mod kind;
mod nginx;
pub(crate) mod ours;
mod rathole;
mod ssh;

use self::kind::Kind;

/// Someone who is measured.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// `relay` and `client` of this workspace.
    Ours,
    /// The same of another build, given by `--before`.
    Before,
    /// Ours as `relay init` sets it up: with TLS and a token.
    OursTls,
    /// Ours with `client --connections 2` and `relay --threads 2`.
    OursTwo,
    /// Ours with `client --connections 8`.
    OursEight,
    /// Ours with `client http`: requests by the relay's HTTP and HTTPS, without a line for each.
    OursWeb,
    /// The same with the lines of the access log, as it is by default.
    OursWebLog,
    /// `ours-web` of the build before.
    BeforeWeb,
    /// rathole, with a connection for each visitor.
    Rathole,
    /// The same over TLS.
    RatholeTls,
    /// bore, with a connection for each visitor.
    Bore,
    /// frp, with yamux over one connection.
    Frp,
    /// The same over TLS.
    FrpTls,
    /// frp's proxies of the type http.
    FrpWeb,
    /// chisel, SSH channels in a websocket.
    Chisel,
    /// The same in a websocket over TLS: encrypted twice.
    ChiselTls,
    /// OpenSSH's `ssh -R`.
    Ssh,
    /// nginx as a reverse proxy beside the local service.
    Nginx,
    /// Caddy as the same.
    Caddy,
    /// Two programs in a row that only copy bytes: the floor of what a relay and a client cost.
    TwoHops,
    /// No tunnel: the visitor meets the local service.
    Direct,
}

/// Where a contender shall listen and connect.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Where the server side listens for the client side.
    pub(crate) control: SocketAddr,
    /// Where the client side reaches the server side: `control`, or a line that leads there.
    pub(crate) reach: SocketAddr,
    /// Where visitors come.
    pub(crate) public: SocketAddr,
    /// Where visitors of the web come by TLS, if the contender ends it.
    pub(crate) secure: SocketAddr,
    /// The local service.
    pub(crate) local: SocketAddr,
    /// An address that nothing else uses, for whatever else a contender must listen on.
    pub(crate) spare: SocketAddr,
    /// An empty directory for configuration files.
    pub(crate) directory: &'a Path,
}

/// How a contender's two sides are started. The server side comes first.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) server: Command,
    /// `None`: there is no tunnel.
    pub(crate) client: Option<Command>,
}

impl Contender {
    /// Everyone, in the order of the table.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Ours,
        Self::Before,
        Self::OursTls,
        Self::OursTwo,
        Self::OursEight,
        Self::OursWeb,
        Self::OursWebLog,
        Self::BeforeWeb,
        Self::Rathole,
        Self::RatholeTls,
        Self::Bore,
        Self::Frp,
        Self::FrpTls,
        Self::FrpWeb,
        Self::Chisel,
        Self::ChiselTls,
        Self::Ssh,
        Self::Nginx,
        Self::Caddy,
        Self::TwoHops,
        Self::Direct,
    ];

    /// What the check of the harness uses: what needs no installation.
    pub(crate) const SMOKE: &'static [Self] =
        &[Self::Ours, Self::OursTls, Self::OursWeb, Self::TwoHops, Self::Direct];

    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Before => "before",
            Self::OursTls => "ours TLS",
            Self::OursTwo => "ours x2",
            Self::OursEight => "ours x8",
            Self::OursWeb => "ours web",
            Self::OursWebLog => "ours web log",
            Self::BeforeWeb => "before web",
            Self::Rathole => "rathole",
            Self::RatholeTls => "rathole TLS",
            Self::Bore => "bore",
            Self::Frp => "frp",
            Self::FrpTls => "frp TLS",
            Self::FrpWeb => "frp web",
            Self::Chisel => "chisel",
            Self::ChiselTls => "chisel TLS",
            Self::Ssh => "ssh -R",
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::TwoHops => "two hops",
            Self::Direct => "direct",
        }
    }

    /// The name in names of files.
    pub(crate) fn file_name(self) -> String {
        self.name().replace(' ', "")
    }

    /// How its two sides are started at that place; `None` if there is nothing to start.
    pub(crate) fn recipe(self, programs: &Programs, place: &Place<'_>) -> Result<Option<Recipe>> {
        match self.kind() {
            Kind::Ours | Kind::Before if self.is_web() => ours::web::recipe(self, programs, place),
            Kind::Ours | Kind::Before => ours::recipe(self, programs, place),
            Kind::Rathole => rathole::recipe(self, programs, place),
            Kind::Bore => bore::recipe(programs, place),
            Kind::Frp => frp::recipe(self, programs, place),
            Kind::Chisel => chisel::recipe(self, programs, place),
            Kind::Ssh => ssh::recipe(programs, place),
            Kind::Nginx => nginx::recipe(programs, place),
            Kind::Caddy => caddy::recipe(programs, place),
            Kind::TwoHops => hops::recipe(place),
            Kind::Direct => return Ok(None),
        }
        .map(Some)
    }
}
