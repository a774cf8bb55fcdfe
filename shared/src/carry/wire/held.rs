//! What the holder of a stream and the wire under it tell each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use super::frame::{FIN, Header, RST};
use super::link::Link;
use super::room::Guest;

/// A stream that is in use, until this is dropped.
#[derive(Debug)]
pub struct Held {
    link: Arc<Link>,
    tally: Arc<Tally>,
    guest: Guest,
}

/// The part of a [`Held`] that the wire sees too. Each number is written by one of them alone.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Frames that the holder has taken from the stream, and their bytes. Both start anew at zero
    /// when they are full.
    frames: AtomicU32,
    bytes: AtomicU32,
    /// Some of the constants below.
    state: AtomicU8,
    /// Whoever waits for the stream to be reset.
    waker: AtomicWaker,
}

/// The peer has sent its FIN.
const FINISHED: u8 = 1;
/// The peer has reset the stream, or the session has ended.
const RESET: u8 = 2;
/// The peer has sent too much of too little. Nothing more gets through.
const OVERRUN: u8 = 4;
/// Nobody holds the stream any more.
const DROPPED: u8 = 8;
/// The holder closes the stream in the ordinary way.
const FINISHING: u8 = 16;
/// Our FIN has been sent.
const FIN_SENT: u8 = 32;

impl Held {
    /// Marks the stream `id` as in use. Called by the driver, when yamux has made the stream and
    /// before it handles another frame.
    pub(crate) fn new(link: &Arc<Link>, id: u32) -> Self {
        let tally = Arc::<Tally>::default();
        link.lobby.enter(id, &tally);
        Self { link: Arc::clone(link), tally, guest: Guest::default() }
    }

    /// The wire under the stream.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether the peer has finished the stream in the ordinary way: its FIN has come.
    ///
    /// yamux tells of that, of a reset and of a lost session by one and the same end of file. It
    /// wakes whoever reads from the stream after this has become true.
    pub fn peer_finished(&self) -> bool {
        self.tally.is(FINISHED)
    }

    /// Ready when nothing more can come over the stream: the peer has reset it, the session has
    /// ended, or the peer has sent more tiny frames than the stream may have unread.
    ///
    /// What had come before may still be read, except in the last case. One task at a time waits: the last that polled.
    pub fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tally.is(RESET | OVERRUN) {
            return Poll::Ready(());
        }
        self.tally.waker.register(cx.waker());
        // It may have happened just before.
        if self.tally.is(RESET | OVERRUN) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Says that the holder is about to close the stream in the ordinary way, or takes that back
    /// when yamux has no room for it yet.
    ///
    /// yamux also sends a FIN when a stream is dropped after the peer's FIN. The peer would take
    /// it for the word that everything has been delivered; so a FIN that was not announced like
    /// this goes out as a reset.
    pub fn finishing(&self, is_so: bool) {
        if is_so {
            self.tally.set(FINISHING);
        } else {
            self.tally.unset(FINISHING);
        }
    }

    /// Whether the holder may send its next piece without asking [`poll_room`](Self::poll_room).
    pub fn has_room(&self) -> bool {
        self.link.room.is_open_to(&self.guest)
    }

    /// Ready when the holder may send its next piece, which it should do at once: then it should
    /// read what it has to send, [`chunk`](Self::chunk) bytes at most. Pending puts it in line; it
    /// is woken when it is called, or the session is over.
    ///
    /// Those that have nothing to send, or what is no payload, need not ask.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.room.poll(&mut self.guest, cx)
    }

    /// How many bytes of payload the next piece may have: as many as the line carries in about a
    /// millisecond, `most` at most.
    pub fn chunk(&mut self, most: usize) -> usize {
        self.link.room.next_piece(&mut self.guest, most)
    }

    /// The holder is about to send a piece of payload of so many bytes.
    pub(crate) fn sends(&mut self, bytes: usize) {
        self.link.room.sends(&mut self.guest, bytes);
    }

    /// The holder is about to be dropped: nothing more gets through to it.
    pub(crate) fn let_go(&self) {
        self.tally.set(DROPPED);
    }

    /// A frame of so many bytes has been taken from the stream.
    pub(crate) fn taken(&self, bytes: usize) {
        let add = |to: &AtomicU32, n: u32| {
            to.store(to.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        };
        add(&self.tally.frames, 1);
        // A frame is far smaller than that.
        add(&self.tally.bytes, bytes as u32);
    }

    /// Whether the peer has sent more tiny frames than the stream may have unread: what followed
    /// them has not got through.
    pub(crate) fn is_overrun(&self) -> bool {
        self.tally.is(OVERRUN)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
        self.link.room.forget(&mut self.guest);
    }
}

impl Tally {
    /// Frames that have been taken, and their bytes.
    pub(super) fn taken(&self) -> (u32, u32) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub(super) fn is_overrun(&self) -> bool {
        self.is(OVERRUN)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.is(DROPPED)
    }

    /// Whether the peer has ended the stream before this frame, which cannot follow that: anything
    /// behind a reset, and behind a FIN what that was the end of.
    pub(super) fn is_ended_before(&self, header: Header) -> bool {
        let more = header.flags & RST == 0 && (header.body() > 0 || header.flags & FIN != 0);
        self.is(RESET) || more && self.is(FINISHED)
    }

    /// Whether nobody asks for the stream any more. A FIN may be on its way after its holder.
    pub(super) fn is_over(&self) -> bool {
        self.is_dropped() && (!self.is(FINISHING) || self.is(FIN_SENT | RESET))
    }

    /// Our FIN is about to be sent. Whether the holder wants it: otherwise it has dropped the
    /// stream.
    pub(super) fn finishes(&self) -> bool {
        self.set(FIN_SENT);
        self.is(FINISHING)
    }

    /// The peer's FIN has come.
    pub(super) fn finished(&self) {
        self.set(FINISHED);
    }

    /// The peer has reset the stream, or there is no session any more.
    pub(super) fn reset(&self) {
        self.set(RESET);
        self.waker.wake();
    }

    /// Nothing more gets through.
    pub(super) fn overrun(&self) {
        self.set(OVERRUN);
        self.waker.wake();
    }

    fn is(&self, any: u8) -> bool {
        self.state.load(Ordering::Acquire) & any != 0
    }

    fn set(&self, state: u8) {
        self.state.fetch_or(state, Ordering::Release);
    }

    fn unset(&self, state: u8) {
        self.state.fetch_and(!state, Ordering::Release);
    }
}
