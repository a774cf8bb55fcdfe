//! How much is forgiven of what no honest peer sends much of, and when the session ends for it.
//!
//! Each kind has a budget of its own, so that none uses up what another needs. A budget is earned:
//! by time, or by what has come or gone that an honest peer answers in this way. So it does not
//! matter how long a session lives or how busy it is, and what remains of an attack costs whoever
//! sends it about as much as it costs here. Counts come in and a verdict comes out; the time is
//! that of the read that brought the frame, and no clock is looked at.

use std::time::{Duration, Instant};

use yamux::DEFAULT_CREDIT;

use super::breach::Breach;
use super::frame::{FIN, HEADER, Header, Kind, RST, SYN};
use super::link::Link;
use crate::carry::Role;
use crate::kit::budget::Budget;

/// So many pings may come at once: far more than any implementation has on the way.
const PINGS: u32 = 256;

/// One more ping is forgiven after so long. An honest peer sends one in some seconds, to measure
/// the round trip or to keep the connection alive.
const PING_EACH: Duration = Duration::from_millis(62);

/// So many streams a relay may open at once: four times as many as may be open, for visitors who
/// come and go while the client is not looking.
const STREAMS: u32 = 65_536;

/// One more stream may be opened after so long: more than twice as often as a relay manages to on
/// one core.
const STREAM_EACH: Duration = Duration::from_micros(16);

/// Bodies below this many bytes are tiny: even the header of a record is longer.
const TINY: usize = 4;

/// So many tiny frames are always forgiven; a window that runs out in the middle of a record
/// makes one now and then.
const TINY_BURST: u64 = 1024;

/// Beyond the burst one tiny frame is forgiven for this many bytes received.
const BYTES_PER_TINY: u64 = 16 * 1024;

/// So many window updates are always forgiven.
const GRANTS: u64 = 1024;

/// Beyond them one window update is forgiven for each data frame sent, and for this many bytes
/// sent. Nobody can grant again what has not come; an honest peer does so when half a window has.
const BYTES_PER_GRANT: u64 = 4 * 1024;

/// So many bytes for nobody are always forgiven, headers included: resets of streams that went
/// before they were ever sent.
const STRAYS: u64 = 1024 * 1024;

/// Beyond them as many as the first window of each stream, and so many times what came for
/// somebody. All that is on its way when a stream is given up is one window; one that has grown is
/// at most twice as large as what came through it.
const STRAYS_PER_WANTED: u64 = 2;

/// The number of the first stream that a client opens.
const FIRST: u32 = 1;

/// What a peer has sent so far, as far as there is a limit to it.
#[derive(Debug)]
pub(super) struct Police {
    role: Role,
    /// The stream that carries the session's own words.
    control: u32,
    pings: Budget,
    openings: Budget,
    /// Streams that the peer has opened.
    opened: u32,
    /// Bytes of bodies.
    received: u64,
    tiny: u64,
    grants: u64,
    /// Bytes of frames for somebody and for nobody, headers included.
    wanted: u64,
    strays: u64,
}

/// What this end has sent so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Streams that this end has opened.
    pub(super) opened: u64,
    /// Data frames, and the bytes of their bodies.
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl Police {
    /// A peer of an end in this role, of which nothing has come `now`.
    pub(super) fn new(role: Role, now: Instant) -> Self {
        Self {
            role,
            control: FIRST,
            pings: Budget::new(PINGS, PING_EACH, now),
            openings: Budget::new(STREAMS, STREAM_EACH, now),
            opened: 0,
            received: 0,
            tiny: 0,
            grants: 0,
            wanted: 0,
            strays: 0,
        }
    }

    /// A ping has come that wants an answer.
    pub(super) fn ping(&mut self, now: Instant) -> Result<(), Breach> {
        if self.pings.takes(now) { Ok(()) } else { Err(Breach::PingFlood) }
    }

    /// A frame of a stream has come.
    pub(super) fn frame(
        &mut self,
        header: Header,
        link: &Link,
        sent: Sent,
        now: Instant,
    ) -> Result<(), Breach> {
        if header.flags & SYN != 0 {
            self.opening(header.stream, now)?;
        }
        match header.kind {
            Kind::Data => self.body(header, link),
            Kind::WindowUpdate if header.flags & (SYN | FIN | RST) == 0 => self.grant(sent),
            _ => Ok(()),
        }
    }

    /// The peer opens a stream.
    fn opening(&mut self, stream: u32, now: Instant) -> Result<(), Breach> {
        self.opened = self.opened.saturating_add(1);
        if self.opened > self.role.most_opened() || !self.role.is_of_peer(stream) {
            return Err(Breach::StreamNotAllowed);
        }
        if !self.role.is_visit(stream) {
            self.control = stream;
        }
        if self.openings.takes(now) { Ok(()) } else { Err(Breach::StreamFlood) }
    }

    fn body(&mut self, header: Header, link: &Link) -> Result<(), Breach> {
        let limit = link.largest_frame();
        if header.length > limit {
            return Err(Breach::FrameTooLarge(header.length, limit));
        }
        self.received += u64::from(header.length);
        if self.received > link.most_received() {
            return Err(Breach::TooMuch);
        }
        // A stream is opened, ended and reset by frames without a body.
        if header.body() < TINY && (header.body() > 0 || header.flags & (SYN | FIN | RST) == 0) {
            self.tiny += 1;
            if self.tiny > TINY_BURST + self.received / BYTES_PER_TINY {
                return Err(Breach::TinyFrames);
            }
        }
        Ok(())
    }

    /// The peer grants more of a window.
    fn grant(&mut self, sent: Sent) -> Result<(), Breach> {
        self.grants += 1;
        let earned = sent.frames + sent.bytes / BYTES_PER_GRANT;
        if self.grants > GRANTS + earned { Err(Breach::WindowUpdates) } else { Ok(()) }
    }

    /// Whether the stream carries the session's own words.
    pub(super) fn is_control(&self, stream: u32) -> bool {
        stream == self.control
    }

    /// The frame was for somebody.
    pub(super) fn wanted(&mut self, header: Header) {
        self.wanted += (HEADER + header.body()) as u64;
    }

    /// The frame was for nobody: its stream has gone, or there never was one.
    pub(super) fn stray(&mut self, header: Header, sent: Sent) -> Result<(), Breach> {
        self.strays += (HEADER + header.body()) as u64;
        let streams = sent.opened + u64::from(self.opened);
        let windows = streams * u64::from(DEFAULT_CREDIT);
        let earned = windows + self.wanted * STRAYS_PER_WANTED;
        if self.strays > STRAYS + earned { Err(Breach::StrayFrames) } else { Ok(()) }
    }
}

impl Sent {
    /// A frame is being sent.
    pub(super) fn count(&mut self, header: Header) {
        if header.kind == Kind::Data {
            self.frames += 1;
            self.bytes += header.body() as u64;
        }
        if header.kind != Kind::Ping && header.flags & SYN != 0 {
            self.opened += 1;
        }
    }
}

#[cfg(test)]
mod tests;
