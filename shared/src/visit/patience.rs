//! How long a bridge waits for what ought to happen, and the clocks by which it does: this one's, and
//! whatever else carries bytes both ways.
//!
//! Each direction is timed on its own. Data that wait to be taken are a stall, and so is an end
//! that cannot be passed on; whatever moves the other way does not change that. A visit of which
//! one direction has ended is waited for as long as the side that still owes its end moves
//! something.
//!
//! No clock is read while data move: a direction only notes that something has, and a timer that
//! runs while there is something to wait for looks from time to time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How often a socket is looked at that would not tell of a reset: one that is neither read nor
/// written to, because the stream takes no more, a limit lets nothing through or the socket's peer
/// has said everything. tokio has no way to be woken by an error alone that needs neither an
/// allocation for each wait nor a future that borrows the socket.
const LOOK: Duration = Duration::from_secs(1);

/// How many looks a limit is divided into: it is noticed to have passed at most two of them late.
const LOOKS: u32 = 8;

/// How long a visit may go on without what ought to happen in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long the data of one direction may wait without any of it moving that way.
    pub stall: Duration,
    /// How long the side that still owes its end may move nothing, once the other way has ended.
    pub half_closed: Duration,
}

/// What a bridge waits for just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Data, or the end, of the socket wait for the stream.
    pub up: bool,
    /// Data, or the end, of the stream wait for the socket.
    pub down: bool,
    /// Whose end is missing, when another has come.
    pub owed: Option<Owed>,
    /// Something has to be looked at that wakes nobody.
    pub unwatched: bool,
}

/// An end that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// That of the socket's peer.
    BySocket,
    /// That of the far end's.
    ByStream,
    /// The far end's word that it has delivered everything.
    Confirmation,
}

/// Which directions have moved anything since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From the socket to the stream.
    pub up: bool,
    /// From the stream to the socket.
    pub down: bool,
}

/// A limit that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Data, or an end, have waited for too long.
    Stall,
    /// So has a side for the other's end.
    HalfClosed,
}

/// The timer of a bridge that waits for something, and what it has seen.
#[derive(Debug)]
pub struct Watch {
    timer: Pin<Box<Sleep>>,
    /// The time between two looks, for which the timer was set last.
    pause: Duration,
    clocks: Clocks,
}

/// The last look at which there was nothing to complain of, for each thing that is timed.
#[derive(Debug)]
struct Clocks {
    up: Instant,
    down: Instant,
    owed: Instant,
    owed_by: Option<Owed>,
}

impl Waiting {
    fn is_for_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Watch {
    /// A watch for a bridge that has begun to wait, if it has.
    fn start(patience: Patience, waiting: Waiting) -> Option<Box<Self>> {
        if waiting.is_for_nothing() {
            return None;
        }
        let (now, pause) = (Instant::now(), pause(patience, waiting));
        let timer = Box::pin(sleep_until(now + pause));
        Some(Box::new(Self { timer, pause, clocks: Clocks::new(now) }))
    }

    /// Ready when it is time to look; then [`look`](Self::look) has to be called, unless there is
    /// nothing more to wait for.
    fn poll(&mut self, cx: &mut Context<'_>, patience: Patience, waiting: Waiting) -> Poll<()> {
        if waiting.owed != self.clocks.owed_by {
            self.clocks.owe(waiting.owed, Instant::now());
        }
        let pause = pause(patience, waiting);
        if pause < self.pause {
            self.wait(Instant::now(), pause);
        }
        self.timer.as_mut().poll(cx)
    }

    /// Looks at what has moved and what has not, and sets the timer for the next look.
    fn look(&mut self, patience: Patience, waiting: Waiting, moved: Moved) -> Option<Passed> {
        let now = Instant::now();
        self.wait(now, pause(patience, waiting));
        self.clocks.look(now, patience, waiting, moved)
    }

    fn wait(&mut self, now: Instant, pause: Duration) {
        self.pause = pause;
        self.timer.as_mut().reset(now + pause);
    }
}

/// Ready when a limit has passed. Keeps a `watch` while there is something to wait for; at each of
/// its looks `moved` tells what has moved since the one before.
pub fn poll_passed(
    watch: &mut Option<Box<Watch>>,
    cx: &mut Context<'_>,
    patience: Patience,
    waiting: Waiting,
    mut moved: impl FnMut() -> Moved,
) -> Poll<Passed> {
    if watch.is_none() {
        *watch = Watch::start(patience, waiting);
    }
    while let Some(running) = watch {
        ready!(running.poll(cx, patience, waiting));
        if waiting.is_for_nothing() {
            *watch = None;
        } else if let Some(passed) = running.look(patience, waiting, moved()) {
            return Poll::Ready(passed);
        }
    }
    Poll::Pending
}

/// How long until the next look.
fn pause(patience: Patience, waiting: Waiting) -> Duration {
    let stall = (waiting.up || waiting.down).then_some(patience.stall / LOOKS);
    let half_closed = waiting.owed.map(|_| patience.half_closed / LOOKS);
    let look = waiting.unwatched.then_some(LOOK);
    // Nothing to wait for: the timer stays as it is.
    [stall, half_closed, look].into_iter().flatten().min().unwrap_or(Duration::MAX)
}

impl Clocks {
    fn new(now: Instant) -> Self {
        Self { up: now, down: now, owed: now, owed_by: None }
    }

    fn owe(&mut self, owed: Option<Owed>, now: Instant) {
        (self.owed_by, self.owed) = (owed, now);
    }

    fn look(
        &mut self,
        now: Instant,
        patience: Patience,
        waiting: Waiting,
        moved: Moved,
    ) -> Option<Passed> {
        if !waiting.up || moved.up {
            self.up = now;
        }
        if !waiting.down || moved.down {
            self.down = now;
        }
        let pays = match self.owed_by {
            None => true,
            // Whose data wait to be taken is not the one to blame.
            Some(Owed::BySocket) => waiting.up || moved.up,
            Some(Owed::ByStream) => waiting.down || moved.down,
            Some(Owed::Confirmation) => false,
        };
        if pays {
            self.owed = now;
        }
        let passed = |since, limit| now.duration_since(since) >= limit;
        if waiting.up && passed(self.up, patience.stall)
            || waiting.down && passed(self.down, patience.stall)
        {
            return Some(Passed::Stall);
        }
        (self.owed_by.is_some() && passed(self.owed, patience.half_closed))
            .then_some(Passed::HalfClosed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { stall: Duration::from_secs(100), half_closed: Duration::from_secs(200) };

    /// What `clocks` say at looks ten seconds apart, until something has passed or an hour has.
    fn looks(waiting: Waiting, moved: impl Fn(u64) -> Moved) -> Option<(u64, Passed)> {
        let start = Instant::now();
        let mut clocks = Clocks::new(start);
        clocks.owe(waiting.owed, start);
        (10..3600).step_by(10).find_map(|second| {
            let now = start + Duration::from_secs(second);
            let passed = clocks.look(now, PATIENCE, waiting, moved(second));
            passed.map(|passed| (second, passed))
        })
    }

    const NOTHING: Moved = Moved { up: false, down: false };
    const UP: Moved = Moved { up: true, down: false };
    const DOWN: Moved = Moved { up: false, down: true };

    #[test]
    fn what_moves_one_way_does_not_hide_that_data_wait_the_other_way() {
        let up = Waiting { up: true, ..Waiting::default() };
        let down = Waiting { down: true, ..Waiting::default() };
        assert_eq!(looks(up, |_| DOWN), Some((100, Passed::Stall)));
        assert_eq!(looks(down, |_| UP), Some((100, Passed::Stall)));
        assert_eq!(looks(up, |_| UP), None);
        assert_eq!(looks(down, |_| DOWN), None);
    }

    #[test]
    fn an_idle_visit_is_never_over() {
        assert_eq!(looks(Waiting::default(), |_| NOTHING), None);
    }

    #[test]
    fn a_missing_end_is_waited_for_while_its_side_moves_something() {
        for (owed, way, other) in [(Owed::BySocket, UP, DOWN), (Owed::ByStream, DOWN, UP)] {
            let waiting = Waiting { owed: Some(owed), ..Waiting::default() };
            assert_eq!(looks(waiting, |_| NOTHING), Some((200, Passed::HalfClosed)));
            assert_eq!(looks(waiting, |_| other), Some((200, Passed::HalfClosed)));
            assert_eq!(looks(waiting, |_| way), None);
            let until = |second| if second <= 1000 { way } else { NOTHING };
            assert_eq!(looks(waiting, until), Some((1200, Passed::HalfClosed)));
        }
    }

    #[test]
    fn a_side_whose_data_wait_is_not_blamed_for_its_missing_end() {
        let owed = Some(Owed::ByStream);
        let waiting = Waiting { down: true, owed, ..Waiting::default() };
        assert_eq!(looks(waiting, |_| NOTHING), Some((100, Passed::Stall)));
        assert_eq!(looks(waiting, |_| DOWN), None);
    }

    #[test]
    fn the_far_ends_confirmation_is_waited_for_no_longer_than_any_end() {
        let waiting = Waiting { owed: Some(Owed::Confirmation), ..Waiting::default() };
        assert_eq!(looks(waiting, |_| NOTHING), Some((200, Passed::HalfClosed)));
    }
}
