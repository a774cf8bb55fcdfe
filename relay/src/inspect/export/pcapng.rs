//! A capture as Wireshark reads it (draft-ietf-opsawg-pcapng): one section, one interface, a
//! connection of TCP from its handshake to its end. The bytes and times are those of the visit; the
//! packets are made up, for what came by the web's stack or a tunnel never was in such ones.

use std::net::SocketAddr;
use std::time::Duration;

use super::packets::{ACK, End, FIN, LARGEST, PSH, RST, SYN, packet};
use crate::inspect::{Capture, Captured, Ending, Speaker};

/// The addresses of visitors that are not kept, and of local services: for documentation (RFC 5737 and
/// RFC 3849).
const VISITOR: &str = "192.0.2.1:49152";
const SERVICE_V4: &str = "198.51.100.1:1";
const SERVICE_V6: &str = "[2001:db8::1]:1";

/// Kinds of blocks.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// A file with this capture. `port` is the one that visitors of its tunnel connect to, if it has one.
pub(crate) fn pcapng(capture: &Capture, captured: &Captured, port: Option<u16>) -> Vec<u8> {
    let mut file = Vec::new();
    // The order of bytes, version 1.0, a length that is not told.
    let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    block(&mut file, SECTION, &section);
    // Ethernet, packets of any length, times in nanoseconds (`if_tsresol`), no more options.
    block(&mut file, INTERFACE, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);

    let visitor: SocketAddr =
        captured.visitor.unwrap_or_else(|| VISITOR.parse().expect("an address"));
    let service = if visitor.is_ipv4() { SERVICE_V4 } else { SERVICE_V6 };
    let mut service: SocketAddr = service.parse().expect("an address");
    service.set_port(port.unwrap_or_else(|| service.port()));
    let mut ends = [End { address: visitor, next: 1000 }, End { address: service, next: 2000 }];
    let mut add = |at: Duration, from: Speaker, flags: u8, payload: &[u8]| {
        let [visitor, service] = &mut ends;
        let packet = match from {
            Speaker::Visitor => packet(visitor, service, flags, payload),
            Speaker::Service => packet(service, visitor, flags, payload),
        };
        let since = capture.began.duration_since(std::time::UNIX_EPOCH).unwrap_or_default() + at;
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let length = (packet.len() as u32).to_le_bytes();
        let mut body = vec![0; 4];
        body.extend(((nanos >> 32) as u32).to_le_bytes());
        body.extend((nanos as u32).to_le_bytes());
        body.extend(length);
        body.extend(length);
        body.extend(packet);
        block(&mut file, PACKET, &body);
    };
    let start = Duration::ZERO;
    add(start, Speaker::Visitor, SYN, &[]);
    add(start, Speaker::Service, SYN | ACK, &[]);
    add(start, Speaker::Visitor, ACK, &[]);
    for chunk in &captured.chunks {
        for piece in captured.bytes(chunk).chunks(LARGEST) {
            add(chunk.at, chunk.from, PSH | ACK, piece);
            add(chunk.at, chunk.from.other(), ACK, &[]);
        }
    }
    if let Some((at, ending)) = captured.ended {
        match ending {
            Ending::Ended => {
                add(at, Speaker::Visitor, FIN | ACK, &[]);
                add(at, Speaker::Service, FIN | ACK, &[]);
                add(at, Speaker::Visitor, ACK, &[]);
            }
            Ending::ResetByVisitor => add(at, Speaker::Visitor, RST | ACK, &[]),
            Ending::ResetByService => add(at, Speaker::Service, RST | ACK, &[]),
            Ending::CutOff => {
                add(at, Speaker::Visitor, RST | ACK, &[]);
                add(at, Speaker::Service, RST | ACK, &[]);
            }
        }
    }
    file
}

/// A block of the file: its kind, its length at both ends, and what is in it, up to a whole word.
fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padding = body.len().next_multiple_of(4) - body.len();
    let length = ((12 + body.len() + padding) as u32).to_le_bytes();
    file.extend(kind.to_le_bytes());
    file.extend(length);
    file.extend(body);
    file.extend(&[0; 3][..padding]);
    file.extend(length);
}
