//! Answers to somebody who has called a program for nothing else.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints `text` on stdout. Returns the exit status: what cannot be written is an error, and its
/// reason is said on stderr.
pub fn print(text: &[u8]) -> ExitCode {
    ExitCode::from(status(write(text)))
}

/// Writes `text` to stdout, for whoever has to know that it has come there.
///
/// # Errors
///
/// What the system says; also that there is no reader.
pub fn write(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush())
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
