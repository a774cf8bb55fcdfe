//! Numbers for visits, of which no two are alike.
//!
//! The relay numbers its visits, and both ends write the number into their logs. Logs outlive a
//! relay and are collected from several, so a number carries what tells one run of a relay from
//! all others.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;

use crate::kit::backoff::random;

/// The length of a [`VisitId`] as bytes.
pub const VISIT_ID: usize = 16;

/// The number of one visit, unlike that of any other visit of any relay.
///
/// As text it is the run of the relay in sixteen hexadecimal digits, a hyphen, and the count of
/// the visit in that run: `9f3c2a71b04d5e88-42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitId {
    /// Random, and the same for all visits of one run of a relay.
    run: u64,
    /// From 1, in the order the visits began.
    count: u64,
}

/// Numbers the visits of one run of a relay. Make one for each relay.
#[derive(Debug)]
pub struct VisitIds {
    run: u64,
    last: AtomicU64,
}

/// The text is no [`VisitId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadVisitId;

impl VisitIds {
    /// The numbers of a run that begins now.
    pub fn new() -> Self {
        Self { run: random(), last: AtomicU64::new(0) }
    }

    /// The next number. Takes no lock.
    pub fn next(&self) -> VisitId {
        VisitId { run: self.run, count: self.last.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Default for VisitIds {
    fn default() -> Self {
        Self::new()
    }
}

impl VisitId {
    /// The number as it stands in an `OPEN` record.
    pub(crate) fn to_bytes(self) -> [u8; VISIT_ID] {
        (u128::from(self.run) << 64 | u128::from(self.count)).to_be_bytes()
    }

    /// The number that `bytes` stand for.
    pub(crate) fn from_bytes(bytes: [u8; VISIT_ID]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { run: (both >> 64) as u64, count: both as u64 }
    }
}

impl fmt::Display for VisitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There is one for each visit, and mostly several.
        let mut run = [0; 16];
        HEXLOWER.encode_mut(&self.run.to_be_bytes(), &mut run);
        f.write_str(std::str::from_utf8(&run).unwrap_or_default())?;
        f.write_str("-")?;
        f.write_str(itoa::Buffer::new().format(self.count))
    }
}

impl FromStr for VisitId {
    type Err = BadVisitId;

    fn from_str(text: &str) -> Result<Self, BadVisitId> {
        let (run, count) = text.split_once('-').ok_or(BadVisitId)?;
        let id = Self {
            run: u64::from_str_radix(run, 16).map_err(|_| BadVisitId)?,
            count: count.parse().map_err(|_| BadVisitId)?,
        };
        // Numbers have other spellings as well, which nobody would find with `grep`.
        if id.to_string() == text { Ok(id) } else { Err(BadVisitId) }
    }
}

impl fmt::Display for BadVisitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a visit is 16 hexadecimal digits, a hyphen and a number")
    }
}

impl std::error::Error for BadVisitId {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_two_visits_are_alike_whatever_relay_they_come_to() {
        let relays = [VisitIds::new(), VisitIds::new()];
        let visits: HashSet<_> = (0..100).flat_map(|_| relays.iter().map(VisitIds::next)).collect();
        assert_eq!(visits.len(), 200);
    }

    #[test]
    fn visits_count_from_one_within_a_run() {
        let visits = VisitIds::new();
        let (first, second) = (visits.next().to_string(), visits.next().to_string());
        assert_eq!(first.split_once('-').unwrap().1, "1");
        assert_eq!(second.split_once('-').unwrap().1, "2");
        assert_eq!(first[..16], second[..16]);
    }

    #[test]
    fn only_the_spelling_of_the_logs_is_read() {
        let good = "00000000000000ff-42";
        assert_eq!(good.parse::<VisitId>().unwrap().to_string(), good);
        for bad in ["", "-", "42", "ff-42", "00000000000000FF-42", "00000000000000ff-042"] {
            assert_eq!(bad.parse::<VisitId>(), Err(BadVisitId), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_say_the_same(run: u64, count: u64) {
            let id = VisitId { run, count };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(VisitId::from_bytes(id.to_bytes()), id);
        }
    }
}
