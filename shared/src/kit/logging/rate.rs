//! Lines about what others do, of which nobody can have as many written as they like.
//!
//! Each kind of such lines has a [`Rate`]: some are written, the others are counted, and one line
//! says how many there were. It comes when the kind's window is over, whether or not another line
//! of the kind does: the thread that writes the log sees to it.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So long after the first line of a kind its count starts anew.
const WINDOW: Duration = Duration::from_secs(10);

/// Lines of a kind in a window: enough to see what goes on, and less than 50 MB a day of the
/// longest flood.
const LINES: u32 = 25;

/// The same of lines about those who have been let in, of whom thousands may come at once.
const MANY_LINES: u32 = 1000;

/// How many lines there may be of one kind.
///
/// ```
/// # use shared::kit::logging::Rate;
/// # use tracing::info;
/// static TURNED_AWAY: Rate = Rate::new(|more| info!(left_out = more.count, "turned away: {more}"));
/// if TURNED_AWAY.allows() {
///     info!("turned away: no client");
/// }
/// ```
#[derive(Debug)]
pub struct Rate {
    window: Mutex<Window>,
    /// So many lines may be written in a window.
    most: u32,
    say: fn(LeftOut),
}

/// Lines of one kind that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: u64,
    /// In how much time.
    pub time: Duration,
}

#[derive(Debug)]
struct Window {
    /// `None`: no line has come since the last one was closed.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// The kinds whose window is open.
static OPEN: Mutex<Vec<&'static Rate>> = Mutex::new(Vec::new());

impl Rate {
    /// A rate of its own. `say` logs that lines were left out, at the place and in the manner of
    /// those lines.
    pub const fn new(say: fn(LeftOut)) -> Self {
        Self::of(LINES, say)
    }

    /// The same for lines about those who have been let in: a thousand in ten seconds.
    pub const fn generous(say: fn(LeftOut)) -> Self {
        Self::of(MANY_LINES, say)
    }

    /// The same for lines of which one says it all: one in ten seconds.
    pub const fn rare(say: fn(LeftOut)) -> Self {
        Self::of(1, say)
    }

    const fn of(most: u32, say: fn(LeftOut)) -> Self {
        Self { window: Mutex::new(Window { since: None, lines: 0, left_out: 0 }), most, say }
    }

    /// Whether the next line may be written. If not, it is counted.
    pub fn allows(&'static self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&'static self, now: Instant) -> bool {
        let mut window = self.window.lock();
        let was_open = window.since.is_some();
        let left_out = if window.is_open(now) { None } else { window.close(now) };
        window.since.get_or_insert(now);
        let allowed = window.count(self.most);
        drop(window);
        if !was_open {
            OPEN.lock().push(self);
        }
        left_out.into_iter().for_each(self.say);
        allowed
    }
}

impl Window {
    fn is_open(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) < WINDOW)
    }

    /// Counts one more line. Returns whether it is one of `most`, and so may be written.
    fn count(&mut self, most: u32) -> bool {
        let allowed = self.lines < most;
        if allowed {
            self.lines += 1
        } else {
            self.left_out += 1
        }
        allowed
    }

    /// Closes the window. Returns what is to be said of it.
    fn close(&mut self, now: Instant) -> Option<LeftOut> {
        let since = self.since.take()?;
        self.lines = 0;
        let count = std::mem::take(&mut self.left_out);
        (count > 0).then(|| LeftOut { count, time: now.duration_since(since) })
    }
}

/// Closes the windows that are over, in the end all of them, and says what was left out. Returns
/// when the next one will be.
pub(super) fn settle(now: Instant, in_the_end: bool) -> Option<Instant> {
    let mut over = Vec::new();
    let mut next = None::<Instant>;
    OPEN.lock().retain(|rate| {
        let mut window = rate.window.lock();
        if let Some(since) = window.since
            && window.is_open(now)
            && !in_the_end
        {
            let end = since + WINDOW;
            next = Some(next.map_or(end, |next| next.min(end)));
            return true;
        }
        over.extend(window.close(now).map(|left_out| (*rate, left_out)));
        false
    });
    for (rate, left_out) in over {
        (rate.say)(left_out);
    }
    next
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_millis().div_ceil(1000);
        write!(f, "{} more in the last {seconds} s", self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted_and_told_once_in_each_window() {
        static TOLD: AtomicU64 = AtomicU64::new(0);
        static RATE: Rate = Rate::new(|more| {
            assert!(more.time >= WINDOW, "{more:?}");
            TOLD.fetch_add(more.count, Ordering::Relaxed);
        });
        let start = Instant::now();
        let written = |at| (0..1000).filter(|_| RATE.allows_at(at)).count() as u64;
        assert_eq!(written(start), u64::from(LINES));
        assert_eq!(written(start + WINDOW / 2), 0);
        assert_eq!(TOLD.load(Ordering::Relaxed), 0);

        // The next line tells, if nobody else has.
        assert_eq!(written(start + WINDOW), u64::from(LINES));
        assert_eq!(TOLD.load(Ordering::Relaxed), 2000 - u64::from(LINES));

        // Without another line the writer of the log does.
        let due = settle(start + WINDOW, false).unwrap();
        assert_eq!(due, start + WINDOW * 2);
        settle(due, false);
        assert_eq!(TOLD.load(Ordering::Relaxed), 3000 - 2 * u64::from(LINES));
        assert!(RATE.allows_at(due), "and the count starts anew");
    }

    #[test]
    fn what_was_left_out_reads_well() {
        let left_out = LeftOut { count: 1234, time: WINDOW + Duration::from_millis(1) };
        assert_eq!(left_out.to_string(), "1234 more in the last 11 s");
    }
}
