//! The little language between the load and the local service.
//!
//! A connection starts with one line that says what the service shall do with it. The line is sent
//! together with the first request, so it costs no round trip of its own. Requests of the web have a
//! language of their own, whose first letter is a large one: see [`web`].

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

pub(crate) mod web;

/// What the service shall do with a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    /// Answer every [`REQUEST_SIZE`] bytes with [`ANSWER_SIZE`] bytes until the end of input.
    Requests,
    /// Answer one request, then close.
    Once,
    /// Send without end and read nothing.
    Source,
    /// Read and count until the end of input.
    Sink,
    /// Answer each byte with the number of bytes that all sinks have read so far, as a
    /// little-endian `u64`. What an upload delivered is known here, not where it was written.
    Sunk,
}

impl fmt::Display for Order {
    /// The line, with its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests\n",
            Self::Once => "once\n",
            Self::Source => "source\n",
            Self::Sink => "sink\n",
            Self::Sunk => "sunk\n",
        })
    }
}

impl FromStr for Order {
    type Err = Error;

    /// Reads a line without its end.
    fn from_str(line: &str) -> Result<Self> {
        Ok(match line {
            "requests" => Self::Requests,
            "once" => Self::Once,
            "source" => Self::Source,
            "sink" => Self::Sink,
            "sunk" => Self::Sunk,
            other => bail!("unknown order {other:?}"),
        })
    }
}

/// Splits what has arrived into the order and what follows its line, or `None` while the line is
/// not complete.
pub(crate) fn parse_order(arrived: &[u8]) -> Result<Option<(Order, &[u8])>> {
    let Some(end) = arrived.iter().position(|byte| *byte == b'\n') else {
        if arrived.len() > LONGEST_LINE {
            bail!("no order within {LONGEST_LINE} bytes");
        }
        return Ok(None);
    };
    let line = std::str::from_utf8(&arrived[..end]).context("an order is text")?;
    Ok(Some((line.parse()?, &arrived[end + 1..])))
}

/// A small request, about as long as a bare HTTP one.
pub(crate) const REQUEST_SIZE: usize = 64;

/// A small answer.
pub(crate) const ANSWER_SIZE: usize = 1024;

/// What bulk is read and written with: large enough that the load costs less than what it measures.
pub(crate) const BULK_BUFFER: usize = 256 * 1024;

const LONGEST_LINE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_survives_its_line() {
        for order in [Order::Requests, Order::Once, Order::Source, Order::Sink, Order::Sunk] {
            let arrived = format!("{order}rest");
            assert_eq!(parse_order(arrived.as_bytes()).unwrap(), Some((order, &b"rest"[..])));
        }
    }

    #[test]
    fn an_order_waits_for_its_line_but_not_for_ever() {
        assert_eq!(parse_order(b"requ").unwrap(), None);
        parse_order(b"nonsense\n").unwrap_err();
        parse_order(&[b'x'; LONGEST_LINE + 1]).unwrap_err();
    }
}
