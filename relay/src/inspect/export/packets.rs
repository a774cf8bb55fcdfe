//! Made-up packets of TCP that carry the bytes of a capture: Ethernet, IPv4 or IPv6, TCP.

use std::net::{IpAddr, SocketAddr};

/// The largest payload of a packet in bytes, so that its length fits into a header of IPv4.
pub(super) const LARGEST: usize = 60_000;

/// Flags of TCP (RFC 9293, section 3.1).
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

/// One end of a connection, and where it is in what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) address: SocketAddr,
    /// The number of its next byte.
    pub(super) next: u32,
}

/// A packet from one end to the other. Where the first one is in what it says follows from it.
pub(super) fn packet(from: &mut End, to: &End, flags: u8, payload: &[u8]) -> Vec<u8> {
    let segment = segment(*from, *to, flags, payload);
    let counted = payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
    from.next = from.next.wrapping_add(counted);
    let mut packet = Vec::with_capacity(54 + segment.len());
    // Addresses that nobody has (locally administered).
    packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    match (from.address.ip(), to.address.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet.extend(0x0800_u16.to_be_bytes());
            let length = (20 + segment.len()) as u16;
            let mut header = vec![0x45, 0];
            header.extend(length.to_be_bytes());
            // Not to be fragmented; 64 hops; TCP.
            header.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            packet.extend(header);
        }
        (source, destination) => {
            packet.extend(0x86dd_u16.to_be_bytes());
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((segment.len() as u16).to_be_bytes());
            packet.extend([6, 64]);
            packet.extend(v6(source));
            packet.extend(v6(destination));
        }
    }
    packet.extend(segment);
    packet
}

fn segment(from: End, to: End, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + payload.len());
    segment.extend(from.address.port().to_be_bytes());
    segment.extend(to.address.port().to_be_bytes());
    segment.extend(from.next.to_be_bytes());
    let acknowledged = if flags & ACK != 0 { to.next } else { 0 };
    segment.extend(acknowledged.to_be_bytes());
    // A header of five words, a window of 64 KiB, a sum that is not known yet, nothing urgent.
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    let length = segment.len() as u32;
    let (source, destination) = (from.address.ip(), to.address.ip());
    let pseudo = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            [&source.octets()[..], &destination.octets()].concat()
        }
        (source, destination) => [v6(source), v6(destination)].concat(),
    };
    let sum = checksum(&[&pseudo, &length.to_be_bytes(), &[0, 0, 0, 6], &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The sum of the internet (RFC 1071) of parts of which all but the last one are of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
