//! What the owner of a session can see of its wire: life and breaches.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::streams::Lobby;
use crate::carry::{PIECE, Role};

/// The largest frame body in bytes that is accepted from a peer that has not been admitted yet.
/// A handshake needs far less; yamux allocates a body as soon as its header has come.
const STRANGERS_FRAME: u32 = 16 * 1024;

/// The most bytes of bodies in all that are accepted from a stranger: a handshake and its framing.
const STRANGERS_BYTES: u64 = 32 * 1024;

/// The most bytes that may wait in a session for a peer that takes them too slowly. Beyond that no
/// visitor is read from.
const MOST_QUEUED: isize = 64 * 1024 * 1024;

/// The largest frame body in bytes that is accepted from an admitted peer: yamux's first window.
/// No peer of ours sends much more than half of it.
const LARGEST_FRAME: u32 = 256 * 1024;

/// One wire's state, shared between the layer and the session that owns it.
#[derive(Debug)]
pub struct Link {
    start: Instant,
    /// Milliseconds after `start` at which anything last arrived.
    heard: AtomicU64,
    /// Milliseconds after `start`, and one, of the first question after which nothing has arrived.
    asked: AtomicU64,
    /// Bytes that went over the wire, both ways together.
    traffic: AtomicU64,
    largest_frame: AtomicU32,
    /// Bytes of payload that one frame should carry at the pace of the line.
    chunk: AtomicUsize,
    /// The most bytes of bodies that the peer may ever send.
    most_received: AtomicU64,
    /// Bytes of visits that yamux has and the socket has not taken yet. Below zero for a moment,
    /// when another thread writes them before they have been counted.
    queued: AtomicIsize,
    pub(super) lobby: Lobby,
    /// This end is closing the session: what comes is of no interest any more.
    parting: AtomicBool,
    given_up: AtomicBool,
    breach: Mutex<Option<Breach>>,
}

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
    /// More pings than anybody needs, with none of the answers read.
    PingFlood,
}

impl Link {
    /// The state of a wire of an end in this role.
    pub fn new(role: Role) -> Self {
        let link = Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            traffic: AtomicU64::new(0),
            largest_frame: AtomicU32::new(STRANGERS_FRAME),
            chunk: AtomicUsize::new(PIECE),
            most_received: AtomicU64::new(STRANGERS_BYTES),
            queued: AtomicIsize::new(0),
            lobby: Lobby::default(),
            parting: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            breach: Mutex::new(None),
        };
        if role.trusts() {
            link.admit();
        }
        link
    }

    /// How long nothing at all has arrived.
    pub fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }

    /// Accepts frames of full size from now on: the peer has been admitted.
    pub fn admit(&self) {
        self.largest_frame.store(LARGEST_FRAME, Ordering::Relaxed);
        self.most_received.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether so much waits for the peer that nothing more should be sent to it for now.
    pub fn is_backed_up(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > MOST_QUEUED
    }

    /// How many bytes have gone over the wire so far, both ways together.
    pub fn traffic(&self) -> u64 {
        self.traffic.load(Ordering::Relaxed)
    }

    /// How long a frame that the peer answers at once has been on its way and nothing has come:
    /// one that opens a stream, or a ping.
    pub fn unanswered(&self) -> Duration {
        match self.asked.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            asked => self.start.elapsed().saturating_sub(Duration::from_millis(asked - 1)),
        }
    }

    /// The socket took so many bytes.
    pub(super) fn sent(&self, bytes: usize) {
        self.traffic.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A frame is about to be sent that the peer answers at once.
    pub(super) fn asked(&self) {
        if self.asked.load(Ordering::Relaxed) == 0 {
            self.asked.store(self.millis().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// So many bytes came.
    pub(super) fn heard(&self, bytes: usize) {
        self.traffic.fetch_add(bytes as u64, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
        self.heard.store(self.millis(), Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        self.start.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// Bytes of visits that wait for the peer.
    pub fn waiting(&self) -> u64 {
        self.queued.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }

    /// yamux has taken so many bytes of a visit.
    pub(crate) fn queued(&self, bytes: usize) {
        self.queued.fetch_add(bytes.cast_signed(), Ordering::Relaxed);
    }

    /// yamux writes so many of them.
    pub(super) fn unqueued(&self, bytes: usize) {
        self.queued.fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
    }

    pub(super) fn most_received(&self) -> u64 {
        self.most_received.load(Ordering::Relaxed)
    }

    /// How many bytes of payload to put into one frame: as many as the line carries in about a
    /// millisecond, [`PIECE`] at most.
    pub fn chunk(&self) -> usize {
        self.chunk.load(Ordering::Relaxed)
    }

    pub(super) fn set_chunk(&self, bytes: usize) {
        self.chunk.store(bytes.min(PIECE), Ordering::Relaxed);
    }

    /// This end is closing the session.
    pub(crate) fn part(&self) {
        self.parting.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_parting(&self) -> bool {
        self.parting.load(Ordering::Relaxed)
    }

    /// Why the wire gave the session up, if it did.
    pub fn breach(&self) -> Option<Breach> {
        if self.is_given_up() { self.breach.lock().clone() } else { None }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    pub(super) fn largest_frame(&self) -> u32 {
        self.largest_frame.load(Ordering::Relaxed)
    }

    /// Notes a breach. The first one stays.
    pub(super) fn break_off(&self, breach: Breach) {
        self.breach.lock().get_or_insert(breach);
        self.given_up.store(true, Ordering::Relaxed);
    }
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
