//! The `relay` program: parse, log, run, exit status.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use anyhow::Context;
use relay::cli::{self, Command, Loaded, Logging, Reloaded, Reloader};
use relay::{Config, Reconfigure, Relay};
use shared::kit::answer;
use shared::kit::logging::{self, Log};
use shared::kit::settings::NotMerged;
use shared::kit::signals::Hangup;
use shared::kit::stop::Stop;
use tracing::{info, warn};

fn main() -> ExitCode {
    shared::kit::memory::keep_freed();
    shared::kit::memory::keep_secret();
    shared::carry::tls::install_provider();
    let args: Vec<_> = std::env::args_os().collect();
    match cli::run_tool(&args) {
        Ok(None) => (),
        Ok(Some(status)) => return status,
        Err(err) => return ExitCode::from(NotMerged::Usage(err).report()),
    }
    let (wanted, loader) = match cli::start(args) {
        Ok(started) => started,
        Err(err) => return ExitCode::from(NotMerged::Usage(err).report()),
    };
    if let Some(Command::Completions { shell }) = wanted {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::documented(), "relay", &mut script);
        return answer::print(&script);
    }
    let loaded = match cli::load(&loader) {
        Ok(loaded) => loaded,
        Err(err) => return ExitCode::from(err.report()),
    };
    if let Some(Command::Check) = wanted {
        return answer::print(format!("{loaded}\n").as_bytes());
    }
    if let Some(Command::Ban { action }) = wanted {
        return match action.ask(&loaded.config.admin) {
            Ok(text) => answer::print(text.as_bytes()),
            Err(err) => answer::failed(&format_args!("{err:#}")),
        };
    }
    let Loaded { config, logging, .. } = loaded;
    let Logging { filter, format, audit } = logging.clone();
    logging::around(io::stderr(), &filter, format, audit.as_deref(), |log| {
        run(config, |config| Reloader::new(loader, config, logging), log)
    })
}

/// Runs a relay until a signal ends it, with what `follow` makes to follow its configuration.
fn run(
    mut config: Config,
    follow: impl FnOnce(Config) -> io::Result<Reloader>,
    log: &Log,
) -> anyhow::Result<()> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(descriptors) => config = config.with_descriptors(descriptors),
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
        let reloader = follow(config.clone()).context("cannot handle signals")?;
        let hangup = Hangup::take_over().context("cannot handle signals")?;
        tokio::select! {
            outcome = serve(config, reloader, hangup, log, &stop) => outcome,
            never = signals => match never {},
        }
    });
    // A name that is still being resolved, on a thread of its own, holds nobody up.
    runtime.shutdown_background();
    outcome
}

/// Binds a relay and runs it. A stop that comes while a name is being resolved ends it.
async fn serve(
    config: Config,
    reloader: Reloader,
    hangup: Hangup,
    log: &Log,
    stop: &Stop,
) -> anyhow::Result<()> {
    let relay = tokio::select! {
        relay = Relay::bind(config) => relay?,
        () = stop.gracefully.cancelled() => return Ok(()),
    };
    let addrs = relay.addrs();
    info!(
        control = %addrs.control,
        public = %addrs.public,
        admin = %addrs.admin,
        http = addrs.http.map(tracing::field::display),
        https = addrs.https.map(tracing::field::display),
        "relay {} is ready",
        env!("CARGO_PKG_VERSION"),
    );
    let reconfigure = relay.reconfigure();
    tokio::select! {
        outcome = relay.run(stop.clone()) => outcome,
        never = reload(reloader, &reconfigure, log) => match never {},
        never = look_at_files(hangup, &reconfigure, log) => match never {},
    }
}

/// Has certificates and pages read again at SIGHUP, and the files of logs opened again, whether there
/// is a configuration file or not.
async fn look_at_files(mut hangup: Hangup, reconfigure: &Reconfigure, log: &Log) -> Infallible {
    loop {
        hangup.next().await;
        reconfigure.look_at_files();
        let (log, reconfigure) = (log.clone(), reconfigure.clone());
        let reopen = move || {
            log.reopen_audit();
            reconfigure.reopen_logs();
        };
        // Not on the thread that moves data. A panic has been logged.
        drop(tokio::task::spawn_blocking(reopen).await);
    }
}

/// Follows the configuration file.
async fn reload(mut reloader: Reloader, reconfigure: &Reconfigure, log: &Log) -> Infallible {
    loop {
        match reloader.next().await {
            Reloaded::Good { diff, filter } => {
                if !diff.changed.is_empty() {
                    reconfigure.apply(diff.config);
                }

                if let Some(filter) = filter
                    && let Err(err) = log.set_filter(&filter)
                {
                    warn!("the log's filter stays as it is: {err}");
                }
            }
            Reloaded::Bad(_) => reconfigure.failed(),
        }
    }
}
