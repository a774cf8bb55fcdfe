//! How much of the visits waits in yamux for the line, and who waits for room.
//!
//! yamux takes its streams' frames in turn, so whatever waits there stands before a small request
//! that comes later. What may wait is therefore kept to what the line carries in some
//! milliseconds. Beyond that only those get in that do not add to the crowd: whose last piece has
//! left and was a small one. An upload waits in line outside, and a request beside a thousand
//! uploads does not. Whoever is called from the line may send one piece, whatever others do
//! meanwhile, and nobody goes past the line because there happens to be room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::pace::Advice;

/// The most bytes that may wait in a session, whatever they are.
const MOST_QUEUED: u64 = 64 * 1024 * 1024;

/// How many bytes a piece may have that gets in although there is no room: most requests fit.
const SMALL: usize = 2 * 1024;

/// What waits, and who.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes of visits that yamux has taken so far, and those of them that it has written.
    entered: AtomicU64,
    left: AtomicU64,
    /// How many bytes may wait, at the pace of the line.
    most: AtomicU64,
    /// How many of payload one frame should carry.
    piece: AtomicUsize,
    line: Mutex<Line>,
    /// Whether anybody waits. Asked far more often than it is so.
    any: AtomicBool,
    /// The session is over: nothing leaves any more.
    over: AtomicBool,
}

/// Those who wait.
#[derive(Debug, Default)]
struct Line {
    /// For room, by ticket.
    waiting: BTreeMap<u64, Waker>,
    /// The last ticket that was given out. The first is 1.
    last: u64,
    /// How many have been called, and have not come yet.
    called: u64,
    /// For their own last piece to leave, by where that stands and by ticket.
    modest: BTreeMap<(u64, u64), Waker>,
}

/// What one visit has to do with the [`Room`].
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// How much had entered when its last piece had. yamux takes streams in turn, so that piece
    /// has left when as much has, or before.
    entered: u64,
    /// How many bytes its next piece may have.
    limit: usize,
    /// Whether its last piece was as large as it might be: more is likely to follow.
    full: bool,
    /// Its place among those who wait for room. Zero: none. One that is no longer in line stands
    /// for having been called.
    ticket: u64,
}

impl Room {
    pub(super) fn new(advice: Advice) -> Self {
        Self {
            entered: AtomicU64::new(0),
            left: AtomicU64::new(0),
            most: AtomicU64::new(advice.queue as u64),
            piece: AtomicUsize::new(advice.frame),
            line: Mutex::new(Line::default()),
            any: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn set(&self, advice: Advice) {
        self.most.store(advice.queue as u64, Ordering::Relaxed);
        self.piece.store(advice.frame, Ordering::Relaxed);
    }

    /// How many bytes wait.
    pub(super) fn queued(&self) -> u64 {
        let left = self.left.load(Ordering::SeqCst);
        // Another thread may write them before they have been counted.
        self.entered.load(Ordering::SeqCst).saturating_sub(left)
    }

    /// Whether so much waits that nothing at all should follow.
    pub(super) fn is_full(&self) -> bool {
        self.queued() > MOST_QUEUED
    }

    /// How many bytes of payload the guest's next piece may have, `most` at most.
    pub(super) fn next_piece(&self, guest: &mut Guest, most: usize) -> usize {
        let piece = self.piece.load(Ordering::Relaxed).min(most);
        guest.limit = if self.has_room() { piece } else { piece.min(SMALL) };
        guest.limit
    }

    /// The guest is about to send a piece of so many bytes.
    pub(super) fn sends(&self, guest: &mut Guest, bytes: usize) {
        guest.entered = self.entered.load(Ordering::SeqCst) + bytes as u64;
        guest.full = bytes >= guest.limit;
    }

    /// So many bytes of a visit have entered.
    pub(super) fn enter(&self, bytes: usize) {
        self.entered.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// So many bytes are written.
    pub(super) fn leave(&self, bytes: usize) {
        self.left.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// Whether the guest may send without asking: there is room, and nobody waits for it.
    pub(super) fn is_open_to(&self, guest: &Guest) -> bool {
        guest.ticket == 0 && !self.any.load(Ordering::SeqCst) && self.has_room()
    }

    /// Ready when the guest may send its next piece. Who waits keeps its place in line, however
    /// often it asks.
    pub(super) fn poll(&self, guest: &mut Guest, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_open_to(guest) {
            return Poll::Ready(());
        }
        let mut line = self.line.lock();
        if !self.lets_in(guest, &line) {
            line.join(guest, cx.waker());
            self.any.store(true, Ordering::SeqCst);
            // There may be room since, and nobody to say so.
            if !self.lets_in(guest, &line) {
                return Poll::Pending;
            }
        }
        line.leave(guest);
        self.any.store(!line.is_empty(), Ordering::SeqCst);
        Poll::Ready(())
    }

    /// The guest goes away. If room was being kept for it, the next one gets it.
    pub(super) fn forget(&self, guest: &mut Guest) {
        if guest.ticket == 0 {
            return;
        }
        let mut line = self.line.lock();
        let was_called = line.has_called(guest);
        line.leave(guest);
        if was_called {
            line.call_first();
        }
        self.any.store(!line.is_empty(), Ordering::SeqCst);
    }

    /// Whether the guest may send its next piece, which it is about to do then.
    fn lets_in(&self, guest: &Guest, line: &Line) -> bool {
        if self.over.load(Ordering::SeqCst) {
            // It will learn of it.
            return true;
        }
        let modest = || !guest.full && guest.entered <= self.left.load(Ordering::SeqCst);
        let first = || self.has_room() && line.is_first(guest);
        !self.is_full() && (line.has_called(guest) || modest() || first())
    }

    fn has_room(&self) -> bool {
        self.queued() < self.most.load(Ordering::Relaxed)
    }

    /// Calls as many as there is room for, in order. Called when the line has taken what it can
    /// for now. Returns whether to call again although nothing more will leave: all that have been
    /// called so far may have nothing to send any more.
    #[must_use]
    pub(super) fn admit(&self) -> bool {
        if !self.any.load(Ordering::SeqCst) {
            return false;
        }
        let queued = self.queued();
        let piece = self.piece.load(Ordering::Relaxed) as u64;
        let mut line = self.line.lock();
        if queued <= MOST_QUEUED {
            line.wake_modest(self.left.load(Ordering::SeqCst));
        }
        let kept = if queued == 0 { 0 } else { line.called * piece };
        let mut room = self.most.load(Ordering::Relaxed).saturating_sub(queued + kept);
        while room > 0 && line.call_first() {
            room = room.saturating_sub(piece);
        }
        self.any.store(!line.is_empty(), Ordering::SeqCst);
        queued == 0 && !line.waiting.is_empty()
    }

    /// The session is over: whoever waits may find out.
    pub(super) fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
        let mut line = self.line.lock();
        line.wake_modest(u64::MAX);
        while line.call_first() {}
    }
}

impl Line {
    /// Puts a guest where it waits, unless it is there.
    fn join(&mut self, guest: &mut Guest, waker: &Waker) {
        match self.waiting.get_mut(&guest.ticket) {
            Some(known) => known.clone_from(waker),
            None => {
                self.leave(guest);
                self.last += 1;
                guest.ticket = self.last;
                self.waiting.insert(guest.ticket, waker.clone());
            }
        }
        if !guest.full {
            self.modest.insert((guest.entered, guest.ticket), waker.clone());
        }
    }

    /// Takes a guest out, wherever it is.
    fn leave(&mut self, guest: &mut Guest) {
        if self.has_called(guest) {
            self.called -= 1;
        }
        self.waiting.remove(&guest.ticket);
        self.modest.remove(&(guest.entered, guest.ticket));
        guest.ticket = 0;
    }

    /// Whether room is being kept for the guest.
    fn has_called(&self, guest: &Guest) -> bool {
        guest.ticket != 0 && !self.waiting.contains_key(&guest.ticket)
    }

    /// Whether nobody has come before the guest.
    fn is_first(&self, guest: &Guest) -> bool {
        self.waiting.first_key_value().is_none_or(|(first, _)| *first == guest.ticket)
    }

    /// Wakes those whose own last piece has left.
    fn wake_modest(&mut self, left: u64) {
        while let Some(first) = self.modest.first_entry()
            && first.key().0 <= left
        {
            first.remove().wake();
        }
    }

    /// Calls the first of those who wait for room, if there is one.
    fn call_first(&mut self) -> bool {
        let Some((_, waker)) = self.waiting.pop_first() else { return false };
        self.called += 1;
        waker.wake();
        true
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.modest.is_empty()
    }
}

#[cfg(test)]
mod tests;
