//! How long is kept what has moved at tunnels, and what of their requests.

use std::time::Duration;

use shared::kit::args;
use shared::kit::settings::Row;

use super::{BadSetting, check};

/// What is kept of what moves at tunnels, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsSettings {
    /// How long statistics are kept by the hour. Zero: there are none at all.
    pub hours: Duration,
    /// How long they are kept by the minute: an hour or longer.
    pub minutes: Duration,
    /// How long it is kept which requests and visits there were. Zero: not at all.
    pub history: Duration,
    /// Whether it is kept with them who came.
    pub history_addresses: bool,
}

impl Default for StatisticsSettings {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            hours: Duration::from_secs(90 * DAY),
            minutes: Duration::from_secs(2 * DAY),
            history: Duration::from_secs(7 * DAY),
            history_addresses: false,
        }
    }
}

impl StatisticsSettings {
    /// Whether there are any statistics.
    pub(crate) fn are_kept(&self) -> bool {
        !self.hours.is_zero()
    }

    pub(super) fn check(&self) -> Result<(), BadSetting> {
        let hour = Duration::from_secs(3600);
        let Self { hours, minutes, history, history_addresses: _ } = self;
        let times = hours.is_zero() || (hour..=args::LONGEST).contains(hours);
        check("statistics", times, "must be between 1h and a year, or 0s")?;
        let times = (hour..=args::LONGEST).contains(minutes);
        check("statistics-minutes", times, "must be between 1h and a year")?;
        check("history", *history <= args::LONGEST, "must be a year at most")
    }

    /// In the order of the documentation.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Self { hours, minutes, history, history_addresses } = self;
        let time = |key, time: &_| Row::new(key, days(*time));
        vec![
            time("statistics", hours),
            time("statistics-minutes", minutes),
            time("history", history),
            Row::new("history-addresses", history_addresses),
        ]
    }
}

/// In days where there are whole ones: nobody counts with months of 30.44 days.
fn days(time: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    let (days, rest) = (time.as_secs() / DAY, time.as_secs() % DAY);
    if days > 0 && rest == 0 && time.subsec_nanos() == 0 {
        format!("{days}d")
    } else {
        args::time(time)
    }
}
