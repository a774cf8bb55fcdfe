//! Who is measured: our tunnel, other tunnels, two plain hops, and no tunnel at all.
//!
//! Each contender has a file that says how it is started, and nothing else. Starting, waiting and
//! stopping are the same for all and live in [`tunnel`](crate::tunnel).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::programs::Programs;

mod bore;
mod chisel;
pub(crate) mod fleet;
mod frp;
mod hops;
pub(crate) mod ours;
mod rathole;
mod ssh;

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
    /// rathole, with a connection for each visitor.
    Rathole,
    /// bore, with a connection for each visitor.
    Bore,
    /// frp, with yamux over one connection.
    Frp,
    /// chisel, SSH channels in a websocket.
    Chisel,
    /// OpenSSH's `ssh -R`.
    Ssh,
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
    pub(crate) client: Command,
}

impl Contender {
    /// Everyone, in the order of the table.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Ours,
        Self::Before,
        Self::OursTls,
        Self::OursTwo,
        Self::OursEight,
        Self::Rathole,
        Self::Bore,
        Self::Frp,
        Self::Chisel,
        Self::Ssh,
        Self::TwoHops,
        Self::Direct,
    ];

    /// What the check of the harness uses: what needs no installation.
    pub(crate) const SMOKE: &'static [Self] = &[Self::Ours, Self::TwoHops, Self::Direct];

    /// The name in tables and log files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Before => "before",
            Self::OursTls => "ours TLS",
            Self::OursTwo => "ours x2",
            Self::OursEight => "ours x8",
            Self::Rathole => "rathole",
            Self::Bore => "bore",
            Self::Frp => "frp",
            Self::Chisel => "chisel",
            Self::Ssh => "ssh -R",
            Self::TwoHops => "two hops",
            Self::Direct => "direct",
        }
    }

    /// Whether this is our tunnel, of the build that the run is about.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursTls | Self::OursTwo | Self::OursEight)
    }

    /// Whether this is another tunnel, one that ours is compared with.
    pub(crate) fn is_peer(self) -> bool {
        !self.is_ours() && !matches!(self, Self::Before | Self::TwoHops | Self::Direct)
    }

    /// The programs it needs; the first one knows the version.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Ours | Self::Before | Self::OursTls | Self::OursTwo | Self::OursEight => {
                &["relay", "client"]
            }
            Self::Rathole => &["rathole"],
            Self::Bore => &["bore"],
            Self::Frp => &["frps", "frpc"],
            Self::Chisel => &["chisel"],
            Self::Ssh => &["ssh", "sshd", "ssh-keygen"],
            Self::TwoHops | Self::Direct => &[],
        }
    }

    /// How to ask the first program for its version.
    pub(crate) fn version_flag(self) -> Option<&'static str> {
        match self {
            Self::Ours
            | Self::Before
            | Self::OursTls
            | Self::OursTwo
            | Self::OursEight
            | Self::Rathole
            | Self::Bore
            | Self::Frp
            | Self::Chisel => Some("--version"),
            Self::Ssh => Some("-V"),
            Self::TwoHops | Self::Direct => None,
        }
    }

    /// How a person installs it.
    pub(crate) fn install(self) -> &'static str {
        match self {
            Self::Ours | Self::OursTls | Self::OursTwo | Self::OursEight => {
                "cargo build --release -p relay -p client"
            }
            Self::Before => "copy relay and client of another build to the directory of --before",
            // Its lock file names crates that a new compiler no longer takes.
            Self::Rathole => "cargo install rathole",
            Self::Bore => "cargo install bore-cli --locked",
            Self::Frp => {
                "go install github.com/fatedier/frp/cmd/frps@latest github.com/fatedier/frp/cmd/frpc@latest"
            }
            Self::Chisel => "go install github.com/jpillora/chisel@latest",
            Self::Ssh => "apt-get install openssh-server openssh-client",
            Self::TwoHops | Self::Direct => "nothing",
        }
    }

    /// The port its server side insists on, if it does.
    pub(crate) fn fixed_control_port(self) -> Option<u16> {
        (self == Self::Bore).then_some(bore::CONTROL_PORT)
    }

    /// How its two sides are started at that place; `None` if there is nothing to start.
    pub(crate) fn recipe(self, programs: &Programs, place: &Place<'_>) -> Result<Option<Recipe>> {
        match self {
            Self::Ours | Self::Before | Self::OursTls | Self::OursTwo | Self::OursEight => {
                ours::recipe(self, programs, place)
            }
            Self::Rathole => rathole::recipe(programs, place),
            Self::Bore => bore::recipe(programs, place),
            Self::Frp => frp::recipe(programs, place),
            Self::Chisel => chisel::recipe(programs, place),
            Self::Ssh => ssh::recipe(programs, place),
            Self::TwoHops => hops::recipe(place),
            Self::Direct => return Ok(None),
        }
        .map(Some)
    }
}
