//! How fast the line takes what is written, and so how much may wait in it.
//!
//! What the kernel has taken cannot be overtaken any more, nor a frame that has begun. Both are
//! kept to a length of *time* rather than of bytes: a small request behind bulk waits a few
//! milliseconds on a slow line, and a fast one is still fed in large pieces.

use std::time::{Duration, Instant};

use crate::carry::PIECE;

/// How long it may take the line to carry what the kernel holds of it and has not sent.
const UNSENT: Duration = Duration::from_millis(2);

/// How long one frame may occupy the line.
const FRAME: Duration = Duration::from_millis(1);

/// Bounds of what the kernel may hold unsent, in bytes. The upper one is that of a new connection.
const UNSENT_BYTES: (usize, usize) = (16 * 1024, crate::kit::net::NOT_SENT_LOW_WATER as usize);

/// Bounds of the payload of one frame, in bytes.
const FRAME_BYTES: (usize, usize) = (8 * 1024, PIECE);

/// A rate is measured over at least this long.
const WINDOW: Duration = Duration::from_millis(50);

/// When the line has taken all there was for so long, it is no longer what limits us.
const FORGET: Duration = Duration::from_millis(500);

/// What the measurements say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// What the kernel may hold unsent, in bytes.
    pub(super) unsent: usize,
    /// The payload of one frame, in bytes.
    pub(super) frame: usize,
}

/// Measures the line while it is what limits us: from one refused write to another.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the current window began: at a refused write.
    window: Option<Instant>,
    /// Since when the line has taken all there was.
    drained: Option<Instant>,
    /// Bytes taken by the socket in this window.
    sent: usize,
    advice: Advice,
}

impl Advice {
    const FAST: Self = Self { unsent: UNSENT_BYTES.1, frame: FRAME_BYTES.1 };

    fn at(bytes: usize, time: Duration) -> Self {
        let within = |limit: Duration, (least, most): (usize, usize)| {
            let bytes = bytes as f64 * limit.as_secs_f64() / time.as_secs_f64();
            (bytes as usize).clamp(least, most)
        };
        Self { unsent: within(UNSENT, UNSENT_BYTES), frame: within(FRAME, FRAME_BYTES) }
    }
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { window: None, drained: None, sent: 0, advice: Advice::FAST }
    }

    /// The socket took `n` bytes.
    pub(super) fn sent(&mut self, n: usize) {
        self.sent += n;
    }

    /// The socket took all that there was.
    pub(super) fn drained(&mut self) {
        if self.window.is_some() && self.drained.is_none() {
            self.drained = Some(Instant::now());
        }
    }

    /// The socket refused a write at `now`. Returns new advice, if it differs noticeably.
    pub(super) fn refused(&mut self, now: Instant) -> Option<Advice> {
        let idle = self.drained.take().is_some_and(|since| now.duration_since(since) > FORGET);
        let Some(start) = self.window else {
            (self.window, self.sent) = (Some(now), 0);
            return None;
        };
        let time = now - start;
        if !idle && (time < WINDOW || self.sent == 0) {
            return None;
        }
        let advice = if idle { Advice::FAST } else { Advice::at(self.sent, time) };
        (self.window, self.sent) = (Some(now), 0);
        if !differs(advice.unsent, self.advice.unsent) && !differs(advice.frame, self.advice.frame)
        {
            return None;
        }
        self.advice = advice;
        Some(advice)
    }
}

/// Whether a figure has changed by a quarter or more: less is not worth a system call.
fn differs(new: usize, old: usize) -> bool {
    new.abs_diff(old) * 4 >= old
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_millis(1);

    /// The advice after a second of writes that a line of so many bytes a second refuses again and
    /// again.
    fn advice(bytes_per_second: usize) -> Advice {
        let mut pace = Pace::new();
        let begin = Instant::now();
        for millis in 0..1000 {
            pace.sent(bytes_per_second / 1000);
            pace.refused(begin + START * millis);
        }
        pace.advice
    }

    #[test]
    fn a_slow_line_gets_small_pieces_and_a_fast_one_large_ones() {
        assert_eq!(advice(100_000), Advice { unsent: 16 * 1024, frame: 8 * 1024 });
        let Advice { unsent, frame } = advice(25_000_000);
        assert!((45_000..=55_000).contains(&unsent), "{unsent}");
        assert!((22_500..=27_500).contains(&frame), "{frame}");
        assert_eq!(advice(1_000_000_000), Advice::FAST);
    }

    #[test]
    fn a_line_so_slow_that_it_refuses_rarely_is_slow_all_the_same() {
        let mut pace = Pace::new();
        let begin = Instant::now();
        for second in 0..5 {
            pace.refused(begin + Duration::from_secs(second));
            pace.sent(60_000);
        }
        assert_eq!(pace.advice, Advice { unsent: 16 * 1024, frame: 8 * 1024 });
    }

    #[test]
    fn a_line_that_has_been_idle_is_measured_anew() {
        let mut pace = Pace::new();
        let begin = Instant::now();
        pace.refused(begin);
        pace.sent(1000);
        assert!(pace.refused(begin + WINDOW).is_some_and(|advice| advice != Advice::FAST));
        pace.drained();
        assert_eq!(pace.refused(Instant::now() + FORGET * 2), Some(Advice::FAST));
    }
}
