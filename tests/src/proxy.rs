//! Headers of the PROXY protocol, put together and taken apart by hand.

use std::net::{IpAddr, SocketAddr};

use crate::peer::Peer;

/// What a header of the second version begins with.
pub const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The type of what says which visit it is.
pub const UNIQUE_ID: u8 = 5;

/// The type of what says which host the visitor asked for.
pub const AUTHORITY: u8 = 2;

/// A header of the second version, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the visitor comes from and where it went. `None`: nobody visits.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// What else is said: types and values.
    pub more: Vec<(u8, Vec<u8>)>,
}

/// A header of the first version.
pub fn line(source: SocketAddr, destination: SocketAddr) -> String {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
}

/// A header of the second version, with `more` behind the addresses.
pub fn bytes(source: SocketAddr, destination: SocketAddr, more: &[(u8, &[u8])]) -> Vec<u8> {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut body = [octets(source.ip()), octets(destination.ip())].concat();
    body.extend_from_slice(&source.port().to_be_bytes());
    body.extend_from_slice(&destination.port().to_be_bytes());
    for (kind, value) in more {
        body.push(*kind);
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
    }
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let length = (body.len() as u16).to_be_bytes();
    [SIGNATURE, &[0x21, family], &length, &body].concat()
}

/// Reads a header of the second version, which must come next.
///
/// # Panics
///
/// Something else comes.
pub async fn read(peer: &mut Peer) -> Header {
    peer.expect(SIGNATURE).await;
    let [command, family, high, low] = peer.read(4).await[..] else { unreachable!("four bytes") };
    let body = peer.read(usize::from(u16::from_be_bytes([high, low]))).await;
    let size = match (command, family) {
        (0x20, 0) => 0,
        (0x21, 0x11) => 4,
        (0x21, 0x21) => 16,
        other => panic!("a header of {other:x?}"),
    };
    let (ends, mut rest) = body.split_at(if size == 0 { 0 } else { 2 * size + 4 });
    let ip = |bytes: &[u8]| -> IpAddr {
        match <[u8; 4]>::try_from(bytes) {
            Ok(v4) => v4.into(),
            Err(_) => <[u8; 16]>::try_from(bytes).expect("an address").into(),
        }
    };
    let port = |at: usize| u16::from_be_bytes([ends[at], ends[at + 1]]);
    let ends = (size > 0).then(|| {
        let (source, destination) = (ip(&ends[..size]), ip(&ends[size..2 * size]));
        let source = SocketAddr::new(source, port(2 * size));
        (source, SocketAddr::new(destination, port(2 * size + 2)))
    });
    let mut more = Vec::new();
    while let [kind, high, low, after @ ..] = rest {
        let (value, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        more.push((*kind, value.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty(), "{rest:?} behind the last value");
    Header { ends, more }
}
