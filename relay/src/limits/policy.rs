//! When somebody is banned, as it is written: `20/1m for 10m`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use shared::kit::args;
use shared::kit::net::Networks;

/// When somebody is banned. Nobody is by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanPolicy {
    /// What it takes, if there are to be bans.
    pub rule: Option<BanRule>,
    /// Those who are never banned.
    pub never: Networks,
}

impl BanPolicy {
    /// What it takes to ban whoever is at `ip`, if anything does.
    pub(crate) fn rule_for(&self, ip: IpAddr) -> Option<&BanRule> {
        self.rule.as_ref().filter(|_| !self.never.contain(ip))
    }
}

/// So many refusals of one source within a while are answered with a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanRule {
    /// How many.
    pub(super) count: u32,
    /// Within how long.
    pub(super) within: Duration,
    /// For how long the source is banned.
    pub(super) time: Duration,
}

/// The text is no [`BanRule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBanRule;

impl FromStr for BanRule {
    type Err = BadBanRule;

    fn from_str(text: &str) -> Result<Self, BadBanRule> {
        let (count, rest) = text.split_once('/').ok_or(BadBanRule)?;
        let (within, time) = rest.split_once(" for ").ok_or(BadBanRule)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or(BadBanRule)?;
        let duration = |text| args::positive_duration(text).map_err(|_| BadBanRule);
        Ok(Self { count, within: duration(within)?, time: duration(time)? })
    }
}

impl fmt::Display for BanRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} for {}", self.count, args::time(self.within), args::time(self.time))
    }
}

impl fmt::Display for BadBanRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ban is COUNT/TIME for TIME, such as 20/1m for 10m")
    }
}

impl std::error::Error for BadBanRule {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_so_many_refusals_within_a_time_and_how_long_it_lasts() {
        for (written, shown) in
            [("20/1m for 10m", "20/1m for 10m"), ("1/90s for 1h 30m", "1/1m30s for 1h30m")]
        {
            assert_eq!(written.parse::<BanRule>().unwrap().to_string(), shown);
        }
        for bad in ["", "20", "20/1m", "0/1m for 1m", "-1/1m for 1m", "1/0s for 1m", "1/1m for 0s"]
        {
            assert_eq!(bad.parse::<BanRule>(), Err(BadBanRule), "{bad}");
        }
    }

    #[test]
    fn some_are_never_banned() {
        let rule = "1/1m for 1m".parse().ok();
        let policy = BanPolicy { rule, never: "10.0.0.0/8".parse().unwrap() };
        assert!(policy.rule_for("10.1.1.1".parse().unwrap()).is_none());
        assert!(policy.rule_for("11.1.1.1".parse().unwrap()).is_some());
        assert!(BanPolicy::default().rule_for("11.1.1.1".parse().unwrap()).is_none());
    }
}
