//! Names and ports that a token may have.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest pattern in bytes: that of a host name.
const MAX_PATTERN: usize = 253;

/// Ranges in one list of ports: what fits a line that somebody reads.
const MAX_RANGES: usize = 16;

/// Names of tunnels: one, or all that fit. A `*` stands for any number of characters, none
/// included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(Box<str>);

/// Names of hosts: one, or all that fit, such as `*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(Box<str>);

/// Public ports, such as `9000-9010` or `443,9000-9010`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ports(Box<[RangeInclusive<u16>]>);

/// The text is no pattern of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPattern;

/// The text is no list of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPorts;

impl NamePattern {
    /// Whether the name fits.
    pub fn fits(&self, name: &str) -> bool {
        fits(self.0.as_bytes(), name.as_bytes())
    }
}

impl HostPattern {
    /// Whether the host fits. Case does not matter (RFC 4343).
    pub fn fits(&self, host: &str) -> bool {
        fits(self.0.as_bytes(), host.to_ascii_lowercase().as_bytes())
    }
}

impl Ports {
    /// Whether the port is among them.
    pub fn contain(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// All of them, as written: in any order, and perhaps more than once.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }
}

/// Whether `text` is what `pattern` says. Takes time in proportion to the product of their lengths
/// at most.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and where in the text it began to be tried.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
            }
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((behind, from)) => {
                    *from += 1;
                    (p, t) = (*behind, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn pattern(text: &str, allowed: impl Fn(u8) -> bool) -> Result<Box<str>, BadPattern> {
    let good = (1..=MAX_PATTERN).contains(&text.len())
        && text.bytes().all(|byte| byte == b'*' || allowed(byte));
    if good { Ok(text.into()) } else { Err(BadPattern) }
}

impl FromStr for NamePattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        pattern(text, |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')).map(Self)
    }
}

impl FromStr for HostPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let text = text.to_ascii_lowercase();
        pattern(&text, |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')).map(Self)
    }
}

impl FromStr for Ports {
    type Err = BadPorts;

    fn from_str(text: &str) -> Result<Self, BadPorts> {
        let ranges: Box<[_]> = text.split(',').map(range).collect::<Result<_, _>>()?;
        if ranges.len() > MAX_RANGES { Err(BadPorts) } else { Ok(Self(ranges)) }
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, BadPorts> {
    // `u16` would also take `+80`.
    let port = |text: &str| match text.parse() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(BadPorts),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first <= last { Ok(first..=last) } else { Err(BadPorts) }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}", range.start())?;
            if range.start() != range.end() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

/// As they are written in JSON: the text that a person would write.
macro_rules! as_text {
    ($type:ty, $err:ty) => {
        impl TryFrom<String> for $type {
            type Error = $err;

            fn try_from(text: String) -> Result<Self, $err> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(NamePattern, BadPattern);
as_text!(HostPattern, BadPattern);
as_text!(Ports, BadPorts);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pattern is a name in which * stands for any characters, such as web-*")
    }
}

impl std::error::Error for BadPattern {}

impl fmt::Display for BadPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ports are written 9000, 9000-9010 or 443,9000-9010, with {MAX_RANGES} ranges at most"
        )
    }
}

impl std::error::Error for BadPorts {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let name = |pattern: &str, name: &str| pattern.parse::<NamePattern>().unwrap().fits(name);
        for (pattern, fitting) in [
            ("web", "web"),
            ("web-*", "web-1"),
            ("*", "anything"),
            ("*-db", "main-db"),
            ("a*b*c", "axxbxxbc"),
            ("web*", "web"),
            ("**", "x"),
        ] {
            assert!(name(pattern, fitting), "{pattern} {fitting}");
        }
        for (pattern, other) in
            [("web", "web2"), ("web-*", "web"), ("*-db", "db"), ("a*b", "abc"), ("web", "we")]
        {
            assert!(!name(pattern, other), "{pattern} {other}");
        }
        let hosts: HostPattern = "*.Example.com".parse().unwrap();
        assert!(hosts.fits("A.example.COM") && !hosts.fits("example.com"));
        for bad in ["", "a b", "A", "a.b", &"x".repeat(254)] {
            assert_eq!(bad.parse::<NamePattern>(), Err(BadPattern), "{bad}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let pattern: NamePattern = "*a".repeat(100).parse().unwrap();
        assert!(!pattern.fits(&"a".repeat(63)));
    }

    #[test]
    fn ports_are_lists_of_ranges() {
        let ports: Ports = "443,9000-9010".parse().unwrap();
        assert!(ports.contain(443) && ports.contain(9010) && !ports.contain(9011));
        assert_eq!(ports.to_string(), "443,9000-9010");
        assert_eq!(ports.ranges(), [443..=443, 9000..=9010]);
        for bad in ["", "0", "0-5", "5-1", "a", "+1", "1-", "65536", "1,,2"] {
            assert_eq!(bad.parse::<Ports>(), Err(BadPorts), "{bad}");
        }
        assert_eq!(["1"; 17].join(",").parse::<Ports>(), Err(BadPorts));
    }
}
