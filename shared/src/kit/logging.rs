//! The log: to stderr, as text for people or as JSON for programs.

use std::fmt::{self, Write};
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

/// Text from the other end of a connection, as it may stand in a log: control characters escaped,
/// so that it cannot look like a line of its own, and cut at 200 characters.
#[derive(Clone, Copy, Debug)]
pub struct Foreign<'a>(pub &'a str);

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 200;
        let mut rest = self.0.chars();
        for c in rest.by_ref().take(LONGEST) {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        if rest.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// The filter of the flag, else of `RUST_LOG`, else `info`. A `RUST_LOG` that is no filter is as
/// good as none: it may be meant for another program.
pub fn filter_or_default(flag: Option<String>) -> String {
    flag.or_else(|| std::env::var("RUST_LOG").ok().filter(|filter| check_filter(filter).is_ok()))
        .filter(|filter| !filter.is_empty())
        .unwrap_or_else(|| "info".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_cannot_look_like_a_line_of_the_log() {
        let forged = "x\n2026-01-01 INFO relay: \u{1b}[31mforged";
        assert_eq!(Foreign(forged).to_string(), "x\\n2026-01-01 INFO relay: \\u{1b}[31mforged");
        assert_eq!(Foreign(&"ä".repeat(201)).to_string(), format!("{}…", "ä".repeat(200)));
    }
}
