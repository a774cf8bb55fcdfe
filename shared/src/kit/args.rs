//! Values of settings that both programs take.

use std::time::{Duration, UNIX_EPOCH};

use crate::kit::logging;

/// The longest time that a setting takes, a year, and be it a leap year: whoever wants more means for
/// ever, and sums of times must not overflow.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A time such as `30s`, `5m` or `1h 30m`; zero is allowed.
///
/// # Errors
///
/// What is wrong with the text, for a person.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => Err("must be a year at most".into()),
        Ok(duration) => Ok(duration),
        Err(err) => Err(format!("{err}; a time is a number and a unit, such as 30s or 5m")),
    }
}

/// A time longer than zero.
///
/// # Errors
///
/// What is wrong with the text, for a person.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than zero".into()),
        result => result,
    }
}

/// A time as [`duration`] takes it, without blanks, so that it can stand within a word.
pub fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// The day, as in `2026-11-27`, on which so much time has passed since the beginning of 1970.
pub fn day(since: Duration) -> String {
    /// The last day that is written like this.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + since.min(LAST)).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// A filter of the log, checked and as it was written.
///
/// # Errors
///
/// What is wrong with the text, for a person.
pub fn log_filter(text: &str) -> Result<String, String> {
    logging::check_filter(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_bounds() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(duration("90").is_err());
        assert!(duration("1y").is_ok() && duration("366d").is_ok());
        assert!(duration("1y 1d").is_err());
        assert!(duration("300000000000years").is_err());
        assert!(positive_duration("0s").is_err());
        assert_eq!(time(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!(day(Duration::from_secs(1_000_000_000)), "2001-09-09");
        assert_eq!(day(Duration::MAX), "9999-12-31");
    }
}
