//! How fast the line takes what is written, and so how much may wait for it.
//!
//! What the kernel has taken cannot be overtaken any more, nor a frame that has begun, nor what
//! yamux has queued. All three are kept to a length of *time* rather than of bytes: a small request
//! behind bulk waits a few milliseconds on a slow line, and a fast one is still fed in large
//! pieces.
//!
//! A line is believed to be slow until it has shown otherwise, since a burst on a slow line cannot
//! be taken back, and a fast one shows it within milliseconds.

use std::time::{Duration, Instant};

use crate::carry::PIECE;

/// How long it may take the line to carry what the kernel holds of it and has not sent.
const UNSENT: Duration = Duration::from_millis(2);

/// How long one frame may occupy the line.
const FRAME: Duration = Duration::from_millis(1);

/// How long it may take the line to carry what waits in yamux. Whoever fills it again needs a
/// turn for that, on a machine that is busy.
const QUEUE: Duration = Duration::from_millis(20);

/// Bounds of what the kernel may hold unsent, in bytes. The upper one is what sockets of visits have.
const UNSENT_BYTES: (usize, usize) = (16 * 1024, crate::kit::net::NOT_SENT_LOW_WATER as usize);

/// Bounds of the payload of one frame, in bytes.
const FRAME_BYTES: (usize, usize) = (8 * 1024, PIECE);

/// Bounds of what may wait in yamux, in bytes: some frames at least.
const QUEUE_BYTES: (usize, usize) = (64 * 1024, 64 * 1024 * 1024);

/// The bytes a second that a line is taken for before it has been measured.
const START: usize = 16 * 1024 * 1024;

/// A line that is full is measured over at least this long.
const WINDOW: Duration = Duration::from_millis(50);

/// A line that takes all there is has shown how fast it is at least after this long,
const PROOF: Duration = Duration::from_millis(5);
/// and so many bytes: more than the kernel only puts aside.
const PROOF_BYTES: usize = 2 * UNSENT_BYTES.1;

/// How often whoever writes without reading looks at the clock, in bytes.
const LOOK: usize = 64 * 1024;

/// What a line has shown so long ago says nothing of it any more.
const FORGET: Duration = Duration::from_millis(500);

/// What the measurements say, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// What the kernel may hold unsent.
    pub(super) unsent: usize,
    /// The payload of one frame.
    pub(super) frame: usize,
    /// What may wait in yamux.
    pub(super) queue: usize,
}

/// Measures the line: exactly while it is full, from a refused write until all has been taken, and
/// from below while it takes all there is.
#[derive(Debug)]
pub(super) struct Pace {
    advice: Advice,
    /// The line has shown something that will have to be forgotten.
    is_above_start: bool,
    state: State,
    /// When the state, or a measurement in it, began.
    since: Option<Instant>,
    /// Bytes taken since then.
    sent: usize,
    /// How long the line was full before, and what it took then, as far as that is not in the
    /// advice yet.
    before: (Duration, usize),
    /// Bytes taken since somebody last looked at the clock.
    unlooked: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The line takes all there is.
    Open,
    /// A write was refused, and something still waits.
    Full,
}

impl Advice {
    /// For a line that has not been measured yet.
    pub(super) fn start() -> Self {
        Self::at(START, Duration::from_secs(1))
    }

    fn at(bytes: usize, time: Duration) -> Self {
        let within = |limit: Duration, (least, most): (usize, usize)| {
            let bytes = bytes as f64 * limit.as_secs_f64() / time.as_secs_f64();
            (bytes as usize).clamp(least, most)
        };
        Self {
            unsent: within(UNSENT, UNSENT_BYTES),
            frame: within(FRAME, FRAME_BYTES),
            queue: within(QUEUE, QUEUE_BYTES),
        }
    }

    fn at_least(self, other: Self) -> Self {
        Self {
            unsent: self.unsent.max(other.unsent),
            frame: self.frame.max(other.frame),
            queue: self.queue.max(other.queue),
        }
    }

    fn at_most(self, other: Self) -> Self {
        Self {
            unsent: self.unsent.min(other.unsent),
            frame: self.frame.min(other.frame),
            queue: self.queue.min(other.queue),
        }
    }

    /// Whether a figure has changed by a quarter or more: less is not worth a system call.
    fn differs(self, old: Self) -> bool {
        let differs = |new: usize, old: usize| new.abs_diff(old) * 4 >= old;
        differs(self.unsent, old.unsent)
            || differs(self.frame, old.frame)
            || differs(self.queue, old.queue)
    }
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            advice: Advice::start(),
            is_above_start: false,
            state: State::Open,
            since: None,
            sent: 0,
            before: (Duration::ZERO, 0),
            unlooked: 0,
        }
    }

    /// The socket took `n` bytes. Returns whether it is time to [`look`](Self::look).
    pub(super) fn sent(&mut self, n: usize) -> bool {
        self.sent += n;
        self.unlooked += n;
        self.unlooked >= LOOK && self.is_worth_a_look()
    }

    /// Whether the line is full, so that [`drained`](Self::drained) would say something.
    pub(super) fn is_full(&self) -> bool {
        self.state == State::Full
    }

    /// The socket refused a write at `now`. Returns new advice, if it differs noticeably.
    pub(super) fn refused(&mut self, now: Instant) -> Option<Advice> {
        if self.state == State::Open {
            self.begin(State::Full, now);
            return None;
        }
        self.measure(now)
    }

    /// The socket has taken, at `now`, all that there was.
    pub(super) fn drained(&mut self, now: Instant) -> Option<Advice> {
        let advice = self.measure(now);
        let (time, bytes) = self.full(now);
        self.begin(State::Open, now);
        self.before = (time, bytes);
        advice
    }

    /// Whether a [`look`](Self::look) could say anything new.
    pub(super) fn is_worth_a_look(&self) -> bool {
        self.sent >= PROOF_BYTES || self.is_above_start
    }

    /// Looks at what a line that takes all there is has shown up to `now`.
    pub(super) fn look(&mut self, now: Instant) -> Option<Advice> {
        self.unlooked = 0;
        let Some(since) = self.since else {
            self.begin(State::Open, now);
            return None;
        };
        if self.state == State::Full {
            return None;
        }
        let time = now.duration_since(since);
        let proven = || Advice::at(self.sent + self.sent / 2, time);
        let advice = if time >= FORGET {
            self.before = (Duration::ZERO, 0);
            self.advice.at_most(proven().at_least(Advice::start()))
        } else if time >= PROOF && self.sent >= PROOF_BYTES {
            self.advice.at_least(proven())
        } else {
            return None;
        };
        self.begin(State::Open, now);
        self.change(advice)
    }

    fn begin(&mut self, state: State, now: Instant) {
        (self.state, self.since, self.sent) = (state, Some(now), 0);
    }

    /// How long the line has been full up to `now`, and what it took.
    fn full(&self, now: Instant) -> (Duration, usize) {
        let (time, bytes) = self.before;
        match self.since {
            Some(since) if self.state == State::Full => {
                (time + now.duration_since(since), bytes + self.sent)
            }
            _ => (time, bytes),
        }
    }

    /// What a full line has shown, if it has been full for long enough.
    fn measure(&mut self, now: Instant) -> Option<Advice> {
        let (time, bytes) = self.full(now);
        if time < WINDOW || bytes == 0 {
            return None;
        }
        self.before = (Duration::ZERO, 0);
        self.begin(State::Full, now);
        self.change(Advice::at(bytes, time))
    }

    fn change(&mut self, advice: Advice) -> Option<Advice> {
        if !advice.differs(self.advice) {
            return None;
        }
        self.advice = advice;
        self.is_above_start = advice.frame > Advice::start().frame;
        Some(advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    const FASTEST: Advice =
        Advice { unsent: UNSENT_BYTES.1, frame: FRAME_BYTES.1, queue: QUEUE_BYTES.1 };

    const SLOWEST: Advice =
        Advice { unsent: UNSENT_BYTES.0, frame: FRAME_BYTES.0, queue: QUEUE_BYTES.0 };

    /// A second of writes that a line of so many bytes a second refuses again and again.
    fn full(pace: &mut Pace, begin: Instant, bytes_per_second: usize) {
        for millis in 0..1000 {
            pace.sent(bytes_per_second / 1000);
            pace.refused(begin + MILLI * millis);
        }
    }

    /// A second of writes that a line takes.
    fn open(pace: &mut Pace, begin: Instant, bytes_per_second: usize) {
        for millis in 0..1000 {
            pace.sent(bytes_per_second / 1000);
            pace.look(begin + MILLI * millis);
        }
    }

    #[test]
    fn a_slow_line_gets_small_pieces_and_a_fast_one_large_ones() {
        let advice = |rate| {
            let mut pace = Pace::new();
            full(&mut pace, Instant::now(), rate);
            pace.advice
        };
        assert_eq!(advice(100_000), SLOWEST);
        let Advice { unsent, frame, queue } = advice(25_000_000);
        assert!((45_000..=55_000).contains(&unsent), "{unsent}");
        assert!((22_500..=27_500).contains(&frame), "{frame}");
        assert!((450_000..=550_000).contains(&queue), "{queue}");
        assert_eq!(advice(4_000_000_000), FASTEST);
    }

    #[test]
    fn a_line_so_slow_that_it_refuses_rarely_is_slow_all_the_same() {
        let mut pace = Pace::new();
        let begin = Instant::now();
        for second in 0..5 {
            pace.refused(begin + Duration::from_secs(second));
            pace.sent(60_000);
        }
        assert_eq!(pace.advice, SLOWEST);
    }

    #[test]
    fn a_line_that_is_full_for_moments_only_is_measured_all_the_same() {
        let mut pace = Pace::new();
        let begin = Instant::now();
        for round in 0..10 {
            let begin = begin + 40 * MILLI * round;
            pace.refused(begin);
            pace.sent(1_000_000 / 100);
            pace.drained(begin + 10 * MILLI);
            // What the kernel puts aside says nothing.
            pace.sent(100_000);
        }
        assert_eq!(pace.advice, SLOWEST);
    }

    #[test]
    fn a_new_line_is_taken_for_a_slow_one_until_it_has_shown_within_milliseconds_that_it_is_not() {
        let mut pace = Pace::new();
        let begin = Instant::now();
        assert!(pace.advice.frame < PIECE / 4);
        // As much as a kernel puts aside, at once.
        pace.look(begin);
        pace.sent(UNSENT_BYTES.1);
        pace.look(begin + MILLI / 10);
        assert_eq!(pace.advice, Advice::start());
        for millis in 1..=10 {
            pace.sent(1_000_000);
            pace.look(begin + MILLI * millis);
        }
        assert_eq!(pace.advice.frame, PIECE);
    }

    #[test]
    fn what_a_line_has_shown_long_ago_is_forgotten_but_not_that_it_is_slow() {
        let mut pace = Pace::new();
        let begin = Instant::now();
        open(&mut pace, begin, 1_000_000_000);
        assert_eq!(pace.advice.frame, PIECE);
        open(&mut pace, begin + Duration::from_secs(1), 10_000);
        assert_eq!(pace.advice, Advice::start());

        full(&mut pace, begin + Duration::from_secs(2), 1_000_000);
        assert_eq!(pace.advice, SLOWEST);
        pace.drained(begin + Duration::from_secs(3));
        open(&mut pace, begin + Duration::from_secs(3), 10_000);
        assert_eq!(pace.advice, SLOWEST);
    }
}
