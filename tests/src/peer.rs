//! One end of a TCP connection: a visitor, or a local service that a test plays itself.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::pattern::Pattern;
use crate::wait::{PATIENCE, within, within_time};

/// How much is written and read at a time.
const PIECE: usize = 64 * 1024;

/// A connection of which the test is one end.
#[derive(Debug)]
pub struct Peer {
    socket: TcpStream,
    /// A reset was seen while sending; the kernel tells of it only once.
    was_reset: bool,
}

impl Peer {
    /// A visitor at `addr`.
    pub async fn connect(addr: SocketAddr) -> Self {
        match within("a connection", Self::try_connect(addr)).await {
            Ok(peer) => peer,
            // Connected, and reset before anybody looked.
            Err(err) if err.kind() == ErrorKind::ConnectionReset => Self::reset_at_once().await,
            Err(err) => panic!("no connection but {err}"),
        }
    }

    /// A connection that its far end has reset.
    async fn reset_at_once() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let addr = listener.local_addr().expect("a listener with an address");
        let peer = Self::try_connect(addr).await.expect("a connection");
        let (far, _) = listener.accept().await.expect("a connection");
        far.set_zero_linger().expect("a socket");
        peer
    }

    /// A visitor at `addr`, if anybody listens there.
    ///
    /// # Errors
    ///
    /// Nobody does.
    pub async fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::from(TcpStream::connect(addr).await?))
    }

    /// A visitor whose kernel takes in little, so that it stops the sender soon.
    pub async fn connect_narrow(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let socket = within("a connection", socket.connect(addr)).await;
        Self::from(socket.expect("a connection"))
    }

    /// A visitor whose kernel keeps little of what it sends, so that it knows how much is taken.
    pub async fn connect_unbuffered(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(16 * 1024).expect("a small buffer");
        let socket = within("a connection", socket.connect(addr)).await;
        Self::from(socket.expect("a connection"))
    }

    /// A visitor at `addr` that comes from another address of this machine.
    pub async fn connect_from(ip: [u8; 4], addr: SocketAddr) -> Self {
        match within("a connection", dial_from(ip, addr)).await {
            Ok(socket) => Self::from(socket),
            Err(err) if err.kind() == ErrorKind::ConnectionReset => Self::reset_at_once().await,
            Err(err) => panic!("no connection but {err}"),
        }
    }

    /// The address of this end.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("a socket with an address")
    }

    /// Sends all of `bytes`. If the far end resets instead, only
    /// [`expect_reset`](Self::expect_reset) can follow.
    pub async fn send(&mut self, bytes: &[u8]) {
        match within("bytes to be taken", self.socket.write_all(bytes)).await {
            Ok(()) => (),
            Err(err) if err.kind() == ErrorKind::ConnectionReset => self.was_reset = true,
            Err(err) => panic!("bytes are not taken but {err}"),
        }
    }

    /// Sends all of `bytes`, which the far end has to take, although it may not want to hear them.
    pub async fn send_all(&mut self, bytes: &[u8]) {
        within("bytes to be taken", self.socket.write_all(bytes)).await.expect("a far end");
    }

    /// Sends all of `bytes`, unless the far end takes no more for now, or has gone.
    pub async fn tries_to_send(&mut self, bytes: &[u8]) -> bool {
        let pause = Duration::from_secs(1);
        let sent = tokio::time::timeout(pause, self.socket.write_all(bytes)).await;
        sent.is_ok_and(|sent| sent.is_ok())
    }

    /// Sends until no more is taken for now; returns how much was. The far end does not read.
    pub async fn send_until_full(&mut self) -> usize {
        let mut pattern = Pattern::new(0);
        let mut sent = 0;
        let pause = Duration::from_millis(200);
        while let Ok(written) =
            tokio::time::timeout(pause, self.socket.write(pattern.next(PIECE))).await
        {
            sent += written.expect("a connection that is open");
        }
        sent
    }

    /// Takes what comes, up to and with `end`.
    pub async fn read_until(&mut self, end: &[u8]) {
        let mut seen = Vec::new();
        while !seen.ends_with(end) {
            seen.extend(self.read(1).await);
        }
    }

    /// Expects exactly `bytes` to come next.
    pub async fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        let read = within("an answer", self.socket.read_exact(&mut got)).await;
        read.unwrap_or_else(|err| panic!("no answer but {err}"));
        assert!(got == bytes, "{} instead of {}", got.escape_ascii(), bytes.escape_ascii());
    }

    /// Sends `bytes` and expects them back.
    pub async fn expect_echo(&mut self, bytes: &[u8]) {
        self.send(bytes).await;
        self.expect(bytes).await;
    }

    /// Whether `bytes` come back. They do not if the connection was reset.
    pub async fn tries_echo(&mut self, bytes: &[u8]) -> bool {
        let mut got = vec![0; bytes.len()];
        let echo = async {
            self.socket.write_all(bytes).await?;
            self.socket.read_exact(&mut got).await
        };
        match within("an echo or a reset", echo).await {
            Ok(_) => got == bytes,
            Err(err) => {
                let gone = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(gone.contains(&err.kind()), "{err}");
                false
            }
        }
    }

    /// Takes so many bytes.
    pub async fn take(&mut self, bytes: usize) {
        let mut all = vec![0; bytes];
        let read = within("many bytes", self.socket.read_exact(&mut all)).await;
        read.unwrap_or_else(|err| panic!("not so many bytes but {err}"));
    }

    /// The next bytes, so many of them.
    pub async fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut all = vec![0; bytes];
        let read = within("bytes", self.socket.read_exact(&mut all)).await;
        read.unwrap_or_else(|err| panic!("not so many bytes but {err}"));
        all
    }

    /// What comes next, however much.
    pub async fn some(&mut self) -> Vec<u8> {
        let mut some = vec![0; PIECE];
        let read = within("some bytes", self.socket.read(&mut some)).await;
        some.truncate(read.unwrap_or_else(|err| panic!("no bytes but {err}")));
        assert!(!some.is_empty(), "an end instead of bytes");
        some
    }

    /// Says that nothing more comes from this end.
    pub async fn half_close(&mut self) {
        self.socket.shutdown().await.expect("a connection that is open");
    }

    /// Expects the far end to have said everything, now.
    pub async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let read = within("a clean end", self.socket.read_to_end(&mut rest)).await;
        read.unwrap_or_else(|err| panic!("no clean end but {err}"));
        assert!(rest.is_empty(), "{} before the end", rest.escape_ascii());
    }

    /// Expects a reset, after whatever was on its way; returns that.
    pub async fn expect_reset(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if self.was_reset {
            return rest;
        }
        match within("a reset", self.socket.read_to_end(&mut rest)).await {
            Ok(_) => panic!("a clean end after {} bytes instead of a reset", rest.len()),
            Err(err) => assert_eq!(err.kind(), ErrorKind::ConnectionReset, "{err}"),
        }
        rest
    }

    /// Waits until the kernel knows of a reset, without reading. After an end of the far side the
    /// kernel calls it a broken pipe.
    pub async fn expect_reset_unread(&mut self) {
        crate::eventually("a reset", async || {
            match self.socket.take_error().expect("a socket's error") {
                Some(err) => {
                    let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                    assert!(reset.contains(&err.kind()), "{err}");
                    true
                }
                None => false,
            }
        })
        .await;
    }

    /// Everything up to the end.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let read = within("everything up to the end", self.socket.read_to_end(&mut all)).await;
        read.unwrap_or_else(|err| panic!("no clean end but {err}"));
        all
    }

    /// The next four bytes, or fewer before an end.
    pub async fn read_four(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut four = (&mut self.socket).take(4);
        within("four bytes", four.read_to_end(&mut bytes)).await.expect("bytes");
        bytes
    }

    /// Takes whatever comes until the far end is gone.
    pub async fn read_to_end_or_reset(&mut self) {
        within("the far end to be gone", self.drain()).await;
    }

    /// The same for however long that takes: a local service is there for as long as its visitors.
    pub async fn drain(&mut self) {
        drop(tokio::io::copy(&mut self.socket, &mut tokio::io::sink()).await);
    }

    /// Sends until the far end refuses to take more.
    pub async fn send_until_refused(&mut self) {
        let piece = [7; 4096];
        let sending = async { while self.socket.write_all(&piece).await.is_ok() {} };
        within("the far end to refuse more", sending).await;
    }

    /// Sends a byte now and then for `time`, or until the far end refuses; takes none.
    pub async fn trickle_for(&mut self, time: Duration) {
        let mut pauses = tokio::time::interval(Duration::from_millis(50));
        let start = pauses.tick().await;
        while self.socket.write_all(b".").await.is_ok() && pauses.tick().await < start + time {}
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.socket.set_zero_linger().expect("a socket");
    }

    /// Sends the first `length` bytes of the pattern of `seed`.
    pub async fn send_pattern(&mut self, seed: usize, length: usize) {
        let sending = send_pattern(&mut self.socket, seed, length);
        within_time(PATIENCE * 6, "the pattern to be taken", sending).await;
    }

    /// Expects the first `length` bytes of the pattern of `seed`.
    pub async fn expect_pattern(&mut self, seed: usize, length: usize) {
        let expecting = expect_pattern(&mut self.socket, seed, length);
        within_time(PATIENCE * 6, "the pattern", expecting).await;
    }

    /// Sends the pattern of one seed and expects that of another, both at once.
    pub async fn exchange_patterns(&mut self, send: usize, expect: usize, length: usize) {
        let (mut reader, mut writer) = self.socket.split();
        let both = async {
            tokio::join!(
                send_pattern(&mut writer, send, length),
                expect_pattern(&mut reader, expect, length),
            )
        };
        within_time(PATIENCE * 6, "both patterns", both).await;
    }

    /// Sends and expects patterns for about `time`; then both say that this was all. Returns how
    /// many bytes came.
    pub async fn saturate(&mut self, send: usize, expect: usize, time: Duration) -> usize {
        let (mut reader, mut writer) = self.socket.split();
        let sending = async {
            let (mut pattern, start) = (Pattern::new(send), tokio::time::Instant::now());
            while start.elapsed() < time {
                writer.write_all(pattern.next(PIECE)).await.expect("bytes are taken");
            }
            writer.shutdown().await.expect("an open connection");
        };
        let receiving = async {
            let (mut pattern, mut buffer, mut total) = (Pattern::new(expect), vec![0; PIECE], 0);
            loop {
                match reader.read(&mut buffer).await.expect("bytes, not an error") {
                    0 => return total,
                    n => {
                        pattern.check(&buffer[..n]);
                        total += n;
                    }
                }
            }
        };
        let both = async { tokio::join!(sending, receiving).1 };
        within_time(time + PATIENCE * 3, "both directions to go on", both).await
    }
}

impl From<TcpStream> for Peer {
    fn from(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("a socket");
        Self { socket, was_reset: false }
    }
}

/// A connection to `addr` that comes from another address of this machine.
///
/// # Errors
///
/// There is none, or no port is left there.
pub async fn dial_from(ip: [u8; 4], addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ip, 0).into())?;
    socket.connect(addr).await
}

pub(crate) async fn send_pattern(
    socket: &mut (impl AsyncWriteExt + Unpin),
    seed: usize,
    length: usize,
) {
    let mut pattern = Pattern::new(seed);
    let mut left = length;
    while left > 0 {
        let piece = pattern.next(left.min(PIECE));
        socket.write_all(piece).await.expect("bytes are taken");
        left -= piece.len();
    }
}

pub(crate) async fn expect_pattern(
    socket: &mut (impl AsyncReadExt + Unpin),
    seed: usize,
    length: usize,
) {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; PIECE.min(length)];
    let mut left = length;
    while left > 0 {
        let most = left.min(buffer.len());
        let n = socket.read(&mut buffer[..most]).await.expect("bytes, not an error");
        assert!(n > 0, "the end, {left} bytes of {length} too early");
        pattern.check(&buffer[..n]);
        left -= n;
    }
}
