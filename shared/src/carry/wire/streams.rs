//! What the wire keeps an eye on for each stream that carries a visit.
//!
//! yamux bounds the *bytes* that a stream may have unread, not what they cost: it keeps about
//! 64 bytes beside each frame. And it keeps a stream that was dropped, with all that
//! still arrives for it, until it has been able to send the reset. The wire therefore counts what
//! is unread, and lets nothing through for a stream that nobody holds any more.
//!
//! The table is the wire's alone, so a frame costs neither a lock nor a strong hash. New streams
//! come through a [`Lobby`]; those that were dropped are swept out when the table is full.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::frame::{ACK, FIN, Header, Kind, RST, SYN};
use super::held::Tally;
use super::link::Link;

/// So many unread frames are never too many.
const ALWAYS_FINE: i32 = 8192;

/// Beyond that, unread frames have to carry so many bytes on average: half of what they cost.
const LEAST_AVERAGE: i64 = 32;

/// The streams in use, and some that were.
#[derive(Debug)]
pub(super) struct Streams {
    link: Arc<Link>,
    table: Table,
}

type Table = HashMap<u32, Arrived, BuildHasherDefault<IdHasher>>;

/// What has arrived for a stream. Both numbers start anew at zero when they are full, as do those
/// of the holder: only the difference counts.
#[derive(Debug)]
struct Arrived {
    tally: Arc<Tally>,
    frames: u32,
    bytes: u32,
}

/// New streams, on their way from the driver to the wire. Both belong to one task, so nobody ever
/// waits for the lock.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    new: Mutex<Vec<(u32, Arc<Tally>)>>,
    /// Asked far more often than it is so.
    any: AtomicBool,
}

/// What yamux may have of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// All of it.
    Whole,
    /// All of it, although nobody waits for it: yamux may know the stream for a while longer.
    Late,
    /// Its flags: yamux knows the stream for a while longer and has to learn of its end.
    Flags,
    /// Nothing.
    None,
}

impl Streams {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, table: HashMap::default() }
    }

    /// A frame has come for a stream that carries a visit. Returns what may get through.
    pub(super) fn arrived(&mut self, header: Header) -> Passage {
        if header.flags & SYN != 0 {
            // The stream is about to be made.
            return Passage::Whole;
        }
        let fits = self.find(header.stream).is_some_and(|stream| stream.arrived(header));
        match header.kind {
            _ if fits => Passage::Whole,
            Kind::Data if header.flags & (ACK | FIN | RST) != 0 => Passage::Flags,
            Kind::Data => Passage::None,
            _ => Passage::Late,
        }
    }

    /// yamux sends a FIN. Whether the holder wanted it: otherwise it has dropped the stream.
    pub(super) fn finishes(&mut self, id: u32) -> bool {
        self.find(id).is_some_and(|stream| stream.tally.finishes())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn find(&mut self, id: u32) -> Option<&mut Arrived> {
        self.link.lobby.leave(&mut self.table);
        self.table.get_mut(&id)
    }
}

impl Drop for Streams {
    /// The session is over, and with it every stream.
    fn drop(&mut self) {
        self.link.lobby.leave(&mut self.table);
        self.table.values().for_each(|stream| stream.tally.reset());
        self.link.room.close();
    }
}

impl Arrived {
    /// Takes note of a frame. Returns whether it is for somebody, and its body may get through.
    fn arrived(&mut self, header: Header) -> bool {
        if self.tally.is_ended_before(header) {
            return false;
        }
        if header.flags & RST != 0 {
            self.tally.reset();
        } else if header.flags & FIN != 0 {
            self.tally.finished();
        }
        if self.tally.is_dropped() || self.tally.is_overrun() {
            return false;
        }
        if header.body() == 0 {
            // yamux keeps none of these.
            return true;
        }
        self.frames = self.frames.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(header.body() as u32);
        let (frames, bytes) = self.tally.taken();
        // Below zero, at an end that does not open streams: the frame that opened this one was
        // not counted.
        let frames = self.frames.wrapping_sub(frames).cast_signed();
        let bytes = self.bytes.wrapping_sub(bytes).cast_signed();
        if frames > ALWAYS_FINE && i64::from(bytes) < i64::from(frames) * LEAST_AVERAGE {
            self.tally.overrun();
        }
        !self.tally.is_overrun()
    }
}

impl Lobby {
    /// A stream has been made.
    pub(super) fn enter(&self, id: u32, tally: &Arc<Tally>) {
        let mut new = self.new.lock();
        if new.len() == new.capacity() {
            new.retain(|(_, tally)| !tally.is_over());
        }
        new.push((id, Arc::clone(tally)));
        self.any.store(true, Ordering::Relaxed);
    }

    /// Moves all that are new to the table.
    fn leave(&self, table: &mut Table) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        self.any.store(false, Ordering::Relaxed);
        for (id, tally) in self.new.lock().drain(..).filter(|(_, tally)| !tally.is_over()) {
            if table.len() == table.capacity() {
                table.retain(|_, stream| !stream.tally.is_over());
                // Not again before as many have come as there are.
                table.reserve(table.len().max(1));
            }
            table.insert(id, Arrived { tally, frames: 0, bytes: 0 });
        }
    }
}

/// Spreads numbers that count up. A relay could choose some that collide; it would slow down its
/// own session alone.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        // 2^64 divided by the golden ratio. The table takes its bits from both ends.
        let spread = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Wake, Waker};

    use super::super::held::Held;
    use super::*;
    use crate::carry::Role;

    fn frame(kind: Kind, flags: u16, length: u32) -> Header {
        Header { kind, flags, stream: 2, length }
    }

    fn data(length: u32) -> Header {
        frame(Kind::Data, 0, length)
    }

    fn streams() -> (Streams, Held) {
        let link = Arc::new(Link::new(Role::Client));
        let held = Held::new(&link, 2);
        (Streams::new(link), held)
    }

    fn is_reset(held: &Held) -> bool {
        held.poll_reset(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn frames_that_nobody_takes_must_carry_something() {
        let (mut streams, held) = streams();
        for _ in 0..ALWAYS_FINE {
            assert_eq!(streams.arrived(data(5)), Passage::Whole);
        }
        assert!(!is_reset(&held));
        assert_eq!(streams.arrived(data(5)), Passage::None);
        assert_eq!(streams.arrived(data(1_000_000)), Passage::None, "a hole stays a hole");
        assert!(held.is_overrun() && is_reset(&held));
    }

    #[test]
    fn frames_that_are_taken_may_be_as_small_as_they_like() {
        let (mut streams, held) = streams();
        // The one that opened the stream.
        held.taken(5);
        for _ in 0..4 * ALWAYS_FINE {
            assert_eq!(streams.arrived(data(5)), Passage::Whole);
            held.taken(5);
        }
    }

    #[test]
    fn of_a_frame_for_nobody_only_the_flags_get_through() {
        let (mut streams, held) = streams();
        assert_eq!(streams.arrived(frame(Kind::Data, ACK, 5)), Passage::Whole);
        drop(held);
        assert_eq!(streams.arrived(data(5)), Passage::None);
        for flags in [ACK, FIN, RST, ACK | FIN] {
            assert_eq!(streams.arrived(frame(Kind::Data, flags, 5)), Passage::Flags, "{flags}");
        }
        assert_eq!(streams.arrived(frame(Kind::WindowUpdate, 0, 5)), Passage::Late);
    }

    #[test]
    fn a_stream_that_was_finished_is_not_one_that_was_reset() {
        for kind in [Kind::Data, Kind::WindowUpdate] {
            let (mut streams, held) = streams();
            assert!(!held.peer_finished() && !is_reset(&held));
            streams.arrived(frame(kind, FIN, 0));
            assert!(held.peer_finished() && !is_reset(&held));
            streams.arrived(frame(kind, RST, 0));
            assert!(is_reset(&held));

            let (mut streams, held) = self::streams();
            streams.arrived(frame(kind, FIN | RST, 0));
            assert!(!held.peer_finished() && is_reset(&held));
        }
    }

    /// Notes that it was woken.
    #[derive(Default)]
    struct Bell(AtomicBool);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_waits_for_a_reset_is_woken_by_one_and_by_the_end_of_the_session() {
        for session_ends in [false, true] {
            let (mut streams, held) = streams();
            let bell = Arc::new(Bell::default());
            let waker = Waker::from(Arc::clone(&bell));
            assert!(held.poll_reset(&mut Context::from_waker(&waker)).is_pending());
            assert!(!bell.0.load(Ordering::Relaxed));
            if session_ends {
                drop(streams);
            } else {
                streams.arrived(frame(Kind::Data, RST, 0));
            }
            assert!(bell.0.load(Ordering::Relaxed));
            assert!(is_reset(&held));
        }
    }

    #[test]
    fn a_fin_that_the_holder_wanted_is_told_from_that_of_a_dropped_stream() {
        let (mut streams, held) = streams();
        held.finishing(true);
        held.finishing(false);
        drop(held);
        assert!(!streams.finishes(2));

        let (mut streams, held) = self::streams();
        held.finishing(true);
        drop(held);
        // However many come and go before it has been sent.
        for id in 2..1000 {
            drop(Held::new(&streams.link, 2 * id));
            streams.arrived(Header { stream: 2 * id, ..data(5) });
        }
        assert!(streams.finishes(2));
    }

    #[test]
    fn streams_that_were_dropped_do_not_fill_the_table() {
        let link = Arc::new(Link::new(Role::Client));
        let mut streams = Streams::new(Arc::clone(&link));
        let _kept: Vec<Held> = (0..100).map(|id| Held::new(&link, 2 * id)).collect();
        for id in 100..10_000 {
            drop(Held::new(&link, 2 * id));
            streams.arrived(Header { stream: 2 * id, ..data(5) });
        }
        assert!(streams.len() < 500, "{}", streams.len());
        assert_eq!(streams.arrived(data(5)), Passage::Whole);
    }
}
