//! The `client` program: parse, log, run, exit status.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use client::banner::Banner;
use client::cli::Cli;
use client::{Client, Config};
use shared::kit::logging;
use shared::kit::stop::Stop;
use tracing::warn;

fn main() -> ExitCode {
    shared::kit::memory::keep_freed();
    let (config, output) = Cli::parse().into_config();
    logging::around(&output.filter, output.format, |_| {
        let banner = Banner::start(output.json).context("cannot start a thread for stdout")?;
        run(config, &banner)
    })
}

/// Runs a client until it ends or a signal ends it.
fn run(config: Config, banner: &Banner) -> anyhow::Result<()> {
    if let Err(err) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!("the limit of open files stays as it is: {err}");
    }
    // One thread: a session is driven by one task, and whatever its streams do wakes that task.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let stop = Stop::new();
        let signals = stop.on_signals().context("cannot handle signals")?;
        tokio::select! {
            outcome = Client::new(config).run(stop.clone(), |event| banner.show(&event)) => outcome,
            never = signals => match never {},
        }
    });
    // A name that is still being resolved, on a thread of its own, holds nobody up.
    runtime.shutdown_background();
    outcome
}
