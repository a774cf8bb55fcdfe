//! What this program is when it is started as one of a run's helpers.
//!
//! A helper prints the address it listens on as its first line, and ends when its standard input
//! does, that is with the run.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::thread;

use anyhow::{Context, Result};
use clap::Subcommand;

pub(crate) mod hop;
pub(crate) mod line;
pub(crate) mod service;

/// The hidden commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Helper {
    /// The local service that all contenders lead to.
    #[command(hide = true)]
    Service,
    /// A plain TCP hop.
    #[command(hide = true)]
    Hop(hop::HopArgs),
    /// A line with delay and rate.
    #[command(hide = true)]
    Line(line::LineArgs),
}

/// Runs a helper until the run that started it ends.
pub(crate) fn run(helper: Helper) -> Result<()> {
    // The helper's threads end with the process, which ends when this function returns.
    let worker = thread::Builder::new().name("helper".into());
    worker
        .spawn(move || {
            let ended = match helper {
                Helper::Service => service::run(),
                Helper::Hop(args) => hop::run(&args),
                Helper::Line(args) => line::run(&args),
            };
            if let Err(error) = ended {
                crate::console::progress(format_args!("helper failed: {error:#}")).ok();
            }
        })
        .context("starting the helper's thread")?;
    let mut nothing = Vec::new();
    io::stdin().read_to_end(&mut nothing).context("waiting for the run to end")?;
    Ok(())
}

/// Tells the run where the helper listens.
fn announce(address: SocketAddr) -> Result<()> {
    crate::console::result(address).context("saying where the helper listens")
}
