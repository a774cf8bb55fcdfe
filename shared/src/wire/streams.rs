//! What the wire keeps an eye on for each stream that carries a visit.
//!
//! yamux bounds the *bytes* that a stream may have unread, not what they cost: it keeps about
//! 64 bytes beside each frame. And it keeps a stream that was dropped, with all that
//! still arrives for it, until it has been able to send the reset. The wire therefore counts what
//! is unread, and lets nothing through for a stream that nobody holds any more.
//!
//! yamux does not tell either how much of a stream's window is left. The wire sees it go by, so
//! that nobody reads from a visitor what the window has no room for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::link::Link;

/// So many unread frames are never too many.
const ALWAYS_FINE: u32 = 8192;

/// Beyond that, unread frames have to carry so many bytes on average: half of what they cost.
const LEAST_AVERAGE: u64 = 32;

/// The streams in use.
#[derive(Debug, Default)]
pub(super) struct Streams {
    table: Mutex<HashMap<u32, Stream>>,
    /// Whether any stream ever had too much of too little. Asked far more often than it is so.
    any_overrun: AtomicBool,
}

#[derive(Debug)]
struct Stream {
    /// Frames that have arrived and have not been taken.
    unread_frames: u32,
    /// The bytes in them.
    unread_bytes: u64,
    /// There was too much of too little. Nothing more gets through.
    overrun: bool,
    /// Bytes that the peer's window has room for.
    credit: u64,
    /// Who waits for more of that.
    sender: Option<Waker>,
}

impl Default for Stream {
    fn default() -> Self {
        let credit = u64::from(yamux::DEFAULT_CREDIT);
        Self { unread_frames: 0, unread_bytes: 0, overrun: false, credit, sender: None }
    }
}

impl Stream {
    /// Leaves the judgement to yamux from now on. Returns who waits.
    fn open_up(&mut self) -> Option<Waker> {
        self.credit = u64::MAX;
        self.sender.take()
    }
}

impl Streams {
    /// A stream has been opened.
    pub(super) fn open(&self, id: u32) {
        self.table.lock().entry(id).or_default();
    }

    /// A frame with `bytes` of body has come. Returns whether it may get through.
    pub(super) fn arrived(&self, id: u32, bytes: u32) -> bool {
        let mut table = self.table.lock();
        let Some(stream) = table.get_mut(&id) else { return false };
        stream.unread_frames += 1;
        stream.unread_bytes += u64::from(bytes);
        let least = u64::from(stream.unread_frames) * LEAST_AVERAGE;
        if stream.unread_frames > ALWAYS_FINE && stream.unread_bytes < least {
            stream.overrun = true;
            self.any_overrun.store(true, Ordering::Relaxed);
        }
        !stream.overrun
    }

    /// A frame has been taken.
    fn taken(&self, id: u32, bytes: usize) {
        if let Some(stream) = self.table.lock().get_mut(&id) {
            stream.unread_frames = stream.unread_frames.saturating_sub(1);
            stream.unread_bytes = stream.unread_bytes.saturating_sub(bytes as u64);
        }
    }

    /// The peer's window has room for `bytes` more.
    pub(super) fn granted(&self, id: u32, bytes: u32) {
        let sender = self.table.lock().get_mut(&id).and_then(|stream| {
            stream.credit = stream.credit.saturating_add(bytes.into());
            stream.sender.take()
        });
        wake(sender);
    }

    /// The peer has reset the stream: whoever waits to send finds that out by trying.
    pub(super) fn reset(&self, id: u32) {
        let sender = self.table.lock().get_mut(&id).and_then(Stream::open_up);
        wake(sender);
    }

    /// The session is over for all streams.
    pub(super) fn end(&self) {
        let senders: Vec<_> = self.table.lock().values_mut().filter_map(Stream::open_up).collect();
        senders.into_iter().for_each(Waker::wake);
    }

    fn poll_credit(&self, id: u32, cx: &mut Context<'_>) -> Poll<u64> {
        let mut table = self.table.lock();
        let Some(stream) = table.get_mut(&id) else { return Poll::Ready(u64::MAX) };
        if stream.credit > 0 {
            return Poll::Ready(stream.credit);
        }
        stream.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    fn spent(&self, id: u32, bytes: usize) {
        if let Some(stream) = self.table.lock().get_mut(&id) {
            stream.credit = stream.credit.saturating_sub(bytes as u64);
        }
    }

    fn is_overrun(&self, id: u32) -> bool {
        self.any_overrun.load(Ordering::Relaxed)
            && self.table.lock().get(&id).is_some_and(|stream| stream.overrun)
    }

    fn close(&self, id: u32) {
        self.table.lock().remove(&id);
    }
}

/// Wakes whoever waited, once the lock is free.
fn wake(sender: Option<Waker>) {
    if let Some(sender) = sender {
        sender.wake();
    }
}

/// A stream that is in use, until this is dropped.
#[derive(Debug)]
pub struct Held {
    link: Arc<Link>,
    id: u32,
}

impl Held {
    /// Marks the stream `id` as in use.
    pub(crate) fn new(link: &Arc<Link>, id: u32) -> Self {
        link.streams.open(id);
        Self { link: Arc::clone(link), id }
    }

    /// The wire under the stream.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// A frame of so many bytes has been taken from the stream.
    pub(crate) fn taken(&self, bytes: usize) {
        self.link.streams.taken(self.id, bytes);
    }

    /// yamux has taken `bytes` to send.
    pub(crate) fn sent(&self, bytes: usize) {
        self.link.queued(bytes);
        self.link.streams.spent(self.id, bytes);
    }

    /// Ready with the bytes that the peer's window has room for, as soon as there is any. Also
    /// woken when the stream is reset or the session over.
    pub(crate) fn poll_credit(&self, cx: &mut Context<'_>) -> Poll<u64> {
        self.link.streams.poll_credit(self.id, cx)
    }

    /// Whether the peer has sent more tiny frames than the stream may have unread: what followed
    /// them has not got through.
    pub(crate) fn is_overrun(&self) -> bool {
        self.link.streams.is_overrun(self.id)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.link.streams.close(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[test]
    fn frames_that_nobody_takes_must_carry_something() {
        let streams = Streams::default();
        streams.open(2);
        for _ in 0..ALWAYS_FINE {
            assert!(streams.arrived(2, 5));
        }
        assert!(!streams.arrived(2, 5));
        assert!(!streams.arrived(2, 1_000_000), "a hole stays a hole");
        assert!(streams.is_overrun(2));
    }

    #[test]
    fn frames_that_are_taken_may_be_as_small_as_they_like() {
        let streams = Streams::default();
        streams.open(2);
        for _ in 0..4 * ALWAYS_FINE {
            assert!(streams.arrived(2, 5));
            streams.taken(2, 5);
        }
    }

    #[test]
    fn nothing_gets_through_to_a_stream_that_nobody_holds() {
        let (_, link) = super::super::Wire::new(tokio::io::duplex(1).0);
        let held = Held::new(&link, 2);
        assert!(link.streams.arrived(2, 5));
        drop(held);
        assert!(!link.streams.arrived(2, 5));
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_sender_waits_for_room_in_the_window_and_is_woken() {
        let (wire, link) = super::super::Wire::new(tokio::io::duplex(1).0);
        let held = Held::new(&link, 2);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let window = u64::from(yamux::DEFAULT_CREDIT);
        assert_eq!(held.poll_credit(&mut cx), Poll::Ready(window));
        held.sent(window as usize - 1);
        assert_eq!(held.poll_credit(&mut cx), Poll::Ready(1));

        held.sent(1);
        assert!(held.poll_credit(&mut cx).is_pending());
        link.streams.granted(2, 70_000);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(held.poll_credit(&mut cx), Poll::Ready(70_000));

        // What has ended is found out by trying.
        held.sent(70_000);
        let other = Held::new(&link, 4);
        other.sent(window as usize);
        assert!(held.poll_credit(&mut cx).is_pending() && other.poll_credit(&mut cx).is_pending());
        link.streams.reset(2);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
        assert!(held.poll_credit(&mut cx).is_ready() && other.poll_credit(&mut cx).is_pending());
        drop(wire);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
        assert!(other.poll_credit(&mut cx).is_ready());
    }
}
