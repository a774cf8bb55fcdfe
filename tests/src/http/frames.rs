//! A visitor who writes frames of HTTP/2 (RFC 9113), and fields as they should never be.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// What a connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds of frames.
pub mod kind {
    #![expect(missing_docs, reason = "their names are those of the RFC")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The stream, or the answer to a setting or a ping, ends with this frame.
pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// No more fields come.
pub const END_HEADERS: u8 = 4;

/// Settings.
pub const HEADER_TABLE_SIZE: u16 = 1;
/// The same.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// What a window is as long as nobody says otherwise, in bytes (RFC 9113, section 6.9.2).
pub const FIRST_WINDOW: usize = 65_535;

/// The largest window.
pub const MOST: u32 = 0x7fff_ffff;

/// A connection on which a test writes frames.
#[derive(Debug)]
pub struct Frames<S = TcpStream> {
    stream: S,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which.
    pub kind: u8,
    /// What it says in a bit each.
    pub flags: u8,
    /// Of which stream.
    pub stream: u32,
    /// All else.
    pub payload: Vec<u8>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered with this status and this body, which is whole.
    Answered(u16, Vec<u8>),
    /// Its stream is reset, for this reason, after an answer of this status had begun, if one had.
    Reset(u32, Option<u16>),
    /// So is the connection.
    GoneAway(u32),
    /// The connection ends.
    Closed,
}

impl Frames {
    /// Connects to `addr` and begins, with windows that are never full.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[(INITIAL_WINDOW_SIZE, MOST)]).await
    }

    /// The same with these settings. Fields are always to come without a table.
    pub async fn connect_with(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self::over(stream, settings).await
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket");
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Writes and reads by `stream`.
    pub async fn over(stream: S, settings: &[(u16, u32)]) -> Self {
        let mut this = Self::narrow(stream, settings).await;
        this.widen(0, MOST - 65_535).await;
        this
    }

    /// The same, and all streams together get no more room than a connection begins with: 65,535 bytes
    /// (RFC 9113, section 6.9.2).
    pub async fn narrow(stream: S, settings: &[(u16, u32)]) -> Self {
        let mut this = Self { stream };
        this.bytes(PREFACE).await;
        let settings = [&[(HEADER_TABLE_SIZE, 0)], settings].concat();
        let settings = settings.iter().flat_map(|(name, value)| {
            name.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect::<Vec<_>>()
        });
        this.frame(kind::SETTINGS, 0, 0, &settings.collect::<Vec<_>>()).await;
        this
    }

    /// Sends whatever it is. That the far end does not take it shows in what it says.
    pub async fn bytes(&mut self, bytes: &[u8]) {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        drop(within("bytes to be taken", sending).await);
    }

    /// Sends one frame.
    pub async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.bytes(&encode(kind, flags, stream, payload)).await;
    }

    /// Sends the fields of a request.
    pub async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frame(kind::HEADERS, flags, stream, &block(fields)).await;
    }

    /// Sends a GET of `path` for `host`.
    pub async fn get(&mut self, stream: u32, host: &str, path: &str) {
        self.headers(stream, &get(host, path), true).await;
    }

    /// Sends a piece of a body.
    pub async fn data(&mut self, stream: u32, data: &[u8], ends: bool) {
        self.frame(kind::DATA, if ends { END_STREAM } else { 0 }, stream, data).await;
    }

    /// Widens the window of a stream, or of the connection.
    pub async fn widen(&mut self, stream: u32, by: u32) {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &by.to_be_bytes()).await;
    }

    /// Resets a stream.
    pub async fn cancel(&mut self, stream: u32) {
        const CANCEL: u32 = 8;
        self.frame(kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).await;
    }

    /// The next frame. Settings and pings are answered. `None`: the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = within("a frame", self.read()).await.ok()?;
            match (frame.kind, frame.flags & ACK) {
                (kind::SETTINGS, 0) => self.frame(kind::SETTINGS, ACK, 0, &[]).await,
                (kind::PING, 0) => self.frame(kind::PING, ACK, 0, &frame.payload).await,
                _ => return Some(frame),
            }
        }
    }

    /// The next frame of a stream, or the one that says that there is none. `None`: the connection
    /// has ended.
    pub async fn next_of(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            let is_news = frame.kind != kind::WINDOW_UPDATE;
            if frame.kind == kind::GOAWAY || (frame.stream == stream && is_news) {
                return Some(frame);
            }
        }
    }

    /// What becomes of the request on a stream.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        let (mut answered, mut body) = (None, Vec::new());
        while let Some(frame) = self.next_of(stream).await {
            match frame.kind {
                kind::HEADERS if answered.is_none() => {
                    let status = status(&frame.payload);
                    answered = (status >= 200).then_some(status);
                }
                kind::DATA => body.extend(&frame.payload),
                kind::RST_STREAM => return Outcome::Reset(number(&frame.payload), answered),
                // The connection may be about to end, and this stream is not.
                kind::GOAWAY if number(&frame.payload[4..]) == 0 => continue,
                kind::GOAWAY => return Outcome::GoneAway(number(&frame.payload[4..])),
                _ => (),
            }
            if let (true, Some(status)) = (frame.flags & END_STREAM != 0, answered) {
                return Outcome::Answered(status, body);
            }
        }
        Outcome::Closed
    }

    /// Waits for a ping, and answers it together with bytes that the far end is to take, all of them.
    pub async fn answer_ping_with(&mut self, more: &[u8]) {
        loop {
            let frame = within("a frame", self.read()).await.expect("a ping");
            if (frame.kind, frame.flags & ACK) == (kind::PING, 0) {
                let answer = [&encode(kind::PING, ACK, 0, &frame.payload), more].concat();
                let sending = self.stream.write_all(&answer);
                return within("bytes to be taken", sending).await.expect("a listener");
            }
        }
    }

    /// How much the far end takes before it reads any of it: of one stream, and of all together. To be
    /// asked before anything is sent.
    pub async fn room(&mut self) -> (usize, usize) {
        let (mut stream, mut all) = (FIRST_WINDOW, FIRST_WINDOW);
        // What it says in the beginning comes before its answer to the second ping at the latest.
        for _ in 0..2 {
            self.frame(kind::PING, 0, 0, &[0; 8]).await;
            loop {
                let frame = within("a frame", self.read()).await.expect("a connection");
                match (frame.kind, frame.flags & ACK) {
                    (kind::PING, ACK) => break,
                    (kind::SETTINGS, 0) => {
                        stream = window_of(&frame.payload).unwrap_or(stream);
                        self.frame(kind::SETTINGS, ACK, 0, &[]).await;
                    }
                    (kind::WINDOW_UPDATE, _) if frame.stream == 0 => {
                        all += number(&frame.payload) as usize;
                    }
                    _ => (),
                }
            }
        }
        (stream, all)
    }

    /// Waits until the far end has read all that was sent.
    pub async fn is_read(&mut self) {
        self.frame(kind::PING, 0, 0, &[1; 8]).await;
        loop {
            let frame = within("a frame", self.read()).await.expect("a connection");
            if (frame.kind, frame.flags & ACK) == (kind::PING, ACK) {
                return;
            }
        }
    }

    /// Waits until the far end is gone.
    pub async fn expect_gone(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; number(&[0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream) & MOST, payload })
    }
}

/// One frame in bytes.
pub fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a GET.
pub fn get<'a>(host: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)]
}

/// Fields as they are written without a table and without Huffman's code (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A number with a prefix of seven bits (RFC 7541, section 5.1).
fn length(block: &mut Vec<u8>, mut length: usize) {
    if length < 0x7f {
        return block.push(length as u8);
    }
    block.push(0x7f);
    length -= 0x7f;
    while length >= 0x80 {
        block.push((length % 0x80) as u8 | 0x80);
        length /= 0x80;
    }
    block.push(length as u8);
}

/// The window of streams that settings name.
pub fn window_of(settings: &[u8]) -> Option<usize> {
    let name = INITIAL_WINDOW_SIZE.to_be_bytes();
    let setting = settings.chunks_exact(6).find(|setting| setting.starts_with(&name))?;
    Some(number(&setting[2..]) as usize)
}

/// The status that a block of fields begins with.
fn status(block: &[u8]) -> u16 {
    // Changes of the table's size may come first.
    let at = block.iter().position(|byte| byte & 0xe0 != 0x20).expect("a field");
    match block[at] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ => {
            let length = block[at + 1];
            let text = &block[at + 2..][..usize::from(length & 0x7f)];
            let digits = if length & 0x80 == 0 { text.to_vec() } else { digits(text) };
            let digits = std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok());
            digits.expect("a status")
        }
    }
}

/// Digits in Huffman's code (RFC 7541, appendix B): 0 to 2 have five bits, the others six.
fn digits(code: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> =
        code.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let mut rest = bits.as_slice();
    let mut digits = Vec::new();
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value << 1 | bit);
    while digits.len() < 3 && rest.len() >= 5 {
        let five = value(&rest[..5]);
        if five < 3 {
            digits.push(b'0' + five);
            rest = &rest[5..];
        } else {
            digits.push(b'3' + value(&rest[..6]) - 0x19);
            rest = &rest[6..];
        }
    }
    digits
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
