//! A time that statistics are asked for, in steps.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::slots::{HOUR, MINUTE};
use crate::store::to_millis;

/// So many points are told at a time: more than a screen is wide.
pub(super) const MOST_POINTS: i64 = 2000;

/// A time, in steps that begin with full minutes, hours and days of UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// In milliseconds since 1970: whole steps.
    times: Range<i64>,
    step: i64,
}

/// It is no [`Span`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSpan {
    /// A step is neither whole minutes below an hour nor whole hours.
    Step,
    /// It ends before it begins.
    Empty,
    /// It has too many steps.
    TooLong,
}

impl Span {
    /// The time between two moments, in steps that are so long: minutes below an hour (such as 1, 5
    /// or 15), or hours. The steps in which it begins and ends are part of it.
    ///
    /// # Errors
    ///
    /// It has no sense, or more than 2,000 steps.
    pub fn new(from: SystemTime, to: SystemTime, step: Duration) -> Result<Self, BadSpan> {
        let step = i64::try_from(step.as_millis()).map_err(|_| BadSpan::Step)?;
        let is_even = |unit: i64| step >= unit && step % unit == 0;
        let is_step = is_even(HOUR) || (is_even(MINUTE) && step < HOUR);
        if !is_step {
            return Err(BadSpan::Step);
        }
        if from >= to {
            return Err(BadSpan::Empty);
        }
        let first = to_millis(from).div_euclid(step) * step;
        let last = (to_millis(to) - 1).div_euclid(step) * step;
        if (last - first) / step >= MOST_POINTS {
            return Err(BadSpan::TooLong);
        }
        let end = last.checked_add(step).ok_or(BadSpan::TooLong)?;
        Ok(Self { times: first..end, step })
    }

    pub(super) fn times(&self) -> Range<i64> {
        self.times.clone()
    }

    /// How long the slots are that a step is made of.
    pub(super) fn slot(&self) -> i64 {
        if self.step >= HOUR { HOUR } else { MINUTE }
    }

    /// When the steps begin.
    pub(super) fn starts(&self) -> impl Iterator<Item = i64> {
        let Self { times, step } = self;
        let step = *step;
        (0..(times.end - times.start) / step).map({
            let first = times.start;
            move |n| first + n * step
        })
    }

    /// The number of the step in which this moment is, which is part of it.
    pub(super) fn index(&self, time: i64) -> usize {
        usize::try_from((time - self.times.start) / self.step).unwrap_or_default()
    }
}

impl fmt::Display for BadSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step => f.write_str("a step is whole minutes below an hour, or whole hours"),
            Self::Empty => f.write_str("it ends before it begins"),
            Self::TooLong => write!(f, "it has more than {MOST_POINTS} steps: take longer ones"),
        }
    }
}

impl std::error::Error for BadSpan {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_span_has_whole_steps_and_not_too_many() {
        let minutes = |from, to, n: u64| Span::new(at(from), at(to), Duration::from_secs(n * 60));
        let starts = |span: Span| -> Vec<_> { span.starts().map(|time| time / 1000).collect() };
        assert_eq!(starts(minutes(59, 121, 1).unwrap()), [0, 60, 120]);
        assert_eq!(starts(minutes(60, 120, 1).unwrap()), [60]);
        assert_eq!(starts(minutes(3599, 3601, 60).unwrap()), [0, 3600]);
        assert_eq!(starts(minutes(86_000, 86_401, 24 * 60).unwrap()), [0, 86_400]);
        assert_eq!(minutes(7, 8, 5).unwrap().index(299_999), 0);

        assert_eq!(minutes(0, 2000 * 60, 1).unwrap().starts().count(), 2000);
        assert_eq!(minutes(0, 2000 * 60 + 1, 1), Err(BadSpan::TooLong));
        assert_eq!(minutes(60, 60, 1), Err(BadSpan::Empty));
        for step in [0, 90, 61] {
            assert_eq!(minutes(0, 60, step), Err(BadSpan::Step), "{step}");
        }
        assert_eq!(Span::new(at(0), at(60), Duration::from_millis(500)), Err(BadSpan::Step));
        assert_eq!(Span::new(at(0), at(60), Duration::MAX), Err(BadSpan::Step));
    }
}
