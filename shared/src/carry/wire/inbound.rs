//! What has been read from the socket and not yet by yamux.

use std::io;
use std::time::Instant;

use super::breach::Breach;
use super::frame::{self, ACK, HEADER, Header, Kind};
use super::link::Link;
use super::outbound::Outbound;
use super::police::Police;
use super::streams::{Passage, Streams};
use crate::carry::Role;

/// The read-ahead starts with this many bytes: enough for a handshake, little for a stranger.
const SMALLEST: usize = 2 * 1024;

/// The read-ahead grows to this many bytes under traffic.
const LARGEST: usize = 64 * 1024;

/// A body of at least this many bytes is worth a system call of its own.
const BULK: usize = 32 * 1024;

/// How far to read ahead amid bulk: what goes through the buffer is copied once more.
const AMID_BULK: usize = 2 * 1024;

/// What becomes of a frame of so many bytes, its header included.
enum Verdict {
    Pass(usize),
    Refuse(usize),
    /// Its flags pass, as those of another frame.
    PassFlags(usize),
}

/// The read-ahead buffer, and how much of it yamux may have.
#[derive(Debug)]
pub(super) struct Inbound {
    role: Role,
    /// Always initialised in full; `start..end` holds what has come.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The rest of the current frame, looked at and let through.
    allowed: usize,
    /// The rest of a frame that is not let through.
    refused: usize,
    /// Whether the current frame, or else the last one, is large.
    bulk: bool,
    police: Police,
}

impl Inbound {
    pub(super) fn new(role: Role, now: Instant) -> Self {
        Self {
            role,
            buffer: vec![0; SMALLEST],
            start: 0,
            end: 0,
            allowed: 0,
            refused: 0,
            bulk: false,
            police: Police::new(role, now),
        }
    }

    /// How many bytes may go to yamux before the next header has to be looked at.
    pub(super) fn allowed(&self) -> usize {
        self.allowed
    }

    pub(super) fn has_bytes(&self) -> bool {
        self.start < self.end
    }

    /// Room for a read of the socket. Never empty while no complete header is buffered.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let most = if self.bulk { AMID_BULK } else { self.buffer.len() };
        let end = (self.end + most).min(self.buffer.len());
        &mut self.buffer[self.end..end]
    }

    /// Room for what nobody wants any more.
    pub(super) fn scrap(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Notes that a read put `n` bytes into the space.
    pub(super) fn filled(&mut self, n: usize) {
        self.end += n;
        if self.end == self.buffer.len() && self.end < LARGEST {
            self.buffer.resize((self.end * 4).min(LARGEST), 0);
        }
    }

    /// Gives yamux as much as is here, allowed and wanted.
    pub(super) fn take(&mut self, buf: &mut [u8]) -> usize {
        let n = self.allowed.min(self.end - self.start).min(buf.len());
        buf[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        self.allowed -= n;
        n
    }

    /// Notes that `n` bytes went past the buffer, from the socket straight to yamux.
    pub(super) fn passed(&mut self, n: usize) {
        self.allowed -= n;
    }

    /// What yamux is told when the connection has ended: an end between two frames is an ordinary
    /// one.
    pub(super) fn at_end(&self) -> io::Result<usize> {
        if self.allowed == 0 && self.refused == 0 && !self.has_bytes() {
            return Ok(0);
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Looks at the next header and lets its frame through, or takes it out if it is a ping or for
    /// nobody. `now` is when it was read. Returns `false` when more has to arrive first.
    pub(super) fn next_frame(
        &mut self,
        link: &Link,
        streams: &mut Streams,
        outbound: &mut Outbound,
        now: Instant,
    ) -> io::Result<bool> {
        let discarded = self.refused.min(self.end - self.start);
        self.start += discarded;
        self.refused -= discarded;
        if self.refused > 0 {
            return Ok(false);
        }
        let arrived = &self.buffer[self.start..self.end];
        let checked = match (arrived.first_chunk::<HEADER>().map(Header::decode), arrived.first()) {
            (Some(Ok(header)), _) => self.check(header, link, streams, outbound, now),
            (Some(Err(byte)), _) => Err(Breach::NotYamux(byte)),
            // What says little and waits is no peer either.
            (None, Some(&byte)) if byte != frame::VERSION => Err(Breach::NotYamux(byte)),
            (None, _) => return Ok(false),
        };
        match checked {
            Ok(Verdict::Pass(length)) => {
                self.allowed = length;
                // Window updates come amid bulk too, and say nothing about it.
                if length > HEADER {
                    self.bulk = length >= BULK;
                }
                Ok(true)
            }
            Ok(Verdict::Refuse(length)) => {
                self.refused = length;
                Ok(true)
            }
            Ok(Verdict::PassFlags(length)) => {
                frame::strip(&mut self.buffer[self.start..]);
                self.allowed = HEADER;
                self.refused = length - HEADER;
                Ok(true)
            }
            Err(breach) => {
                link.break_off(breach.clone());
                Err(breach.into())
            }
        }
    }

    /// Whether yamux gets to see the frame.
    fn check(
        &mut self,
        header: Header,
        link: &Link,
        streams: &mut Streams,
        outbound: &mut Outbound,
        now: Instant,
    ) -> Result<Verdict, Breach> {
        let length = HEADER + header.body();
        match header.kind {
            // yamux knows whether it waits for an answer.
            Kind::Ping if header.flags & ACK == 0 => {
                self.police.ping(now)?;
                outbound.pong(header.length)?;
                return Ok(Verdict::Refuse(length));
            }
            Kind::Ping => (),
            Kind::GoAway => link.break_off(Breach::GoAwayReceived(header.length)),
            Kind::Data | Kind::WindowUpdate => {
                return self.check_stream(header, link, streams, outbound, now);
            }
        }
        outbound.in_answer_to(header);
        Ok(Verdict::Pass(length))
    }

    /// The same for the frame of a stream.
    fn check_stream(
        &mut self,
        header: Header,
        link: &Link,
        streams: &mut Streams,
        outbound: &mut Outbound,
        now: Instant,
    ) -> Result<Verdict, Breach> {
        let sent = outbound.so_far();
        self.police.frame(header, link, sent, now)?;
        let passage = if self.role.is_visit(header.stream) {
            streams.arrived(header)
        } else if self.police.is_control(header.stream) {
            Passage::Whole
        } else {
            Passage::None
        };
        if passage == Passage::Whole {
            self.police.wanted(header);
        } else {
            self.police.stray(header, sent)?;
        }
        outbound.in_answer_to(header);
        let length = HEADER + header.body();
        Ok(match passage {
            Passage::Whole | Passage::Late => Verdict::Pass(length),
            Passage::Flags => Verdict::PassFlags(length),
            Passage::None => Verdict::Refuse(length),
        })
    }
}
