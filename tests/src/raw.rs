//! Yamux frames by hand: a peer that says whatever a test wants.
//!
//! See the [specification](https://github.com/hashicorp/yamux/blob/master/spec.md).

use std::io;
use std::net::SocketAddr;

use futures::FutureExt;
use serde_json::Value;
use shared::control::protocol::{FromClient, Hello};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// The kinds of frames.
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const WINDOW: u8 = 1;
/// See [`DATA`].
pub const PING: u8 = 2;
/// See [`DATA`].
pub const GO_AWAY: u8 = 3;

/// The flags of frames.
pub const SYN: u16 = 1;
/// See [`SYN`].
pub const ACK: u16 = 2;
/// See [`SYN`].
pub const FIN: u16 = 4;
/// See [`SYN`].
pub const RST: u16 = 8;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`DATA`], [`WINDOW`], [`PING`], [`GO_AWAY`].
    pub kind: u8,
    /// Of [`SYN`], [`ACK`], [`FIN`], [`RST`].
    pub flags: u16,
    /// The stream; 0 is the session.
    pub stream: u32,
    /// Of data, the length of the body.
    pub length: u32,
    /// What data carry.
    pub body: Vec<u8>,
}

/// The header of a frame.
pub fn header(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

/// A data frame.
pub fn data(flags: u16, stream: u32, body: &[u8]) -> Vec<u8> {
    [&header(DATA, flags, stream, body.len() as u32), body].concat()
}

/// A message of the control stream, with its length in front.
pub fn message(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u32).to_be_bytes(), json].concat()
}

/// A peer that speaks raw frames.
#[derive(Debug)]
pub struct RawPeer<S> {
    io: S,
}

impl RawPeer<TcpStream> {
    /// A stranger at the control port.
    pub async fn connect(control: SocketAddr) -> Self {
        let socket = within("a connection", TcpStream::connect(control)).await;
        Self::new(socket.expect("a connection to the control port"))
    }

    /// A client that has been admitted: its control stream is stream 1.
    pub async fn admitted(control: SocketAddr, hello: Hello) -> Self {
        let mut peer = Self::connect(control).await;
        peer.say_hello(hello).await;
        peer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawPeer<S> {
    /// A peer at the other end of `io`.
    pub fn new(io: S) -> Self {
        Self { io }
    }

    /// Says `hello` and is welcomed: its control stream is stream 1. Returns the welcome.
    pub async fn say_hello(&mut self, hello: Hello) -> Value {
        let hello = serde_json::to_vec(&FromClient::Hello(hello)).expect("a message");
        self.send(&data(SYN, 1, &message(&hello))).await;
        let answer = self.expect("an answer", |frame| frame.kind == DATA && frame.length > 4).await;
        // Behind the message's length.
        let json = answer.body.get(4..).unwrap_or_default();
        let said: Value = serde_json::from_slice(json).expect("an answer in JSON");
        assert_eq!(said["type"], "welcome", "not admitted: {said}");
        said
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("bytes are taken");
    }

    /// Sends bytes as they are, if the far end is still there.
    ///
    /// # Errors
    ///
    /// It is not.
    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("bytes to be taken", async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        })
        .await
    }

    /// The next frame; `None` when the connection has ended in whatever way.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame", self.read()).await.ok()
    }

    /// The next frame that `wanted` accepts; pings are not answered, the rest is passed over.
    pub async fn expect(&mut self, what: &str, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        loop {
            let frame = within(what, self.read()).await;
            let frame = frame.unwrap_or_else(|err| panic!("{err} instead of {what}"));
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Waits until the far end has closed the connection; returns the frames that came before.
    pub async fn expect_closed(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        within("the connection to be closed", async {
            while let Ok(frame) = self.read().await {
                frames.push(frame);
            }
        })
        .await;
        frames
    }

    /// The next frame, if it has come already.
    pub fn next_now(&mut self) -> Option<Frame> {
        self.read().now_or_never()?.ok()
    }

    /// Closes the connection here.
    pub async fn hang_up(mut self) {
        drop(self.io.shutdown().await);
    }

    async fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 12];
        self.io.read_exact(&mut head).await?;
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let mut body = vec![0; if kind == DATA { length as usize } else { 0 }];
        self.io.read_exact(&mut body).await?;
        Ok(Frame {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length,
            body,
        })
    }
}
