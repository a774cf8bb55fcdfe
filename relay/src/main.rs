//! The `relay` program: parse, log, run, exit status.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use relay::cli::Cli;
use relay::{Config, Relay};
use shared::kit::logging;
use shared::kit::stop::Stop;
use tracing::{info, warn};

fn main() -> ExitCode {
    shared::kit::memory::keep_freed();
    let (config, logging) = Cli::parse().into_config();
    logging::around(&logging.filter, logging.format, |_| run(config))
}

/// Runs a relay until a signal ends it.
fn run(mut config: Config) -> anyhow::Result<()> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(descriptors) => config.descriptors = descriptors,
        Err(err) => warn!("the limit of open files stays as it is: {err}"),
    }
    let mut runtime = match config.threads {
        // Without other threads to wake, a request through the relay costs a tenth less.
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime
        .worker_threads(config.threads)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let stop = Stop::new();
        let signals = stop.on_signals().context("cannot handle signals")?;
        tokio::select! {
            outcome = serve(config, &stop) => outcome,
            never = signals => match never {},
        }
    });
    // A name that is still being resolved, on a thread of its own, holds nobody up.
    runtime.shutdown_background();
    outcome
}

/// Binds the ports and serves, until asked to stop: also while a name is still being resolved.
async fn serve(config: Config, stop: &Stop) -> anyhow::Result<()> {
    let relay = tokio::select! {
        relay = Relay::bind(config) => relay?,
        () = stop.gracefully.cancelled() => {
            info!("stopped before it was ready");
            return Ok(());
        }
    };
    let addrs = relay.addrs();
    info!(
        control = %addrs.control,
        public = %addrs.public,
        admin = %addrs.admin,
        "relay {} is ready",
        env!("CARGO_PKG_VERSION"),
    );
    relay.run(stop.clone()).await
}
