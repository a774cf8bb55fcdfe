//! How a local service learns who visits it: the PROXY protocol.
//!
//! The service expects a header in front of what the visitor says, in one of two versions: a line
//! of text, or bytes. See the
//! [specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ppp::v1;
use ppp::v2::{self, Builder, Command, Protocol, Type, Version};
use shared::visit::open::Open;

/// The version of the header that a local service expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text: the addresses and nothing else.
    V1,
    /// Bytes: also the visit's number, and the server name if the visitor gave one.
    V2,
}

/// The text is no [`ProxyVersion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxyVersion;

impl ProxyVersion {
    /// What comes in front of a visit.
    pub(crate) fn header(self, open: &Open) -> Vec<u8> {
        let (source, destination) = ends(open);
        match self {
            Self::V1 => v1::Addresses::from((source, destination)).to_string().into_bytes(),
            Self::V2 => {
                let visit = open.visit.to_string();
                let name = open.server_name.as_ref().map(|name| name.as_str().as_bytes());
                let addresses = v2::Addresses::from((source, destination));
                let header = Builder::with_addresses(PROXIED, Protocol::Stream, addresses)
                    .write_tlv(Type::UniqueId, visit.as_bytes())
                    .and_then(|header| match name {
                        Some(name) => header.write_tlv(Type::Authority, name),
                        None => Ok(header),
                    })
                    .and_then(Builder::build);
                header.expect("addresses and two short names fit a header")
            }
        }
    }

    /// What comes in front of the client's own connections, which are nobody's visit.
    pub(crate) fn own_header(self) -> Vec<u8> {
        match self {
            Self::V1 => v1::Addresses::Unknown.to_string().into_bytes(),
            Self::V2 => {
                let own = Version::Two | Command::Local;
                let header =
                    Builder::with_addresses(own, Protocol::Unspecified, v2::Addresses::Unspecified);
                header.build().expect("no addresses fit a header")
            }
        }
    }
}

/// The command of a header that is followed by somebody else's connection.
const PROXIED: u8 = Version::Two as u8 | Command::Proxy as u8;

/// Where the visitor came from and where it connected to, both of one family. A relay that does not
/// say the latter leaves the address open.
fn ends(open: &Open) -> (SocketAddr, SocketAddr) {
    let source = open.visitor;
    let destination = open.destination.unwrap_or_else(|| {
        let nowhere: IpAddr = match source.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(nowhere, 0)
    });
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let widened = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (widened(source), widened(destination))
}

impl FromStr for ProxyVersion {
    type Err = BadProxyVersion;

    fn from_str(text: &str) -> Result<Self, BadProxyVersion> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(BadProxyVersion),
        }
    }
}

impl fmt::Display for ProxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

impl fmt::Display for BadProxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `v1` or `v2`")
    }
}

impl std::error::Error for BadProxyVersion {}

#[cfg(test)]
mod tests {
    use shared::control::protocol::TunnelName;
    use shared::visit::id::VisitIds;

    use super::*;

    fn open(visitor: &str, destination: Option<&str>) -> Open {
        let visit = VisitIds::new().next();
        let mut open = Open::new(visit, TunnelName::default_tunnel(), visitor.parse().unwrap());
        open.destination = destination.map(|address| address.parse().unwrap());
        open
    }

    fn text(open: &Open) -> String {
        String::from_utf8(ProxyVersion::V1.header(open)).unwrap()
    }

    #[test]
    fn a_header_of_the_first_version_is_a_line() {
        let v4 = text(&open("1.2.3.4:5", Some("6.7.8.9:10")));
        assert_eq!(v4, "PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n");
        let v6 = text(&open("[2001:db8::1]:5", Some("[::1]:10")));
        assert_eq!(v6, "PROXY TCP6 2001:db8::1 ::1 5 10\r\n");
        assert_eq!(ProxyVersion::V1.own_header(), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn two_families_become_one_and_what_the_relay_does_not_say_stays_open() {
        let mixed = text(&open("1.2.3.4:5", Some("[2001:db8::1]:10")));
        assert_eq!(mixed, "PROXY TCP6 ::ffff:1.2.3.4 2001:db8::1 5 10\r\n");
        assert_eq!(text(&open("1.2.3.4:5", None)), "PROXY TCP4 1.2.3.4 0.0.0.0 5 0\r\n");
        assert_eq!(text(&open("[::2]:5", None)), "PROXY TCP6 ::2 :: 5 0\r\n");
    }

    #[test]
    fn a_header_of_the_second_version_has_the_number_of_the_visit_and_the_name_asked_for() {
        let mut open = open("1.2.3.4:5", Some("6.7.8.9:10"));
        open.server_name = Some("example.com".parse().unwrap());
        let bytes = ProxyVersion::V2.header(&open);
        let header = v2::Header::try_from(&bytes[..]).unwrap();
        assert_eq!(header.command, Command::Proxy);
        assert_eq!(header.protocol, Protocol::Stream);
        let expected = v2::IPv4::new([1, 2, 3, 4], [6, 7, 8, 9], 5, 10);
        assert_eq!(header.addresses, v2::Addresses::IPv4(expected));
        let tlvs: Vec<_> = header.tlvs().map(Result::unwrap).collect();
        let found: Vec<_> = tlvs.iter().map(|tlv| (tlv.kind, &*tlv.value)).collect();
        let visit = open.visit.to_string();
        assert_eq!(found, [(5, visit.as_bytes()), (2, &b"example.com"[..])]);
    }

    #[test]
    fn the_clients_own_connections_are_nobodys_visit() {
        let expected = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0, 0, 0]].concat();
        assert_eq!(ProxyVersion::V2.own_header(), expected);
    }
}
