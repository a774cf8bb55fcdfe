//! Reads ahead of TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ration::{HANDSHAKE, Ration, Stage};
use crate::carry::wire::Breach;

/// The buffer starts with this many bytes: the other end's part of a handshake fits, and it is
/// little for a stranger.
const SMALLEST: usize = 4 * 1024;

/// It grows to this many bytes under traffic: a system call for several records.
const LARGEST: usize = 128 * 1024;

/// A socket that is read in large pieces, since rustls asks for 4 KiB at a time. Writing goes
/// straight to the socket.
#[derive(Debug)]
pub(super) struct ReadAhead {
    socket: TcpStream,
    /// Always initialised in full; `start..end` holds what has come. Empty while a small one waits.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ration: Ration,
}

impl ReadAhead {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self::begun(socket, &[])
    }

    /// A socket of which `seen` has been read already.
    pub(super) fn begun(socket: TcpStream, seen: &[u8]) -> Self {
        let ration = Ration::new(Instant::now());
        let mut buffer = seen.to_vec();
        buffer.resize(seen.len().max(SMALLEST), 0);
        Self { socket, buffer, start: 0, end: seen.len(), ration }
    }

    /// The handshake is over: the other end may say who it is.
    pub(super) fn has_shaken_hands(&mut self) {
        self.ration.has_shaken_hands();
    }

    /// The other end has been admitted: it may send as much as it likes.
    pub(super) fn admit(&mut self) {
        self.ration.admit(Instant::now());
    }

    /// TLS has handed out so many bytes of what it took.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.ration.gave(bytes);
    }

    /// The socket alone; what was read ahead is lost.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Reads into the empty buffer, which grows when it has become full.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_full = self.end == self.buffer.len() && self.end < LARGEST;
        if is_full && self.ration.stage() == Stage::Admitted {
            self.buffer = vec![0; (self.end * 4).min(LARGEST)];
        }
        (self.start, self.end) = (0, 0);
        if self.buffer.len() <= SMALLEST {
            // One that says little holds nothing while it is silent.
            if self.socket.poll_read_ready(cx)?.is_pending() {
                self.buffer = Vec::new();
                return Poll::Pending;
            }
            self.buffer.resize(SMALLEST, 0);
        }
        let mut space = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut space))?;
        self.end = space.filled().len();
        Poll::Ready(Ok(()))
    }

    /// Why nothing more is taken in.
    fn refusal(&self) -> io::Error {
        if self.ration.stage() == Stage::Handshake {
            let message = format!("its TLS handshake is longer than {HANDSHAKE} bytes");
            return io::Error::new(io::ErrorKind::InvalidData, message);
        }
        Breach::TlsFlood.into()
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ration.yields() {
            // TLS would go on and on for as long as there is something that comes to nothing.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.start == this.end {
            ready!(this.poll_fill(cx))?;
        }
        let n = buf.remaining().min(this.end - this.start);
        if !this.ration.takes(n, Instant::now) {
            return Poll::Ready(Err(this.refusal()));
        }
        buf.put_slice(&this.buffer[this.start..this.start + n]);
        this.start += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
