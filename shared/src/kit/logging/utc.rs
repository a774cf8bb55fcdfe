//! Times of the day and the calendar, in UTC, as logs show them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment of the calendar, in UTC and microseconds. It is displayed as
/// `2026-11-20T11:21:11.213296Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    seconds: u64,
    micros: u32,
}

/// The length of a time such as `2026-11-20T11:21:11.213296Z`.
pub(super) const TIMESTAMP: usize = 27;

impl Utc {
    /// This moment.
    pub fn now() -> Self {
        Self::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The moment that was so long ago.
    pub fn ago(time: Duration) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from(now.saturating_sub(time))
    }

    /// As web servers write it in their logs: `20/Nov/2026:11:21:11 +0000`.
    pub fn common(self) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let (days, second) = (self.seconds / 86_400, self.seconds % 86_400);
            let (year, month, day) = date(days);
            let month = MONTHS[month as usize - 1];
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            write!(f, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
        })
    }

    /// Writes it as it is displayed.
    pub fn push_to(self, text: &mut String) {
        text.push_str(self.text(&mut [0; TIMESTAMP]));
    }

    /// As it is displayed, written into `text`.
    pub(super) fn text(self, text: &mut [u8; TIMESTAMP]) -> &str {
        let (days, second) = (self.seconds / 86_400, self.seconds % 86_400);
        let (year, month, day) = date(days);
        *text = *b"0000-00-00T00:00:00.000000Z";
        let fields = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, second / 3600),
            (14..16, second / 60 % 60),
            (17..19, second % 60),
            (20..26, self.micros.into()),
        ];
        for (place, mut number) in fields {
            for digit in text[place].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl From<Duration> for Utc {
    /// The moment so long after the beginning of 1970.
    fn from(since: Duration) -> Self {
        Self { seconds: since.as_secs(), micros: since.subsec_micros() }
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; TIMESTAMP]))
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Year, month and day from the days since 1970, by Howard Hinnant's `civil_from_days`: years
/// begin in March, so that the day which not every year has is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // Since the first of March of the year 0.
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // From March.
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_400, 7, "2000-02-29T00:00:00.000007Z", "29/Feb/2000:00:00:00 +0000"),
            (1_709_251_199, 999_999, "2024-02-29T23:59:59.999999Z", "29/Feb/2024:23:59:59 +0000"),
            (1_795_444_213, 5_000, "2026-11-23T14:30:13.005000Z", "23/Nov/2026:14:30:13 +0000"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z", "01/Mar/2100:00:00:00 +0000"),
        ];
        for (seconds, micros, text, common) in cases {
            let time = Utc { seconds, micros };
            assert_eq!((time.to_string(), time.common().to_string()), (text.into(), common.into()));
        }
    }
}
