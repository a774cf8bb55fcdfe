//! Who visits what: the body of an `OPEN` record.
//!
//! What every visit has comes first, at fixed places. What only some have follows as *extras*:
//! a type, a length and a value each, in any order. A client passes over those that it does not
//! know, so that a newer relay can say more without a new version of the protocol.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::id::{VISIT_ID, VisitId};
use crate::control::protocol::TunnelName;

/// The address that the visitor connected to.
const DESTINATION: u8 = 1;
/// The server name that the visitor asked for.
const SERVER_NAME: u8 = 2;
/// The stream is one for requests of many visitors.
const POOLED: u8 = 3;

/// The longest [`ServerName`] in bytes, as for any name in DNS.
const MAX_SERVER_NAME: usize = 253;

/// Who visits what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The relay's number for the visit, the same in the logs of both ends.
    pub visit: VisitId,
    /// The tunnel that the visitor came in by.
    pub tunnel: TunnelName,
    /// Where the visitor came from.
    pub visitor: SocketAddr,
    /// Where the visitor connected to, if the relay knows.
    pub destination: Option<SocketAddr>,
    /// The host that the visitor asked for, if it named one.
    pub server_name: Option<ServerName>,
    /// Whether it is a connection for requests of HTTP, one after the other, of whoever comes:
    /// then the visitor is only the first of them.
    pub pooled: bool,
}

/// The name of a host as a visitor gives it: letters, digits, `-`, `_` and dots between them, as
/// in DNS, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerName(Box<str>);

/// The text is no [`ServerName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadServerName;

impl Open {
    /// A visit of which no more is known than every visit has.
    pub fn new(visit: VisitId, tunnel: TunnelName, visitor: SocketAddr) -> Self {
        Self { visit, tunnel, visitor, destination: None, server_name: None, pooled: false }
    }

    /// Visit (16), name's length (1), name, the visitor's address, then extras of a type (1), a
    /// length (2) and a value.
    pub(super) fn encode(&self) -> Vec<u8> {
        let name = self.tunnel.as_str().as_bytes();
        let mut body = Vec::with_capacity(VISIT_ID + 1 + name.len() + LONGEST_ADDRESS);
        body.extend_from_slice(&self.visit.to_bytes());
        body.push(name.len() as u8);
        body.extend_from_slice(name);
        encode_address(self.visitor, &mut body);
        if let Some(destination) = self.destination {
            let mut value = Vec::with_capacity(LONGEST_ADDRESS);
            encode_address(destination, &mut value);
            encode_extra(DESTINATION, &value, &mut body);
        }
        if let Some(name) = &self.server_name {
            encode_extra(SERVER_NAME, name.as_str().as_bytes(), &mut body);
        }
        if self.pooled {
            encode_extra(POOLED, &[], &mut body);
        }
        body
    }

    /// `None`: it does not decode.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (visit, rest) = body.split_first_chunk::<VISIT_ID>()?;
        let (length, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (visitor, mut rest) = decode_address(rest)?;
        let tunnel = std::str::from_utf8(name).ok()?.parse().ok()?;
        let mut open = Self::new(VisitId::from_bytes(*visit), tunnel, visitor);
        let mut seen = Seen::default();
        while let Some((&kind, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk::<2>()?;
            let (value, after) =
                after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = after;
            if !seen.first(kind) {
                return None;
            }
            match kind {
                DESTINATION => {
                    let (address, []) = decode_address(value)? else { return None };
                    open.destination = Some(address);
                }
                SERVER_NAME => {
                    open.server_name = Some(std::str::from_utf8(value).ok()?.parse().ok()?);
                }
                POOLED if value.is_empty() => open.pooled = true,
                POOLED => return None,
                _ => (),
            }
        }
        Some(open)
    }
}

/// An address with its family and port, in bytes.
const LONGEST_ADDRESS: usize = 1 + 16 + 2;

/// Family (1: 4 or 6), address (4 or 16), port (2).
fn encode_address(address: SocketAddr, bytes: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes.push(4);
            bytes.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(6);
            bytes.extend_from_slice(&ip.octets());
        }
    }
    bytes.extend_from_slice(&address.port().to_be_bytes());
}

/// The address that `bytes` begin with, and what follows it.
fn decode_address(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (family, rest) = bytes.split_first()?;
    let (ip, rest) = match family {
        4 => rest.split_first_chunk::<4>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
        6 => rest.split_first_chunk::<16>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}

/// `value` is at most as long as a name in DNS.
fn encode_extra(kind: u8, value: &[u8], body: &mut Vec<u8>) {
    body.push(kind);
    body.extend_from_slice(&(value.len() as u16).to_be_bytes());
    body.extend_from_slice(value);
}

/// The types of extras that have come.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    /// Notes a type. Returns whether it is the first of its type: of two that differ, programs
    /// along the way could each believe another.
    fn first(&mut self, kind: u8) -> bool {
        let (word, bit) = (&mut self.0[usize::from(kind / 64)], 1 << (kind % 64));
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

impl ServerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = BadServerName;

    /// Upper case becomes lower case.
    fn from_str(text: &str) -> Result<Self, BadServerName> {
        let label = |label: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(allowed)
        };
        let good = text.len() <= MAX_SERVER_NAME && text.split('.').all(label);
        if good { Ok(Self(text.to_ascii_lowercase().into())) } else { Err(BadServerName) }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no name of a host")
    }
}

impl std::error::Error for BadServerName {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visit::id::VisitIds;

    /// A body without extras, with `extras` behind it.
    fn decode(extras: &[&[u8]]) -> Option<Open> {
        Open::decode(&[plain().encode(), extras.concat()].concat())
    }

    fn plain() -> Open {
        let visitor = SocketAddr::from(([127, 0, 0, 1], 40_000));
        Open::new(VisitIds::new().next(), TunnelName::default_tunnel(), visitor)
    }

    const TO_PORT_443: &[u8] = &[DESTINATION, 0, 7, 4, 10, 0, 0, 1, 1, 187];
    const TO_A_NAME: &[u8] = b"\x02\x00\x0bexample.com";
    const FROM_THE_FUTURE: &[u8] = &[200, 0, 3, 1, 2, 3];

    #[test]
    fn extras_stand_in_any_order_among_those_that_are_not_known() {
        let orders =
            [[TO_PORT_443, TO_A_NAME, FROM_THE_FUTURE], [FROM_THE_FUTURE, TO_A_NAME, TO_PORT_443]];
        for extras in orders {
            let open = decode(&extras).unwrap();
            assert_eq!(open.destination, Some(([10, 0, 0, 1], 443).into()));
            assert_eq!(open.server_name.unwrap().as_str(), "example.com");
        }
    }

    #[test]
    fn a_connection_for_many_visitors_says_so() {
        let pooled = Open { pooled: true, ..plain() };
        assert_eq!(Open::decode(&pooled.encode()), Some(pooled));
        assert_eq!(decode(&[&[POOLED, 0, 1, 1]]), None);
    }

    #[test]
    fn no_extra_stands_twice() {
        for extra in [TO_PORT_443, TO_A_NAME, FROM_THE_FUTURE] {
            assert!(decode(&[extra]).is_some());
            assert_eq!(decode(&[extra, extra]), None);
        }
    }

    #[test]
    fn extras_that_are_cut_off_or_wrong_are_refused() {
        let bad: [&[u8]; 8] = [
            &TO_PORT_443[..2],
            &TO_PORT_443[..9],
            &[DESTINATION, 0, 0],
            &[DESTINATION, 0, 8, 4, 10, 0, 0, 1, 1, 187, 0],
            &[DESTINATION, 0, 7, 5, 10, 0, 0, 1, 1, 187],
            &[SERVER_NAME, 0, 0],
            b"\x02\x00\x04a\nbc",
            b"\x02\x00\x03\xff\xff\xff",
        ];
        for extra in bad {
            assert_eq!(decode(&[extra]), None, "{}", extra.escape_ascii());
        }
    }

    #[test]
    fn a_server_name_is_one_of_dns_in_lower_case() {
        assert_eq!("WWW.Example.com".parse::<ServerName>().unwrap().as_str(), "www.example.com");
        let long = ["a".repeat(63).as_str(); 4].join(".");
        let bad = ["", ".", "a..b", "a.", "ä.example", "a b", "[::1]", &long, &"a".repeat(64)];
        for bad in bad {
            assert_eq!(bad.parse::<ServerName>(), Err(BadServerName), "{bad}");
        }
    }
}
