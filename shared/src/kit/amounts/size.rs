//! How large something may be.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use super::{SIZES, parse, write};

/// An amount of data, such as `10MB`; a number alone is bytes. One byte at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(NonZeroU64);

/// The text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSize;

impl Size {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let bytes = if is_number { text.parse().ok() } else { parse(text, &SIZES) };
        bytes.map(Self).ok_or(BadSize)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.bytes(), &SIZES)
    }
}

impl fmt::Display for BadSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size is a number of bytes, or one with kB, MB, GB or TB, such as 10MB")
    }
}

impl std::error::Error for BadSize {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        let good = [("1", 1, "1B"), ("4096", 4096, "4096B"), ("10MB", 10_000_000, "10MB")];
        for (text, bytes, shown) in good.into_iter().chain([("1.5kb", 1500, "1500B")]) {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for bad in ["", "0", "0MB", "-1", "+1", "10 MB", "MB", "1e6", "99999999TB"] {
            assert_eq!(bad.parse::<Size>(), Err(BadSize), "{bad}");
        }
    }
}
