//! The header of a yamux frame, as far as the wire layer has to know it.
//!
//! Twelve bytes, big-endian: version (always 0), type, flags (2), stream (4), length (4). See the
//! [yamux specification](https://github.com/hashicorp/yamux/blob/master/spec.md).

/// The length of a frame's header in bytes.
pub(super) const HEADER: usize = 12;

/// The version of yamux, with which every frame begins.
pub(super) const VERSION: u8 = 0;

/// The flag that opens a stream; on a ping, that it asks for an answer.
pub(super) const SYN: u16 = 1;
/// The flag that accepts a stream; on a ping, that it is the answer.
pub(super) const ACK: u16 = 2;
/// The flag that ends one direction of a stream.
pub(super) const FIN: u16 = 4;
/// The flag that resets a stream.
pub(super) const RST: u16 = 8;

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) stream: u32,
    /// Of a data frame: bytes of body. Of any other: a value, and no body follows.
    pub(super) length: u32,
}

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    WindowUpdate,
    Ping,
    GoAway,
}

impl Header {
    /// Decodes a header, or returns the first byte that cannot be one.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self, u8> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != VERSION {
            return Err(version);
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(other),
        };
        Ok(Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    /// Whether the frame ends its direction of a stream.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::WindowUpdate) && self.flags & FIN != 0
    }

    /// How many bytes of body follow the header.
    pub(super) fn body(&self) -> usize {
        if self.kind == Kind::Data { self.length as usize } else { 0 }
    }
}

/// Makes a data frame's header that of one without a body.
pub(super) fn strip(header: &mut [u8]) {
    header[8..HEADER].fill(0);
}

/// Makes the header of a frame that ends a stream that of one that resets it.
pub(super) fn make_reset(header: &mut [u8]) {
    header[2..4].copy_from_slice(&RST.to_be_bytes());
}

/// The answer to a ping that carried `value`.
pub(super) fn pong(value: u32) -> [u8; HEADER] {
    let mut bytes = [0, 2, 0, ACK as u8, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&value.to_be_bytes());
    bytes
}
