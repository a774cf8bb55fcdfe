//! The log: to stderr, as text for people or as JSON for programs.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people, in colour on a terminal
    Text,
    /// One JSON object a line
    Json,
}

/// Checks a filter such as `info` or `relay=debug,info`.
///
/// # Errors
///
/// The part that is no filter.
pub fn check_filter(filter: &str) -> Result<(), ParseError> {
    filter.parse::<Targets>().map(drop)
}

/// Starts logging for the whole process. Called once, by `main`.
///
/// # Errors
///
/// `filter` is no filter.
pub fn start(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    let lines = tracing_subscriber::fmt::layer()
        // It would complain on stderr, and panic where that is what cannot be written.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter.parse::<Targets>()?);
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    Ok(())
}

/// The filter of the flag, else of `RUST_LOG`, else `info`. A `RUST_LOG` that is no filter is as
/// good as none: it may be meant for another program.
pub fn filter_or_default(flag: Option<String>) -> String {
    flag.or_else(|| std::env::var("RUST_LOG").ok().filter(|filter| check_filter(filter).is_ok()))
        .filter(|filter| !filter.is_empty())
        .unwrap_or_else(|| "info".to_owned())
}
