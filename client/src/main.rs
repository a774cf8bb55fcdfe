//! The `client` program: parse, log, run, exit status.

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use client::banner::{Banner, Shape};
use client::cli::{self, Answer, Command, Loaded, Reloaded, Reloader};
use client::terminal::{Foot, Screen, Watched};
use client::{Client, Reconfigure};
use shared::kit::answer;
use shared::kit::logging::{self, Log};
use shared::kit::settings::{BAD_USAGE, Loader, NotMerged};
use shared::kit::stop::Stop;
use tracing::warn;

fn main() -> ExitCode {
    shared::kit::memory::keep_freed();
    shared::kit::memory::keep_secret();
    shared::carry::tls::install_provider();
    let args: Vec<_> = std::env::args_os().collect();
    match cli::tool(&args) {
        Ok(None) => (),
        Ok(Some(tool)) => return tool.run(),
        Err(err) => return ExitCode::from(NotMerged::Usage(err).report()),
    }
    let (wanted, loader) = match cli::start(args) {
        Ok(started) => started,
        Err(err) => return ExitCode::from(NotMerged::Usage(err).report()),
    };
    let only_check = matches!(wanted, Some(Command::Check));
    let outcome = match wanted {
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::documented(), "client", &mut script);
            return answer::print(&script);
        }
        Some(Command::Apply { file, .. }) => return apply(&loader, file.as_deref()),
        Some(
            Command::Check
            | Command::Http(_)
            | Command::Https(_)
            | Command::H2c(_)
            | Command::Tcp(_)
            | Command::Tls(_),
        )
        | None => cli::load(&loader),
    };
    let loaded = match outcome {
        Ok(loaded) => loaded,
        Err(err) => return ExitCode::from(err.report()),
    };
    if only_check {
        return answer::print(format!("{loaded}\n").as_bytes());
    }
    let Loaded { config, output, .. } = loaded;
    let screen = output.status.is_wanted(output.json).then(Screen::of_stdout).flatten();
    let stderr: Box<dyn Write + Send> = match &screen {
        Some(screen) if screen.has_stderr() => Box::new(screen.above(io::stderr())),
        _ => Box::new(io::stderr()),
    };
    logging::around(stderr, &output.filter.clone(), output.format, None, |log| {
        let shape = match (output.json, output.qr) {
            (true, _) => Shape::Json,
            (false, true) => Shape::TextWithCode,
            (false, false) => Shape::Text,
        };
        let (client, stop) = (Client::new(config.clone()), Stop::new());
        let foot = screen.map(|screen| {
            let (status, tally) = (client.status(), client.tally());
            Foot::new(screen, Watched { status, tally, stopping: stop.gracefully.clone() })
        });
        let banner = Banner::start(shape, foot).context("cannot start a thread for stdout")?;
        run(client, &stop, &banner, || Reloader::new(loader, config, output), log)
    })
}

/// Shows what the running client would change with the file `candidate`, or with its own.
fn apply(loader: &Loader, candidate: Option<&Path>) -> ExitCode {
    let Some(file) = loader.path() else {
        complain("which client? name the file that it runs with by --config");
        return ExitCode::from(BAD_USAGE);
    };
    match cli::ask(file, candidate.unwrap_or(file)) {
        Ok(Answer::Differences(lines)) => answer::print(lines.as_bytes()),
        Ok(Answer::Bad(reason)) => {
            complain(&reason);
            ExitCode::from(BAD_USAGE)
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            complain(&format!(
                "no client runs with {}, or not for this user; both need XDG_RUNTIME_DIR",
                file.display()
            ));
            ExitCode::FAILURE
        }
        Err(err) => {
            complain(&format!("the running client does not answer: {err}"));
            ExitCode::FAILURE
        }
    }
}

/// To stderr.
fn complain(what: &str) {
    drop(writeln!(io::stderr(), "{what}"));
}

/// Runs a client until it ends or a signal ends it, with what `follow` makes to follow its
/// configuration.
fn run(
    client: Client,
    stop: &Stop,
    banner: &Banner,
    follow: impl FnOnce() -> io::Result<Reloader>,
    log: &Log,
) -> anyhow::Result<()> {
    if let Err(err) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!("the limit of open files stays as it is: {err}");
    }
    // One thread: a session is driven by one task, and whatever its streams do wakes that task.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let signals = stop.on_signals().context("cannot handle signals")?;
        let reloader = follow().context("cannot handle signals")?;
        let reconfigure = client.reconfigure();
        tokio::select! {
            outcome = client.run(stop.clone(), |event| banner.show(&event)) => outcome,
            never = signals => match never {},
            failed = banner.attend() => match failed.context("cannot handle signals")? {},
            never = reload(reloader, &reconfigure, log) => match never {},
        }
    });
    // A name that is still being resolved, on a thread of its own, holds nobody up.
    runtime.shutdown_background();
    outcome
}

/// Follows the configuration file.
async fn reload(mut reloader: Reloader, reconfigure: &Reconfigure, log: &Log) -> Infallible {
    loop {
        if let Reloaded::Good { diff, filter } = reloader.next().await {
            reconfigure.apply(diff.config);
            if let Some(filter) = filter
                && let Err(err) = log.set_filter(&filter)
            {
                warn!("the log's filter stays as it is: {err}");
            }
        }
    }
}
