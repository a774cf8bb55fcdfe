//! What yamux has written and the socket has not taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::breach::Breach;
use super::frame::{self, HEADER, Header, Kind, SYN};
use super::link::Link;
use super::pace::{Advice, Pace};
use super::police::Sent;
use super::streams::Streams;
use crate::carry::{Carry, Role};

/// So many bytes are collected before they are sent without waiting for the next read.
const COLLECT: usize = 16 * 1024;

/// So many pongs wait for the socket at most. An honest peer has one ping on the way.
const PONGS: usize = 64;

/// Frames on their way to the socket.
#[derive(Debug)]
pub(super) struct Outbound {
    role: Role,
    /// `start..` waits for the socket.
    buffer: Vec<u8>,
    start: usize,
    /// The carrier has taken bytes since it was last flushed.
    unflushed: bool,
    /// The rest of the body of the frame that yamux is writing. Zero: between two frames.
    body: usize,
    /// Pongs that wait for the end of that frame.
    pongs: VecDeque<u32>,
    /// The last frame that yamux was given, for the log.
    inbound: Option<Header>,
    sent: Sent,
    pace: Pace,
}

impl Outbound {
    /// For a line of which nothing is known yet.
    pub(super) fn new<T: Carry>(role: Role, io: &T) -> Self {
        io.limit_unsent(Advice::start().unsent);
        Self {
            role,
            buffer: Vec::new(),
            start: 0,
            unflushed: false,
            body: 0,
            pongs: VecDeque::new(),
            inbound: None,
            sent: Sent::default(),
            pace: Pace::new(),
        }
    }

    /// Takes note of a frame that yamux may answer with a go-away.
    pub(super) fn in_answer_to(&mut self, header: Header) {
        self.inbound = Some(header);
    }

    /// What has been sent so far.
    pub(super) fn so_far(&self) -> Sent {
        self.sent
    }

    /// Answers a ping as soon as no other frame is in the middle.
    pub(super) fn pong(&mut self, value: u32) -> Result<(), Breach> {
        if self.pongs.len() >= PONGS || self.pending() > 2 * COLLECT {
            return Err(Breach::PingFlood);
        }
        self.pongs.push_back(value);
        self.place_pongs();
        Ok(())
    }

    /// Takes bytes from yamux: collects them, or sends them when they are many.
    pub(super) fn poll_write<T: Carry>(
        &mut self,
        io: &mut T,
        link: &Link,
        streams: &mut Streams,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let header = if self.body == 0 { Some(self.look_at(link, bytes)?) } else { None };
        if self.pending() + bytes.len() > COLLECT {
            if self.body > 0 {
                return self.poll_send_through(io, link, cx, bytes);
            }
            // A frame begins only when all that came before it has been taken.
            ready!(self.poll_drain(io, link, cx))?;
        }
        self.buffer.extend_from_slice(bytes);
        match header {
            Some(header) => {
                self.body = header.body();
                self.sent.count(header);
                if self.role.is_visit(header.stream) {
                    link.room.leave(header.body());
                    if header.is_end() && !streams.finishes(header.stream) {
                        let begin = self.buffer.len() - HEADER;
                        frame::make_reset(&mut self.buffer[begin..]);
                    }
                }
            }
            None => self.body -= bytes.len(),
        }
        self.place_pongs();
        Poll::Ready(Ok(bytes.len()))
    }

    /// Sends all that has been collected, and what the carrier holds back. Pending: the line takes
    /// no more for now.
    pub(super) fn poll_drain<T: Carry>(
        &mut self,
        io: &mut T,
        link: &Link,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pending() > 0 {
            let written = Pin::new(&mut *io).poll_write(cx, &self.buffer[self.start..]);
            let n = ready!(self.paced(io, link, written))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent(n);
        }
        if self.unflushed {
            let flushed = Pin::new(&mut *io).poll_flush(cx);
            if flushed.is_pending() {
                self.refused(io, link);
            }
            ready!(flushed)?;
            self.unflushed = false;
        }
        if self.pace.is_full() {
            let advice = self.pace.drained(Instant::now());
            follow(advice, io, link);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what has been collected and `bytes` of a body behind it, without copying them.
    fn poll_send_through<T: Carry>(
        &mut self,
        io: &mut T,
        link: &Link,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let pending = self.pending();
            let slices = [IoSlice::new(&self.buffer[self.start..]), IoSlice::new(bytes)];
            let written = Pin::new(&mut *io).poll_write_vectored(cx, &slices);
            let n = ready!(self.paced(io, link, written))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent(n.min(pending));
            if n > pending {
                let n = n - pending;
                self.body -= n;
                self.place_pongs();
                return Poll::Ready(Ok(n));
            }
        }
    }

    /// Passes on what a write came to, once the pace of the line has been taken from it.
    fn paced<T: Carry>(
        &mut self,
        io: &T,
        link: &Link,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(n)) => {
                self.unflushed = true;
                link.life.sent(*n);
                if self.pace.sent(*n) {
                    self.look(io, link, Instant::now());
                }
            }
            Poll::Ready(Err(_)) => (),
            Poll::Pending => self.refused(io, link),
        }
        written
    }

    /// The line takes no more for now.
    fn refused<T: Carry>(&mut self, io: &T, link: &Link) {
        let advice = self.pace.refused(Instant::now());
        follow(advice, io, link);
    }

    /// Looks at what the line has taken up to `now`.
    pub(super) fn look<T: Carry>(&mut self, io: &T, link: &Link, now: Instant) {
        if !self.pace.is_worth_a_look() {
            return;
        }
        let advice = self.pace.look(now);
        follow(advice, io, link);
    }

    /// How many bytes wait for the socket.
    fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Notes that the socket took `n` bytes of the buffer.
    fn sent(&mut self, n: usize) {
        self.start += n;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > COLLECT {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
    }

    /// Looks at the header of a frame that yamux is about to write, which it does in one piece,
    /// and returns it. A go-away counts although it may not get out any more: yamux reads on after
    /// it, with a hole where the frame was that it refused.
    fn look_at(&self, link: &Link, bytes: &[u8]) -> io::Result<Header> {
        let header = bytes.first_chunk::<HEADER>().filter(|_| bytes.len() == HEADER);
        let header = header
            .and_then(|header| Header::decode(header).ok())
            .ok_or_else(|| io::Error::other("yamux began a frame with something else"))?;
        // Code 0 is our own ordinary close.
        if header.kind == Kind::GoAway && header.length != 0 {
            let cause = self.inbound.map_or_else(|| "nothing".into(), |frame| format!("{frame:?}"));
            link.break_off(Breach::GoAwaySent(header.length, cause));
        }
        if header.flags & SYN != 0 {
            link.life.asked();
        }
        Ok(header)
    }

    /// Puts waiting pongs between two frames.
    fn place_pongs(&mut self) {
        if self.body == 0 {
            for value in self.pongs.drain(..) {
                self.buffer.extend_from_slice(&frame::pong(value));
            }
        }
    }
}

/// Does as the pace of the line advises, if it has changed.
fn follow<T: Carry>(advice: Option<Advice>, io: &T, link: &Link) {
    if let Some(advice) = advice {
        io.limit_unsent(advice.unsent);
        link.room.set(advice);
    }
}
