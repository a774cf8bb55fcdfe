//! Why a wire gives a session up.

use std::fmt;
use std::io;

/// How a peer broke the protocol under the streams, or ended the session with a go-away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// The peer sent a go-away frame with this code: 0 is a normal end, 1 a protocol error,
    /// 2 an internal error.
    GoAwayReceived(u32),
    /// Our yamux answered a frame with a go-away of this code. The text shows the frame.
    GoAwaySent(u32, String),
    /// The byte cannot stand where it does in a yamux header: something else is talking.
    NotYamux(u8),
    /// A frame's body is larger than the limit, both in bytes.
    FrameTooLarge(u32, u32),
    /// Frames so small and so many that each costs more memory than it carries.
    TinyFrames,
    /// The peer opened a stream that it may not open.
    StreamNotAllowed,
    /// Far more than a handshake from a peer that has not been admitted.
    TooMuch,
    /// More pings than anybody needs, or with none of the answers read.
    PingFlood,
    /// More new streams than any relay has visitors for.
    StreamFlood,
    /// More window updates than there was to grant.
    WindowUpdates,
    /// More for streams that are not there than can have been on its way when they went.
    StrayFrames,
    /// More messages on the control stream than anybody has to say.
    MessageFlood,
    /// Far more of TLS than what was in it.
    TlsFlood,
}

impl Breach {
    /// Whether the peer ended the session in the ordinary way.
    pub fn is_normal_end(&self) -> bool {
        *self == Self::GoAwayReceived(0)
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoAwayReceived(code) => {
                write!(f, "the peer ended the session with go-away code {}", Code(*code))
            }
            Self::GoAwaySent(code, frame) => {
                write!(f, "go-away code {} sent in answer to {frame}", Code(*code))
            }
            Self::NotYamux(byte) => write!(f, "the peer does not speak yamux (byte {byte:#04x})"),
            Self::FrameTooLarge(length, limit) => {
                write!(f, "a frame of {length} bytes, allowed are {limit}")
            }
            Self::TinyFrames => f.write_str("too many frames of next to nothing"),
            Self::StreamNotAllowed => f.write_str("the peer opened a stream that it may not open"),
            Self::TooMuch => f.write_str("too many bytes for a handshake"),
            Self::PingFlood => f.write_str("a flood of pings"),
            Self::StreamFlood => f.write_str("a flood of new streams"),
            Self::WindowUpdates => {
                f.write_str("more window updates than anything sent could have earned")
            }
            Self::MessageFlood => f.write_str("a flood of messages"),
            Self::TlsFlood => f.write_str("a flood of TLS records with next to nothing in them"),
            Self::StrayFrames => f.write_str("too many frames of streams that are not there"),
        }
    }
}

impl std::error::Error for Breach {}

impl From<Breach> for io::Error {
    fn from(breach: Breach) -> Self {
        Self::new(io::ErrorKind::InvalidData, breach)
    }
}

/// A go-away code with its name.
struct Code(u32);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "normal end",
            1 => "protocol error",
            2 => "internal error",
            _ => "unknown",
        };
        write!(f, "{} ({name})", self.0)
    }
}
