//! What a run says to the person who started it.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes the result, which is what standard output is for.
pub(crate) fn result(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes how far the run is, on standard error so that the result can be redirected alone.
pub(crate) fn progress(text: impl Display) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
}
