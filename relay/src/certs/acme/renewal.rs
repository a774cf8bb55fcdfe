//! When a certificate is to be renewed.

use std::time::{Duration, SystemTime};

use instant_acme::RenewalInfo;
use shared::kit::backoff::jitter;

use super::super::served::Served;

/// How often an authority is asked when it wants its certificates renewed, at most and at least:
/// it may want some of them back at any time.
const ASKED: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(24 * 3600);

/// How long to wait with an authority that does not answer to that.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// At two thirds of its life, or a little later: certificates that were issued together are not
/// renewed together.
pub(super) fn by_itself(served: &Served) -> SystemTime {
    let life = served.expires.duration_since(served.begins).unwrap_or_default();
    served.begins + life * 2 / 3 + jitter(life / 30)
}

/// As the authority wants it: some time within its window. What lies in it already stays.
pub(super) fn as_wanted(info: &RenewalInfo, now: SystemTime, before: SystemTime) -> SystemTime {
    let window = &info.suggested_window;
    let (start, end): (SystemTime, SystemTime) = (window.start.into(), window.end.into());
    if end <= now {
        return now.min(before);
    }
    if (start..=end).contains(&before) {
        return before;
    }
    start + jitter(end.duration_since(start).unwrap_or_default())
}

/// How long until the authority is asked again, which suggests `after`.
pub(super) fn ask_again(after: Duration) -> Duration {
    after.clamp(*ASKED.start(), *ASKED.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn info(start: &str, end: &str) -> RenewalInfo {
        let json = format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_window_of_the_authority_decides_and_a_time_within_it_stays() {
        let info = info("1970-01-01T01:00:00Z", "1970-01-01T02:00:00Z");
        for before in [0, 7201, 100_000] {
            let renew = as_wanted(&info, at(0), at(before));
            assert!((at(3600)..=at(7200)).contains(&renew), "{renew:?}");
        }
        assert_eq!(as_wanted(&info, at(0), at(4000)), at(4000));
        // The window is over: now.
        assert_eq!(as_wanted(&info, at(9000), at(100_000)), at(9000));
        assert_eq!(as_wanted(&info, at(9000), at(8000)), at(8000));
    }
}
