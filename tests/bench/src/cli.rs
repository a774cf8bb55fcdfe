//! What the command line can say.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::contenders::Contender;
use crate::figures::Figure;
use crate::helpers::Helper;

/// Measures relay and client beside other tunnels, reverse proxies, two plain TCP hops and the direct
/// connection.
///
/// Everything runs on loopback and ends by itself. The table goes to standard output; report.json,
/// report.md, a chart for each figure and everyone's logs go to the directory given by --out.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// Set when this process is one of the run's own helpers.
    #[command(subcommand)]
    pub(crate) helper: Option<Helper>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The flags of a run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Whom to measure, in this order; default: everyone who is installed.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) contenders: Vec<Contender>,

    /// What to measure, in this order; default: every figure.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) figures: Vec<Figure>,

    /// How often each contender is measured; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// How long each measurement of a rate or a latency lasts, after its warm-up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,

    /// How many clients share a relay, of those contenders that can have so many.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    pub(crate) clients: u16,

    /// How many routes of the web a relay has for the figure of them.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) routes: u32,

    /// Check the harness only: one tiny round of ours, plain, with TLS and for the web, two hops and direct; the numbers mean nothing.
    #[arg(long)]
    pub(crate) smoke: bool,

    /// Where `relay` and `client` are; default: beside this program.
    #[arg(long, value_name = "DIR")]
    pub(crate) ours: Option<PathBuf>,

    /// Where `relay` and `client` of another build are; they take turns with ours as `before` and `before-web`.
    #[arg(long, value_name = "DIR")]
    pub(crate) before: Option<PathBuf>,

    /// More directories to look for the other tunnels in, before PATH.
    #[arg(long, value_name = "DIR", env = "BENCH_PEERS", value_delimiter = ':')]
    pub(crate) peers: Vec<PathBuf>,

    /// Where to write the report, the charts and the logs.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) out: PathBuf,
}
