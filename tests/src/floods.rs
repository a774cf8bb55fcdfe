//! Floods of frames of one kind or another, as no honest client sends them.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::raw::{ACK, DATA, FIN, GO_AWAY, PING, RST, RawPeer, SYN, WINDOW, data, header, message};

/// How much of a flood is sent at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// A flood, and what becomes of it.
#[derive(Debug)]
pub struct Flood {
    /// What it is made of.
    pub what: &'static str,
    /// Repeated as often as `times` says.
    frames: Vec<u8>,
    times: usize,
    /// What the log says of the end of the session, and what is counted.
    pub reason: &'static str,
    /// See [`reason`](Self::reason).
    pub kind: &'static str,
}

fn flood(
    what: &'static str,
    frames: Vec<u8>,
    times: usize,
    (reason, kind): (&'static str, &'static str),
) -> Flood {
    Flood { what, frames, times, reason, kind }
}

/// A message that is as good as any.
const HEARTBEAT: &[u8] = br#"{"type":"heartbeat","id":0}"#;

/// What ends a session, as it is logged and counted.
const PINGS: (&str, &str) = ("a flood of pings", "ping_flood");
const TINY: (&str, &str) = ("too many frames of next to nothing", "tiny_frames");
const UPDATES: (&str, &str) = ("more window updates than anything sent", "window_updates");
const STRAY: (&str, &str) = ("too many frames of streams that are not there", "stray_frames");
const OPENED: (&str, &str) = ("opened a stream that it may not open", "stream_not_allowed");
const MESSAGES: (&str, &str) = ("a flood of messages", "message_flood");
const REFUSED: (&str, &str) = ("go-away code 1 (protocol error) sent in answer", "bad_frame");

/// One of each kind.
pub fn floods() -> Vec<Flood> {
    let streams = |flags, kind| (0..50_000).flat_map(move |i| header(kind, flags, 2 * i + 3, 0));
    vec![
        flood("pings", header(PING, SYN, 0, 1), 1_000_000, PINGS),
        flood("pings that ask for nothing", header(PING, 0, 0, 1), 1_000_000, PINGS),
        flood("answers that nobody asked for", header(PING, ACK, 0, 77), 1000, REFUSED),
        flood("new streams", streams(SYN, WINDOW).collect(), 2, OPENED),
        flood("empty frames", header(DATA, 0, 1, 0), 1_000_000, TINY),
        flood("empty acknowledgements", header(DATA, ACK, 1, 0), 1_000_000, TINY),
        flood("window updates of nothing", header(WINDOW, 0, 1, 0), 1_000_000, UPDATES),
        flood("window updates of next to nothing", header(WINDOW, 0, 1, 1), 1_000_000, UPDATES),
        flood("more credit than there can be", header(WINDOW, 0, 1, u32::MAX), 1, REFUSED),
        flood("data for streams of the relay", data(0, 2000, &[7; 4000]), 10_000, STRAY),
        flood("data for streams of its own", data(0, 5, &[7; 4000]), 10_000, STRAY),
        flood("data for no stream", data(0, 0, &[7; 4000]), 10_000, STRAY),
        // Fewer bytes than the stream's window: it is not that which is looked at.
        flood("messages", data(0, 1, &message(HEARTBEAT)), 5000, MESSAGES),
        flood("resets", (0..50_000).flat_map(|i| header(DATA, RST, 2 * i, 0)).collect(), 20, STRAY),
        flood("ends", header(DATA, FIN, 4000, 0), 1_000_000, STRAY),
        flood(
            "go-aways",
            header(GO_AWAY, 0, 0, 2),
            100_000,
            ("code 2 (internal error)", "go_away"),
        ),
    ]
}

impl Flood {
    /// Sends all of it, or as much as is taken. Returns how many frames that was, at most.
    pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(&self, rogue: &mut RawPeer<S>) -> usize {
        let many = self.frames.repeat((PIECE / self.frames.len()).clamp(1, self.times));
        let all = self.times * self.frames.len();
        let mut sent = 0;
        while sent < all {
            for piece in many[..many.len().min(all - sent)].chunks(PIECE) {
                sent += piece.len();
                if rogue.try_send(piece).await.is_err() {
                    return sent / self.frame();
                }
            }
        }
        sent / self.frame()
    }

    /// The length of one of its frames, which are all alike.
    fn frame(&self) -> usize {
        let [_, kind, _, _, _, _, _, _, a, b, c, d] = self.frames[..12] else { return 12 };
        12 + if kind == DATA { u32::from_be_bytes([a, b, c, d]) as usize } else { 0 }
    }
}
