//! What may be kept of requests and visits, for those who look at their own.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use shared::kit::amounts::Size;
use shared::kit::args;
use shared::kit::settings::Row;

use super::{BadSetting, LONGER_THAN_ZERO, check};

/// The largest body of which all may be kept. More than that nobody reads.
const LARGEST_BODY: u64 = 16 * 1024 * 1024;

/// More names of secrets are a mistake.
const MOST_NAMES: usize = 256;

/// The longest of them, in bytes.
const LONGEST_NAME: usize = 64;

/// What may be kept of requests and visits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectSettings {
    /// So much memory it takes, in bytes. Zero: nothing can be kept.
    pub memory: InspectMemory,
    /// So much is kept of each body.
    pub body: Size,
    /// So long it is kept. Longer than zero.
    pub keep: Duration,
    /// Names of headers, parameters, fields and keys whose values are secrets, besides those that
    /// the relay knows.
    pub mask: MaskNames,
}

/// An amount of memory, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectMemory(pub u64);

/// Names with commas between them, as they are compared: letters and digits in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskNames(Vec<String>);

/// The text is no list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMaskNames;

impl Default for InspectSettings {
    fn default() -> Self {
        let size = |text: &str| text.parse().expect("a size");
        Self {
            memory: InspectMemory(64_000_000),
            body: size("256kB"),
            keep: Duration::from_secs(3600),
            mask: MaskNames::default(),
        }
    }
}

impl InspectSettings {
    /// Whether it can be.
    pub(super) fn check(&self) -> Result<(), BadSetting> {
        check("inspect-body", self.body.bytes() <= LARGEST_BODY, "must be 16MB at most")?;
        check("inspect-keep", !self.keep.is_zero(), LONGER_THAN_ZERO)?;
        check("inspect-keep", self.keep <= args::LONGEST, "must be a year at most")
    }

    /// Every setting with its key, in the order of the flags.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Self { memory, body, keep, mask } = self;
        let names = (!mask.0.is_empty()).then(|| mask.to_string());
        vec![
            Row::new("inspect-memory", memory),
            Row::new("inspect-body", body),
            Row::new("inspect-keep", args::time(*keep)),
            Row::optional("inspect-mask", names.as_deref()),
        ]
    }
}

impl MaskNames {
    /// All of these lists as one.
    pub fn joined(lists: impl IntoIterator<Item = Self>) -> Self {
        Self(lists.into_iter().flat_map(|list| list.0).collect())
    }

    /// Whether a name is among them that is written as they are compared.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|one| one == name)
    }
}

impl FromStr for InspectMemory {
    type Err = shared::kit::amounts::BadSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" => Ok(Self(0)),
            text => text.parse().map(|size: Size| Self(size.bytes())),
        }
    }
}

impl fmt::Display for InspectMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_string().parse::<Size>() {
            Ok(size) => size.fmt(f),
            Err(_) => f.write_str("0"),
        }
    }
}

impl FromStr for MaskNames {
    type Err = BadMaskNames;

    fn from_str(text: &str) -> Result<Self, BadMaskNames> {
        let name = |name: &str| {
            let name = name.trim();
            let letters = name.chars().filter(|c| c.is_alphanumeric());
            let plain: String = letters.flat_map(char::to_lowercase).collect();
            (!plain.is_empty() && name.len() <= LONGEST_NAME).then_some(plain).ok_or(BadMaskNames)
        };
        let names = text.split(',').map(name).collect::<Result<Vec<_>, _>>()?;
        if names.len() > MOST_NAMES { Err(BadMaskNames) } else { Ok(Self(names)) }
    }
}

impl fmt::Display for MaskNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl fmt::Display for BadMaskNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected names with commas between them, {MOST_NAMES} at most and of {LONGEST_NAME} \
             bytes at most"
        )
    }
}

impl std::error::Error for BadMaskNames {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_however_they_are_written() {
        let names: MaskNames = "X-Internal-Id, iban,Account_Number".parse().unwrap();
        assert!(names.contains("xinternalid") && names.contains("accountnumber"));
        assert_eq!(names.to_string(), "xinternalid,iban,accountnumber");
        for bad in ["", ",", "a,", "-", &"x".repeat(65)] {
            assert_eq!(bad.parse::<MaskNames>(), Err(BadMaskNames), "{bad}");
        }
    }

    #[test]
    fn no_memory_is_an_amount_too() {
        for (text, bytes, shown) in [("0", 0, "0"), ("64MB", 64_000_000, "64MB")] {
            let memory: InspectMemory = text.parse().unwrap();
            assert_eq!((memory.0, memory.to_string().as_str()), (bytes, shown));
        }
        assert!("-1".parse::<InspectMemory>().is_err());
    }

    #[test]
    fn bodies_and_times_have_bounds() {
        let good = InspectSettings::default();
        assert_eq!(good.check(), Ok(()));
        let large = InspectSettings { body: "17MB".parse().unwrap(), ..good.clone() };
        let said = large.check().unwrap_err().to_string();
        assert_eq!(said, "inspect-body must be 16MB at most");
        assert!(InspectSettings { keep: Duration::ZERO, ..good }.check().is_err());
    }
}
