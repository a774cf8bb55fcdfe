//! The log: to stderr, as text for people or as JSON for programs.
//!
//! Whoever logs formats the line and queues it; [`Output`] writes it on a thread of its own, so
//! that a stderr that nobody reads stops nothing but the log. What strangers do is logged at a
//! [`Rate`], what others say as [`Foreign`]. Lines with the target [`AUDIT`] may have a file of their
//! own besides.

mod audit;
mod file;
mod foreign;
mod plain;
mod rate;
mod utc;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Debug, Display};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use clap::ValueEnum;
use tracing::{Dispatch, Level, Subscriber, error, warn};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use self::audit::AUDIT_LOG;
use self::plain::Plain;
use self::rate::settle;
use super::output::{Output, Progress, Queue};

pub use self::audit::AUDIT;
pub use self::file::LogFile;
pub use self::foreign::{Foreign, harmless};
pub use self::rate::{LeftOut, Rate};
pub use self::utc::Utc;

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people, in colour on a terminal
    Text,
    /// One JSON object a line
    Json,
}

impl Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Checks a filter such as `info` or `relay=debug,info`.
///
/// # Errors
///
/// The part that is no filter, for a person.
pub fn check_filter(filter: &str) -> Result<(), String> {
    let targets = filter.parse::<Targets>().map_err(|err| err.to_string())?;
    // Any text at all would do as the name of a part of the program; nothing would be logged then.
    let is_name = |name: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
        !name.is_empty() && name.chars().all(is_part)
    };
    let mut named = targets.iter().map(|(target, _)| target);
    match named.find(|target| !is_name(target)).filter(|_| !filter.is_empty()) {
        Some(target) => Err(format!("'{target}' is no filter: use a level, or NAME=LEVEL")),
        None => Ok(()),
    }
}

/// The log of the process. Cheap to clone; with the last one goes the thread that writes, as
/// [`Output`] says.
#[derive(Clone)]
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    output: Arc<Output>,
    // Dropped behind the log, whose end may have lines for it.
    audit: Option<Arc<LogFile>>,
}

/// The log, once it has been started.
static LOG: OnceLock<Started> = OnceLock::new();

/// What whoever makes lines of its own has to know of the log.
struct Started {
    queue: Arc<Queue>,
    is_plain: bool,
}

/// Runs a program with its log, which goes to `stderr`, and with an audit log in the file `audit` if
/// there is to be one: starts it, logs the error that the program ends with, and waits until what was logged has been
/// written. Called once, by `main`.
pub fn around<E: Display>(
    stderr: impl Write + Send + 'static,
    filter: &str,
    format: LogFormat,
    audit: Option<&Path>,
    program: impl FnOnce(&Log) -> Result<(), E>,
) -> ExitCode {
    let log = match start(stderr, filter, format, audit) {
        Ok(log) => log,
        Err(err) => {
            // Whom to tell, if this fails as well?
            drop(writeln!(io::stderr(), "cannot start the log: {err}"));
            return ExitCode::FAILURE;
        }
    };
    if let Some(Err(err)) = in_rust_log() {
        warn!("{RUST_LOG} does not count: {err}");
    }
    match program(&log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            if tracing::enabled!(Level::ERROR) {
                error!("{err:#}");
            } else {
                // Whoever wants no log still learns why there is no program any more.
                log.output.push(format!("{err:#}\n").as_bytes());
            }
            ExitCode::FAILURE
        }
    }
}

/// Starts logging for the whole process, panics included.
fn start(
    stderr: impl Write + Send + 'static,
    filter: &str,
    format: LogFormat,
    audit: Option<&Path>,
) -> io::Result<Log> {
    let filter = filter.parse::<Targets>().map_err(io::Error::other)?;
    let started = |path: &Path| {
        let about = |err| io::Error::other(format!("--audit-log: {}: {err}", path.display()));
        LogFile::start(AUDIT_LOG, path).map_err(about)
    };
    let audit = audit.map(started).transpose()?;
    let output = Output::start("log", stderr, attend)?;
    let (dispatch, log) = log_to(output, filter, format, io::stderr().is_terminal(), audit);
    let is_plain = format == LogFormat::Text && !io::stderr().is_terminal();
    LOG.get_or_init(|| Started { queue: Arc::clone(log.output.queue()), is_plain });
    dispatch.init();
    panic::set_hook(Box::new(log_panic));
    Ok(log)
}

/// A log that writes to `output`, and what takes the lines for it.
fn log_to(
    output: Output,
    filter: Targets,
    format: LogFormat,
    colour: bool,
    audit: Option<LogFile>,
) -> (Dispatch, Log) {
    let (filter, handle) = reload::Layer::new(filter);
    let (registry, queue) = (tracing_subscriber::registry(), output.queue());
    let dispatch = match &audit {
        None => Dispatch::new(registry.with(filter).with(lines(queue, format, colour))),
        Some(audit) => {
            let lines = lines(queue, format, colour).with_filter(filter);
            Dispatch::new(registry.with(lines).with(audit::layer(audit)))
        }
    };
    let audit = audit.map(Arc::new);
    (dispatch, Log { filter: handle, output: Arc::new(output), audit })
}

/// What makes lines and queues them.
fn lines<S>(
    queue: &Arc<Queue>,
    format: LogFormat,
    colour: bool,
) -> Box<dyn Layer<S> + Send + Sync + 'static>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer()
        // It would complain on stderr, and panic where that is what cannot be written.
        .log_internal_errors(false)
        .with_writer(Arc::clone(queue))
        .with_ansi(colour);
    match format {
        LogFormat::Text if colour => Box::new(lines),
        LogFormat::Text => Box::new(lines.fmt_fields(Plain).event_format(Plain)),
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
    }
}

/// How many lines of the log, and of files beside it, were dropped since the process started, because
/// nobody read them or they could not be written.
pub fn dropped() -> u64 {
    LOG.get().map_or(0, |log| log.queue.dropped()) + file::dropped()
}

/// Queues a line as it is, which ends with a line feed: one that has its own form and stands with the
/// others of the log, whatever its filter leaves out.
pub fn push(line: &[u8]) {
    if let Some(log) = LOG.get() {
        log.queue.push(line);
    }
}

/// Whether lines of the log are text without colour. Whoever has very many can then make them itself,
/// which is several times as fast, and [`push`] them.
pub fn is_plain() -> bool {
    LOG.get().is_some_and(|log| log.is_plain)
}

impl Log {
    /// Changes what is logged, from now on.
    ///
    /// # Errors
    ///
    /// The part that is no filter; everything stays as it is.
    pub fn set_filter(&self, filter: &str) -> Result<(), ParseError> {
        let filter = filter.parse::<Targets>()?;
        // It fails only without the subscriber, which lives as long as the process.
        drop(self.filter.reload(filter));
        Ok(())
    }

    /// Goes on with the audit log in the file that has its name now: whoever had it may have moved
    /// it away. May wait for the disk.
    pub fn reopen_audit(&self) {
        if let Some(audit) = &self.audit {
            audit.reopen();
        }
    }
}

impl Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// Says what the log had to leave out. Runs on the thread that writes it.
fn attend(progress: Progress) -> Option<Instant> {
    if progress.dropped > 0 {
        warn!(dropped = progress.dropped, "the log was not read in time: lines are missing here");
    }
    settle(Instant::now(), progress.closing)
}

/// Logs a panic instead of writing it to stderr, which may hold up the thread.
fn log_panic(panic: &PanicHookInfo<'_>) {
    if tracing::enabled!(Level::ERROR) {
        let message = panic.payload_as_str().unwrap_or("no message");
        let at = panic.location().map(tracing::field::display);
        match Backtrace::capture() {
            trace if trace.status() == BacktraceStatus::Captured => {
                error!(at, "panic: {message}\n{trace}");
            }
            _ => error!(at, "panic: {message}"),
        }
    } else if let Some(log) = LOG.get() {
        // As above.
        log.queue.push(format!("{panic}\n").as_bytes());
    }
}

/// The variable with the filter of the log that many programs of Rust obey.
pub const RUST_LOG: &str = "RUST_LOG";

/// The filter in [`RUST_LOG`]. One that is no filter is as good as none, since it may be meant for
/// another program; the log says so when it starts.
pub fn rust_log() -> Option<String> {
    in_rust_log()?.ok()
}

fn in_rust_log() -> Option<Result<String, String>> {
    let filter = std::env::var(RUST_LOG).ok().filter(|filter| !filter.is_empty())?;
    Some(check_filter(&filter).map(|()| filter))
}

/// The filter of the flag, else of [`RUST_LOG`], else `info`.
pub fn filter_or_default(flag: Option<String>) -> String {
    flag.or_else(rust_log).filter(|filter| !filter.is_empty()).unwrap_or_else(|| "info".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tracing::{debug, dispatcher, info};

    use super::*;

    /// What is in a log whose filter changes again and again.
    fn logged(audit: Option<LogFile>) -> Vec<String> {
        let (mut reader, pipe) = io::pipe().unwrap();
        let output = Output::start("test", pipe, |_| None).unwrap();
        let filter = "info".parse().unwrap();
        let (dispatch, log) = log_to(output, filter, LogFormat::Text, false, audit);
        dispatcher::with_default(&dispatch, || {
            for (filter, number) in [("info", 1), ("debug", 2), ("=no=", 3), ("off", 4)] {
                assert_eq!(log.set_filter(filter).is_err(), number == 3);
                info!("info {number}");
                debug!("debug {number}");
                info!(target: AUDIT, "audit {number}");
            }
        });
        drop((dispatch, log));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().map(|line| line.rsplit_once(": ").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn another_filter_counts_from_the_next_line_on_and_not_for_the_audit_log() {
        let expected =
            ["info 1", "audit 1", "info 2", "debug 2", "audit 2", "info 3", "debug 3", "audit 3"];
        assert_eq!(logged(None), expected);

        let path = std::env::temp_dir().join(format!("sallyport-filter-{}", std::process::id()));
        assert_eq!(logged(Some(LogFile::start(AUDIT_LOG, &path).unwrap())), expected);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let messages = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["message"].as_str().unwrap().to_owned()
        });
        assert!(messages.eq((1..=4).map(|number| format!("audit {number}"))), "{text}");
    }
}
