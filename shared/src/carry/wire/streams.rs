//! What the wire keeps an eye on for each stream that carries a visit.
//!
//! yamux bounds the *bytes* that a stream may have unread, not what they cost: it keeps about
//! 64 bytes beside each frame. And it keeps a stream that was dropped, with all that
//! still arrives for it, until it has been able to send the reset. The wire therefore counts what
//! is unread, and lets nothing through for a stream that nobody holds any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::link::Link;

/// So many unread frames are never too many.
const ALWAYS_FINE: u32 = 8192;

/// Beyond that, unread frames have to carry so many bytes on average: half of what they cost.
const LEAST_AVERAGE: u64 = 32;

/// The streams in use.
#[derive(Debug, Default)]
pub(super) struct Streams {
    table: Mutex<HashMap<u32, Unread>>,
    /// Whether any stream ever had too much of too little. Asked far more often than it is so.
    any_overrun: AtomicBool,
}

/// What has arrived for a stream and has not been taken.
#[derive(Clone, Copy, Debug, Default)]
struct Unread {
    frames: u32,
    bytes: u64,
    /// There was too much of too little. Nothing more gets through.
    overrun: bool,
}

impl Streams {
    /// A stream has been opened.
    pub(super) fn open(&self, id: u32) {
        self.table.lock().entry(id).or_default();
    }

    /// A frame with `bytes` of body has come. Returns whether it may get through.
    pub(super) fn arrived(&self, id: u32, bytes: u32) -> bool {
        let mut table = self.table.lock();
        let Some(unread) = table.get_mut(&id) else { return false };
        unread.frames += 1;
        unread.bytes += u64::from(bytes);
        if unread.frames > ALWAYS_FINE && unread.bytes < u64::from(unread.frames) * LEAST_AVERAGE {
            unread.overrun = true;
            self.any_overrun.store(true, Ordering::Relaxed);
        }
        !unread.overrun
    }

    /// A frame has been taken.
    fn taken(&self, id: u32, bytes: usize) {
        if let Some(unread) = self.table.lock().get_mut(&id) {
            unread.frames = unread.frames.saturating_sub(1);
            unread.bytes = unread.bytes.saturating_sub(bytes as u64);
        }
    }

    fn is_overrun(&self, id: u32) -> bool {
        self.any_overrun.load(Ordering::Relaxed)
            && self.table.lock().get(&id).is_some_and(|unread| unread.overrun)
    }

    fn close(&self, id: u32) {
        self.table.lock().remove(&id);
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
}
