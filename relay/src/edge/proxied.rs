//! Who visits, when a balancer stands in front of the public ports: the header of the PROXY protocol
//! with which each of its connections begins.
//!
//! Not a byte of what comes behind the header is taken from the socket. See the
//! [specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{v1, v2};
use shared::visit::open::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a header may take. It comes with the connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// So many bytes most headers fit: all of the first version, and those of the second that are sent
/// without fragments.
const USUAL: usize = 536;

/// The longest header of the first version, in bytes.
const LONGEST_LINE: usize = 107;

/// The longest header of the second version that is taken, in bytes: balancers say more of a
/// visitor than is of interest here, such as its certificate's name.
const LONGEST: usize = 4096;

/// What a header of the first version begins with.
const LINE: &[u8] = b"PROXY ";

/// What a header of the second version begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of the second version's header without addresses.
const FIXED: usize = 16;

/// What a header says. A balancer that connects for itself, to see whether the relay is well, says
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Introduction {
    /// Where the visitor comes from and where it has connected to.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    /// The server name that the visitor asked for.
    pub(super) server_name: Option<ServerName>,
}

/// Why there is no [`Introduction`].
#[derive(Debug)]
pub(super) enum BadHeader {
    /// What came is none.
    Malformed,
    /// It is longer than any that is taken.
    TooLong,
    /// The connection has ended before it was there.
    CutOff(io::Error),
    /// It did not come in time.
    Slow,
}

/// Reads the header that `socket` begins with.
pub(super) async fn introduction(socket: &mut TcpStream) -> Result<Introduction, BadHeader> {
    match timeout(HEADER_TIMEOUT, read(socket)).await {
        Ok(read) => parse(&read?),
        Err(_) => Err(BadHeader::Slow),
    }
}

/// Takes the header's bytes from the socket. It looks before it takes: what is not all of the header
/// is taken, so that the next look waits for more.
async fn read(socket: &mut TcpStream) -> Result<Vec<u8>, BadHeader> {
    let mut bytes = vec![0; USUAL];
    let mut taken = 0;
    loop {
        let seen = socket.peek(&mut bytes[taken..]).await.map_err(BadHeader::CutOff)?;
        if seen == 0 {
            return Err(BadHeader::CutOff(io::ErrorKind::UnexpectedEof.into()));
        }
        let length = length(&bytes[..taken + seen])?;
        let end = length.unwrap_or(usize::MAX).min(taken + seen);
        socket.read_exact(&mut bytes[taken..end]).await.map_err(BadHeader::CutOff)?;
        taken = end;
        if length == Some(taken) {
            bytes.truncate(taken);
            return Ok(bytes);
        }
        if let Some(length) = length {
            bytes.resize(length, 0);
        }
    }
}

/// How long the header is that these bytes begin, as soon as they tell.
///
/// # Errors
///
/// They begin none that is taken.
fn length(bytes: &[u8]) -> Result<Option<usize>, BadHeader> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, expected)| byte == expected);
    if begins(LINE) {
        let line = &bytes[..bytes.len().min(LONGEST_LINE)];
        return match line.windows(2).position(|two| two == b"\r\n") {
            Some(at) => Ok(Some(at + 2)),
            None if line.len() == LONGEST_LINE => Err(BadHeader::TooLong),
            None => Ok(None),
        };
    }
    if !begins(SIGNATURE) {
        return Err(BadHeader::Malformed);
    }
    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let [.., high, low] = *fixed;
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST { Err(BadHeader::TooLong) } else { Ok(Some(length)) }
}

/// What a whole header says.
///
/// # Errors
///
/// It is none.
fn parse(header: &[u8]) -> Result<Introduction, BadHeader> {
    if header.starts_with(LINE) {
        let header = v1::Header::try_from(header).map_err(|_| BadHeader::Malformed)?;
        let ends = match header.addresses {
            v1::Addresses::Tcp4(ends) => Some(v4(ends)),
            v1::Addresses::Tcp6(ends) => Some(v6(ends)),
            v1::Addresses::Unknown => None,
        };
        return Ok(Introduction { ends, server_name: None });
    }
    let header = v2::Header::try_from(header).map_err(|_| BadHeader::Malformed)?;
    let ends = match header.addresses {
        _ if header.command == v2::Command::Local => None,
        v2::Addresses::IPv4(ends) => Some(v4(ends)),
        v2::Addresses::IPv6(ends) => Some(v6(ends)),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    };
    let mut server_name = None;
    for tlv in header.tlvs() {
        let tlv = tlv.map_err(|_| BadHeader::Malformed)?;
        if tlv.kind == v2::Type::Authority as u8 {
            // A name that is none in DNS is of no use to anybody.
            server_name = str::from_utf8(&tlv.value).ok().and_then(|name| name.parse().ok());
        }
    }
    Ok(Introduction { ends, server_name })
}

fn v4(ends: v1::IPv4) -> (SocketAddr, SocketAddr) {
    let source = (ends.source_address, ends.source_port);
    (source.into(), (ends.destination_address, ends.destination_port).into())
}

fn v6(ends: v1::IPv6) -> (SocketAddr, SocketAddr) {
    let address = |ip: std::net::Ipv6Addr, port| SocketAddr::new(ip.to_canonical(), port);
    let source = address(ends.source_address, ends.source_port);
    (source, address(ends.destination_address, ends.destination_port))
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trusted balancer did not say who visits: ")?;
        match self {
            Self::Malformed => f.write_str(
                "the connection does not begin with a header of the PROXY protocol; let the \
                 balancer send one, or take it out of --trust-proxy",
            ),
            Self::TooLong => write!(
                f,
                "its header has more than {LONGEST_LINE} bytes of text or {LONGEST} in all"
            ),
            Self::CutOff(err) => write!(f, "the connection ended before its header did: {err}"),
            Self::Slow => write!(f, "no whole header within {HEADER_TIMEOUT:?}"),
        }
    }
}

impl std::error::Error for BadHeader {}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduced(header: &[u8]) -> Option<(String, String)> {
        assert_eq!(length(header).unwrap(), Some(header.len()));
        let ends = parse(header).unwrap().ends;
        ends.map(|(source, destination)| (source.to_string(), destination.to_string()))
    }

    fn v2_header(rest: &[&[u8]]) -> Vec<u8> {
        let rest = rest.concat();
        let (head, body) = rest.split_at(2);
        [SIGNATURE, head, &(body.len() as u16).to_be_bytes(), body].concat()
    }

    const ENDS: &[u8] = &[1, 2, 3, 4, 6, 7, 8, 9, 0, 5, 0, 10];

    #[test]
    fn both_versions_say_where_a_visitor_comes_from_and_where_it_went() {
        let expected = Some(("1.2.3.4:5".to_owned(), "6.7.8.9:10".to_owned()));
        assert_eq!(introduced(b"PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n"), expected);
        assert_eq!(introduced(&v2_header(&[&[0x21, 0x11], ENDS])), expected);
        let v6 = introduced(b"PROXY TCP6 2001:db8::1 ::ffff:6.7.8.9 5 10\r\n");
        assert_eq!(v6, Some(("[2001:db8::1]:5".into(), "6.7.8.9:10".into())));
    }

    #[test]
    fn a_balancer_that_connects_for_itself_says_nothing() {
        let headers: [&[u8]; 4] = [
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            &v2_header(&[&[0x20, 0]]),
            &v2_header(&[&[0x20, 0x11], ENDS]),
        ];
        for header in headers {
            assert_eq!(introduced(header), None, "{}", header.escape_ascii());
        }
    }

    #[test]
    fn the_server_name_is_passed_on_if_it_is_one() {
        for (value, name) in [(&b"Example.com"[..], Some("example.com")), (b"a b", None)] {
            let tlv = [&[2, 0, value.len() as u8], value].concat();
            let found = parse(&v2_header(&[&[0x21, 0x11], ENDS, &tlv])).unwrap().server_name;
            assert_eq!(found.as_ref().map(ServerName::as_str), name);
        }
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_wrong_byte() {
        for begin in [LINE, SIGNATURE] {
            for at in 1..begin.len() {
                assert!(matches!(length(&begin[..at]), Ok(None)), "{at}");
                let wrong = [&begin[..at], b"?"].concat();
                assert!(matches!(length(&wrong), Err(BadHeader::Malformed)), "{at}");
            }
        }
        for whole in [
            &b"PROXY TCP4 1.2.3.4\r\n"[..],
            b"PROXY TCP4 1.2.3.4 6.7.8.9 5 99999\r\n",
            b"PROXY TCP4 ::1 ::1 5 10\r\n",
            &v2_header(&[&[0x31, 0x11], ENDS]),
            &v2_header(&[&[0x21, 0x11], &ENDS[1..]]),
            &v2_header(&[&[0x21, 0x11], ENDS, &[2, 0, 9, 1]]),
        ] {
            assert!(matches!(parse(whole), Err(BadHeader::Malformed)), "{}", whole.escape_ascii());
        }
    }

    #[test]
    fn whatever_is_wrong_in_a_header_it_is_read_or_refused() {
        let authority = [&[2, 0, 7][..], b"a.b.com"].concat();
        for header in [
            &b"PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n"[..],
            b"PROXY TCP6 2001:db8::1 ::ffff:6.7.8.9 5 10\r\n",
            &v2_header(&[&[0x21, 0x11], ENDS, &authority]),
            &v2_header(&[&[0x21, 0x21], &[7; 36], &authority]),
            &v2_header(&[&[0x21, 0x31], &[7; 216], &authority]),
        ] {
            for at in 0..header.len() {
                for byte in 0..=u8::MAX {
                    let mut bytes = header.to_vec();
                    bytes[at] = byte;
                    if let Ok(Some(length)) = length(&bytes) {
                        let whole = bytes.get(..length).unwrap_or(&bytes);
                        drop(parse(whole));
                        drop(parse(&whole[..at.min(length)]));
                    }
                }
            }
        }
    }

    #[test]
    fn no_header_is_longer_than_it_may_be() {
        let line = [LINE, &[b'x'; LONGEST_LINE]].concat();
        assert!(matches!(length(&line), Err(BadHeader::TooLong)));
        assert!(matches!(length(&line[..LONGEST_LINE - 1]), Ok(None)));
        let longest = v2_header(&[&[0x21, 0x11], &[0; LONGEST - FIXED]]);
        assert!(matches!(length(&longest), Ok(Some(LONGEST))));
        let longer = v2_header(&[&[0x21, 0x11], &[0; LONGEST - FIXED + 1]]);
        assert!(matches!(length(&longer), Err(BadHeader::TooLong)));
    }
}
