//! Answers to somebody who has called a program for nothing else.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints `text` on stdout. Returns the exit status: what cannot be written is an error, and its
/// reason is said on stderr.
pub fn print(text: &[u8]) -> ExitCode {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.flush());
    ExitCode::from(status(written))
}

/// Says on stderr why there is no answer. Returns the exit status.
pub fn failed(reason: &dyn Display) -> ExitCode {
    // Nobody is left to be told of a failure.
    drop(writeln!(io::stderr(), "{reason}"));
    ExitCode::from(FAILURE)
}

/// The exit status after an answer has been `written`.
pub(super) fn status(written: io::Result<()>) -> u8 {
    match written {
        // A reader that has gone has seen enough.
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            // Nobody is left to be told of a failure.
            drop(writeln!(io::stderr(), "cannot write to stdout: {err}"));
            FAILURE
        }
        Ok(()) | Err(_) => 0,
    }
}

/// The exit status of what went wrong.
const FAILURE: u8 = 1;
