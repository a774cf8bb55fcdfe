//! Amounts of data and what moves of them in a time, as people write them.

mod size;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::kit::args;

pub use self::size::{BadSize, Size};

/// What moves in a time, such as `10mbit`: in bits a second, as lines are sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bandwidth(NonZeroU64);

/// How much may move in a period, such as `100GB/month`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quota {
    bytes: NonZeroU64,
    period: Period,
}

/// What a quota begins anew with (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A day, at midnight.
    Day,
    /// A month, at midnight of its first day.
    Month,
}

/// So many in a time, such as `20/1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Frequency {
    /// How many, one at least.
    pub count: NonZeroU32,
    /// In what time, longer than zero.
    pub time: Duration,
}

/// The text is no frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrequency;

/// The text is no bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBandwidth;

/// The text is no quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadQuota;

/// The units of a bandwidth, the largest first, in bits a second.
const RATES: [(&str, u64); 4] =
    [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

/// The units of an amount, the largest first, in bytes.
const SIZES: [(&str, u64); 5] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

impl Period {
    /// When the period began in which `now` is, in seconds since the beginning of 1970.
    pub fn start(self, now: SystemTime) -> u64 {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let day = since.as_secs() / DAY;
        match self {
            Self::Day => day * DAY,
            Self::Month => (day - days_into_month(day)) * DAY,
        }
    }
}

/// A day in seconds, leap seconds aside, as Unix time has it.
const DAY: u64 = 24 * 3600;

/// How many days of its month have passed before this day, counted from the beginning of 1970. The
/// calendar is that of "chrono-compatible low-level date algorithms" by Howard Hinnant: years begin
/// in March, so that the leap day is the last.
fn days_into_month(day: u64) -> u64 {
    // Days from the 1st of March of the year 0 to the beginning of 1970, and in 400 years.
    let of_era = (day + 719_468) % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5
}

impl Bandwidth {
    /// So many bits a second, if it is any.
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// In bytes a second, one at least.
    pub fn bytes(self) -> u64 {
        (self.0.get() / 8).max(1)
    }
}

impl Quota {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.bytes.get()
    }

    /// In what time.
    pub fn period(self) -> Period {
        self.period
    }
}

/// A number with a unit, of which there may be a few digits behind a dot. Case does not matter.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<NonZeroU64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.is_empty() || part.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let part_of = 10_u64.pow(part.len() as u32);
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(*factor) / u128::from(part_of);
    NonZeroU64::new(whole.checked_mul(*factor)?.checked_add(part as u64)?)
}

/// The number with the largest unit in which it is a whole one.
fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fitting = units.iter().find(|(_, factor)| value.is_multiple_of(*factor));
    match fitting {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}"),
    }
}

impl FromStr for Bandwidth {
    type Err = BadBandwidth;

    fn from_str(text: &str) -> Result<Self, BadBandwidth> {
        parse(text, &RATES).map(Self).ok_or(BadBandwidth)
    }
}

impl FromStr for Quota {
    type Err = BadQuota;

    fn from_str(text: &str) -> Result<Self, BadQuota> {
        let (amount, period) = text.split_once('/').ok_or(BadQuota)?;
        let period = match period {
            "day" => Period::Day,
            "month" => Period::Month,
            _ => return Err(BadQuota),
        };
        let bytes = parse(amount, &SIZES).ok_or(BadQuota)?;
        Ok(Self { bytes, period })
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0.get(), &RATES)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.bytes.get(), &SIZES)?;
        f.write_str(match self.period {
            Period::Day => "/day",
            Period::Month => "/month",
        })
    }
}

impl FromStr for Frequency {
    type Err = BadFrequency;

    fn from_str(text: &str) -> Result<Self, BadFrequency> {
        let (count, time) = text.split_once('/').ok_or(BadFrequency)?;
        let count = count.parse().map_err(|_| BadFrequency)?;
        // A unit alone is one of it.
        let one = if time.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1" };
        let time = args::positive_duration(&format!("{one}{time}")).map_err(|_| BadFrequency)?;
        Ok(Self { count, time })
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, args::time(self.time))
    }
}

impl fmt::Display for BadFrequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frequency is a number and a time, such as 50/1s or 20/1m")
    }
}

impl std::error::Error for BadFrequency {}

/// Has serde write an amount as people do.
macro_rules! as_text {
    ($amount:ty, $bad:ty) => {
        impl TryFrom<String> for $amount {
            type Error = $bad;

            fn try_from(text: String) -> Result<Self, $bad> {
                text.parse()
            }
        }

        impl From<$amount> for String {
            fn from(value: $amount) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(Bandwidth, BadBandwidth);
as_text!(Quota, BadQuota);
as_text!(Frequency, BadFrequency);

impl fmt::Display for BadBandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bandwidth is a number with kbit, mbit or gbit (a second), such as 10mbit")
    }
}

impl std::error::Error for BadBandwidth {}

impl fmt::Display for BadQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quota is an amount a day or a month, such as 100GB/month or 500MB/day")
    }
}

impl std::error::Error for BadQuota {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_is_in_bits_a_second() {
        let bytes = |text: &str| text.parse::<Bandwidth>().map(Bandwidth::bytes);
        assert_eq!(bytes("8mbit"), Ok(1_000_000));
        assert_eq!(bytes("1.5Mbit"), Ok(187_500));
        assert_eq!(bytes("1bit"), Ok(1));
        for bad in ["", "10", "mbit", "0mbit", "-1mbit", "10 mbit", "10mb", "1..5mbit", "1.mbit"] {
            assert_eq!(bytes(bad), Err(BadBandwidth), "{bad}");
        }
        assert_eq!(bytes("99999999999999gbit"), Err(BadBandwidth));
        for text in ["10mbit", "1500kbit", "1gbit", "7bit"] {
            assert_eq!(text.parse::<Bandwidth>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_quota_is_an_amount_in_a_period() {
        let quota: Quota = "100GB/month".parse().unwrap();
        assert_eq!((quota.bytes(), quota.period()), (100_000_000_000, Period::Month));
        assert_eq!("0.5gb/day".parse::<Quota>().unwrap().to_string(), "500MB/day");
        for bad in ["", "100GB", "100GB/year", "GB/day", "0B/day", "1/day"] {
            assert_eq!(bad.parse::<Quota>(), Err(BadQuota), "{bad}");
        }
    }

    #[test]
    fn a_frequency_is_a_number_in_a_time() {
        let frequency: Frequency = "20/1m".parse().unwrap();
        assert_eq!((frequency.count.get(), frequency.time), (20, Duration::from_secs(60)));
        assert_eq!("50/s".parse::<Frequency>().unwrap().to_string(), "50/1s");
        for bad in ["", "20", "0/1s", "20/0s", "-1/1s", "20/", "a/1s"] {
            assert_eq!(bad.parse::<Frequency>(), Err(BadFrequency), "{bad}");
        }
    }

    #[test]
    fn periods_begin_at_midnight() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        // 2024-02-29 12:34:56, 2023-03-01 00:00:00, 2000-12-31 23:59:59, 1970-01-01.
        for (now, day, month) in [
            (1_709_210_096, 1_709_164_800, 1_706_745_600),
            (1_677_628_800, 1_677_628_800, 1_677_628_800),
            (978_307_199, 978_220_800, 975_628_800),
            (5, 0, 0),
        ] {
            assert_eq!((Period::Day.start(at(now)), Period::Month.start(at(now))), (day, month));
        }
    }
}
