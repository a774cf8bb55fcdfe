//! How much of the visits waits in yamux for the line, and who waits for room.
//!
//! yamux takes its streams' frames in turn, so whatever waits there stands before a small request
//! that comes later. What may wait is therefore kept to what the line carries in some
//! milliseconds. Beyond that only those get in that do not add to the crowd: whose last piece has
//! left and was a small one. An upload waits in line outside, and a request beside a thousand
//! uploads does not.

use std::collections::{BTreeMap, VecDeque};
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
    waiting: Mutex<Line>,
    /// Whether anybody waits. Asked far more often than it is so.
    any: AtomicBool,
}

/// Those who wait.
#[derive(Debug)]
struct Line {
    /// For room, in order.
    wakers: VecDeque<Waker>,
    /// The ticket of the first of them.
    first: u64,
    /// For their own last piece to leave, by where that stands and by ticket.
    modest: BTreeMap<(u64, u64), Waker>,
}

/// What one visit has to do with the [`Room`].
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// How much had entered when its last piece had.
    entered: u64,
    /// Whether that piece was as large as it might be: more is likely to follow.
    full: bool,
    /// Its place among those who wait for room. The first ticket is 1.
    ticket: u64,
}

impl Room {
    pub(super) fn new(advice: Advice) -> Self {
        Self {
            entered: AtomicU64::new(0),
            left: AtomicU64::new(0),
            most: AtomicU64::new(advice.queue as u64),
            piece: AtomicUsize::new(advice.frame),
            waiting: Mutex::new(Line::new()),
            any: AtomicBool::new(false),
        }
    }

    pub(super) fn set(&self, advice: Advice) {
        self.most.store(advice.queue as u64, Ordering::Relaxed);
        self.piece.store(advice.frame, Ordering::Relaxed);
    }

    /// How many bytes of payload one frame should carry.
    pub(super) fn piece(&self) -> usize {
        self.piece.load(Ordering::Relaxed)
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

    /// How many bytes of payload the next piece may have.
    pub(super) fn next_piece(&self) -> usize {
        if self.has_room() { self.piece() } else { self.piece().min(SMALL) }
    }

    /// The guest is about to send a piece of so many bytes.
    pub(super) fn sends(&self, guest: &mut Guest, bytes: usize) {
        guest.entered = self.entered.load(Ordering::SeqCst) + bytes as u64;
        guest.full = bytes >= self.next_piece();
    }

    /// So many bytes of a visit have entered.
    pub(super) fn enter(&self, bytes: usize) {
        self.entered.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// So many bytes are written.
    pub(super) fn leave(&self, bytes: usize) {
        self.left.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// Ready when the guest may send its next piece.
    pub(super) fn poll(&self, guest: &mut Guest, cx: &mut Context<'_>) -> Poll<()> {
        if self.lets_in(guest) {
            return Poll::Ready(());
        }
        self.waiting.lock().join(guest, cx.waker());
        self.any.store(true, Ordering::SeqCst);
        // There may be room since, and nobody to say so.
        if self.lets_in(guest) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn lets_in(&self, guest: &Guest) -> bool {
        let modest = !guest.full && guest.entered <= self.left.load(Ordering::SeqCst);
        self.has_room() || modest && !self.is_full()
    }

    fn has_room(&self) -> bool {
        self.queued() < self.most.load(Ordering::Relaxed)
    }

    /// Wakes as many as there is room for. Called when the line has taken what it can for now.
    pub(super) fn admit(&self) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let queued = self.queued();
        let mut room = self.most.load(Ordering::Relaxed).saturating_sub(queued);
        let mut line = self.waiting.lock();
        line.wake_modest(self.left.load(Ordering::SeqCst));
        // Some of them may have gone, or have nothing to send any more. When nothing is left to
        // call here again, all have their chance.
        while (queued == 0 || room > 0) && line.wake_first() {
            room = room.saturating_sub(self.piece() as u64);
        }
        self.any.store(!line.is_empty(), Ordering::SeqCst);
    }
}

impl Line {
    fn new() -> Self {
        Self { wakers: VecDeque::new(), first: 1, modest: BTreeMap::new() }
    }

    /// Puts a guest where it waits, unless it is there.
    fn join(&mut self, guest: &mut Guest, waker: &Waker) {
        let place = guest.ticket.checked_sub(self.first).map(|place| place as usize);
        match place.and_then(|place| self.wakers.get_mut(place)) {
            Some(known) => known.clone_from(waker),
            None => {
                guest.ticket = self.first + self.wakers.len() as u64;
                self.wakers.push_back(waker.clone());
            }
        }
        if !guest.full {
            self.modest.insert((guest.entered, guest.ticket), waker.clone());
        }
    }

    /// Wakes those whose own last piece has left.
    fn wake_modest(&mut self, left: u64) {
        while let Some(first) = self.modest.first_entry()
            && first.key().0 <= left
        {
            first.remove().wake();
        }
    }

    /// Wakes the first of those who wait for room, if there is one.
    fn wake_first(&mut self) -> bool {
        let Some(waker) = self.wakers.pop_front() else { return false };
        self.first += 1;
        waker.wake();
        true
    }

    fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.modest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    const PIECE: usize = 1000;
    const MOST: usize = 10 * PIECE;

    fn room() -> Room {
        Room::new(Advice { unsent: PIECE, frame: PIECE, queue: MOST })
    }

    /// Notes that it was woken.
    #[derive(Default)]
    struct Bell(AtomicBool);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A guest that waits, and whether it has been woken.
    fn waiting(room: &Room, guest: &mut Guest) -> impl Fn() -> bool + use<> {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        assert!(room.poll(guest, &mut Context::from_waker(&waker)).is_pending());
        move || bell.0.load(Ordering::Relaxed)
    }

    fn enter(room: &Room, guest: &mut Guest, bytes: usize) {
        room.sends(guest, bytes);
        room.enter(bytes);
    }

    fn may_send(room: &Room, guest: &mut Guest) -> bool {
        room.poll(guest, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn uploads_wait_in_line_and_a_small_request_does_not() {
        let room = room();
        let mut uploads: Vec<Guest> = (0..20).map(|_| Guest::default()).collect();
        for upload in &mut uploads[..10] {
            assert!(may_send(&room, upload));
            enter(&room, upload, PIECE);
        }
        let mut request = Guest::default();
        assert_eq!(room.next_piece(), PIECE.min(SMALL));
        assert!(may_send(&room, &mut request), "it has sent nothing yet");
        enter(&room, &mut request, 100);
        assert!(!may_send(&room, &mut request), "the last one has not left");

        let woken: Vec<_> = uploads[..3].iter_mut().map(|upload| waiting(&room, upload)).collect();
        room.admit();
        assert!(woken.iter().all(|woken| !woken()), "no room");
        // For two of them; the request has looked too.
        room.leave(100 + 3 * PIECE);
        room.admit();
        assert_eq!(woken.iter().map(|woken| woken()).collect::<Vec<_>>(), [true, true, false]);
        room.leave(7 * PIECE);
        assert!(may_send(&room, &mut request));
    }

    #[test]
    fn whoever_waits_has_one_place_in_line_however_often_it_looks() {
        let room = room();
        enter(&room, &mut Guest::default(), MOST);
        let (mut first, mut second) = (Guest::default(), Guest::default());
        for guest in [&mut first, &mut second] {
            enter(&room, guest, PIECE);
        }
        drop(waiting(&room, &mut first));
        let second = waiting(&room, &mut second);
        let first = waiting(&room, &mut first);
        room.leave(2 * PIECE + 1);
        room.admit();
        assert_eq!((first(), second()), (true, false));
    }

    #[test]
    fn a_small_request_goes_on_when_its_last_piece_has_left_whoever_waits_before_it() {
        let room = room();
        enter(&room, &mut Guest::default(), PIECE);
        let mut request = Guest::default();
        enter(&room, &mut request, 100);
        let mut upload = Guest::default();
        enter(&room, &mut upload, 2 * MOST);
        let upload = waiting(&room, &mut upload);
        let request = waiting(&room, &mut request);
        room.leave(PIECE);
        room.admit();
        assert!(!request());
        room.leave(100);
        room.admit();
        assert_eq!((request(), upload()), (true, false));
    }

    #[test]
    fn nobody_is_forgotten_behind_those_who_went_away() {
        let room = room();
        enter(&room, &mut Guest::default(), MOST);
        for _ in 0..100 {
            let mut gone = Guest { full: true, ..Guest::default() };
            drop(waiting(&room, &mut gone));
        }
        let woken = waiting(&room, &mut Guest { full: true, ..Guest::default() });
        room.leave(MOST);
        room.admit();
        assert!(woken());
    }

    #[test]
    fn not_even_small_pieces_pile_up_without_end() {
        let room = room();
        enter(&room, &mut Guest::default(), MOST_QUEUED as usize + 1);
        assert!(room.is_full());
        assert!(!may_send(&room, &mut Guest::default()));
    }
}
