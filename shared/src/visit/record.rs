//! The records of a data stream: bytes in, records out, no I/O.
//!
//! A record is a header of four bytes, the kind and the length of the body (24 bits, big-endian),
//! and the body. `docs/protocol.md` lists them with their bytes.

use std::fmt;
use std::ops::Range;

use super::open::Open;
use crate::carry::PIECE;
use crate::kit::logging::Foreign;

/// The length of a record's header in bytes.
pub const HEADER: usize = 4;

/// The longest body of a record in bytes. A `DATA` record is cut into several before that.
pub const MAX_DATA: usize = (1 << 24) - 1;

/// The most payload in one `DATA` record that this crate sends, in bytes: with its header one
/// [`PIECE`].
pub const CHUNK: usize = PIECE - HEADER;

/// The longest body in bytes of any record but `DATA`; such a body is collected before it is
/// decoded. An `OPEN` with all that is defined today has 380 bytes; the rest is room for more.
const MAX_BODY: usize = 1024;

/// The longest explanation in a `FAILED` record, in bytes.
const MAX_EXPLANATION: usize = 256;

const OPEN: u8 = 1;
const SEEN: u8 = 2;
const CONNECTED: u8 = 3;
const FAILED: u8 = 4;
const DATA: u8 = 5;
const END: u8 = 6;
const ABORT: u8 = 7;

/// A record other than `DATA`, whose payload is never copied into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A visitor has come. The first record of a stream, from the relay.
    Open(Open),
    /// The client has the stream and is about to dial. Its first record.
    Seen,
    /// The local service accepted the connection.
    Connected,
    /// It did not. Nothing follows.
    Failed(Failure),
    /// No more data this way.
    End,
    /// The TCP connection behind this end of the stream is gone. Nothing follows.
    Abort(Abort),
}

/// Why there is no connection to the local service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason, for programs.
    pub reason: FailureReason,
    /// The reason, for people.
    pub explanation: String,
}

/// The closed list of reasons in a `FAILED` record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The local service refused, or could not be reached.
    Refused,
    /// The local service did not answer in time.
    TimedOut,
    /// The client has no such tunnel.
    UnknownTunnel,
    /// The client has reached a limit: of open files, for one.
    Limit,
}

/// Why an end of a stream was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The TCP connection was reset or failed.
    Reset,
    /// Nothing moved for too long.
    TimedOut,
    /// The program is stopping and its grace period is over.
    Stopping,
}

/// What [`Decoder::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record other than `DATA`.
    Record(Record),
    /// Payload: this range of the input. Never empty.
    Data(Range<usize>),
}

/// The bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// No record is of this kind.
    Kind(u8),
    /// A body of this many bytes does not fit the kind.
    Length(u8, usize),
    /// The body does not decode.
    Body(u8),
}

/// Finds the records in a stream of bytes that arrives in arbitrary pieces.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER],
    /// How much of the header has come.
    have: usize,
    /// How much of a `DATA` body is still to come.
    payload: usize,
    /// What has come of another body.
    body: Vec<u8>,
}

impl Decoder {
    /// The next item in `input[*at..]`; `at` moves behind it. `None`: the input is used up.
    ///
    /// # Errors
    ///
    /// After an error the stream is of no more use.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Item>, BadRecord> {
        loop {
            let rest = &input[*at..];
            if rest.is_empty() {
                return Ok(None);
            }
            if self.payload > 0 {
                let start = *at;
                let n = self.payload.min(rest.len());
                self.payload -= n;
                *at += n;
                return Ok(Some(Item::Data(start..*at)));
            }
            if self.have < HEADER {
                let n = (HEADER - self.have).min(rest.len());
                self.header[self.have..self.have + n].copy_from_slice(&rest[..n]);
                self.have += n;
                *at += n;
                if self.have < HEADER {
                    return Ok(None);
                }
                if self.begin()? {
                    return self.finish().map(Some);
                }
                continue;
            }
            let n = (self.length() - self.body.len()).min(rest.len());
            self.body.extend_from_slice(&rest[..n]);
            *at += n;
            if self.body.len() == self.length() {
                return self.finish().map(Some);
            }
        }
    }

    /// Looks at a complete header. Returns whether the record is complete with it.
    fn begin(&mut self) -> Result<bool, BadRecord> {
        let (kind, length) = (self.header[0], self.length());
        let fits = match kind {
            OPEN | FAILED => (1..=MAX_BODY).contains(&length),
            SEEN | CONNECTED | END => length == 0,
            DATA => length > 0,
            ABORT => length == 1,
            _ => return Err(BadRecord::Kind(kind)),
        };
        if !fits {
            return Err(BadRecord::Length(kind, length));
        }
        if kind == DATA {
            (self.have, self.payload) = (0, length);
            return Ok(false);
        }
        Ok(length == 0)
    }

    /// Decodes a complete record and gets ready for the next.
    fn finish(&mut self) -> Result<Item, BadRecord> {
        let kind = self.header[0];
        let body = std::mem::take(&mut self.body);
        self.have = 0;
        let record = match kind {
            OPEN => Open::decode(&body).map(Record::Open),
            FAILED => decode_failure(&body).map(Record::Failed),
            ABORT => body.first().and_then(|byte| Abort::decode(*byte)).map(Record::Abort),
            SEEN => Some(Record::Seen),
            CONNECTED => Some(Record::Connected),
            END => Some(Record::End),
            _ => None,
        };
        record.map(Item::Record).ok_or(BadRecord::Body(kind))
    }

    fn length(&self) -> usize {
        let [_, high, middle, low] = self.header;
        u32::from_be_bytes([0, high, middle, low]) as usize
    }
}

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Open(open) => (OPEN, open.encode()),
            Self::Seen => (SEEN, Vec::new()),
            Self::Connected => (CONNECTED, Vec::new()),
            Self::Failed(failure) => (FAILED, encode_failure(failure)),
            Self::End => (END, Vec::new()),
            Self::Abort(abort) => (ABORT, vec![abort.code()]),
        };
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(&header(kind, body.len()));
        bytes.extend_from_slice(&body);
        bytes
    }
}

/// The header of a `DATA` record of `length` bytes, from 1 to [`MAX_DATA`].
pub fn data_header(length: usize) -> [u8; HEADER] {
    debug_assert!((1..=MAX_DATA).contains(&length), "a DATA record of {length} bytes");
    header(DATA, length)
}

fn header(kind: u8, length: usize) -> [u8; HEADER] {
    let [_, high, middle, low] = (length as u32).to_be_bytes();
    [kind, high, middle, low]
}

/// Reason (1), explanation.
fn encode_failure(failure: &Failure) -> Vec<u8> {
    let mut end = failure.explanation.len().min(MAX_EXPLANATION);
    while !failure.explanation.is_char_boundary(end) {
        end -= 1;
    }
    let mut body = vec![failure.reason.code()];
    body.extend_from_slice(&failure.explanation.as_bytes()[..end]);
    body
}

fn decode_failure(body: &[u8]) -> Option<Failure> {
    let (code, explanation) = body.split_first()?;
    let explanation = std::str::from_utf8(explanation).ok()?.to_owned();
    Some(Failure { reason: FailureReason::decode(*code)?, explanation })
}

impl FailureReason {
    fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::TimedOut => 2,
            Self::UnknownTunnel => 3,
            Self::Limit => 4,
        }
    }

    fn decode(code: u8) -> Option<Self> {
        let all = [Self::Refused, Self::TimedOut, Self::UnknownTunnel, Self::Limit];
        all.into_iter().find(|reason| reason.code() == code)
    }
}

impl Abort {
    fn code(self) -> u8 {
        match self {
            Self::Reset => 1,
            Self::TimedOut => 2,
            Self::Stopping => 3,
        }
    }

    fn decode(code: u8) -> Option<Self> {
        [Self::Reset, Self::TimedOut, Self::Stopping].into_iter().find(|abort| abort.code() == code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            FailureReason::Refused => "the local service cannot be reached",
            FailureReason::TimedOut => "the local service does not answer",
            FailureReason::UnknownTunnel => "the client has no such tunnel",
            FailureReason::Limit => "the client has reached a limit",
        };
        write!(f, "{reason}: {}", Foreign(&self.explanation))
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "reset",
            Self::TimedOut => "given up: nothing moved for too long",
            Self::Stopping => "cut off by a stop",
        })
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "no record is of kind {kind}"),
            Self::Length(kind, length) => write!(f, "{length} bytes in a record of kind {kind}"),
            Self::Body(kind) => write!(f, "a record of kind {kind} does not decode"),
        }
    }
}

impl std::error::Error for BadRecord {}

#[cfg(test)]
mod tests;
