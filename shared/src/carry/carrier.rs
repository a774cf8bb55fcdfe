//! What a session runs over.

use std::future::{Ready, ready};
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use crate::kit::net::limit_unsent;

/// A connection, with what a wire needs of it beyond reading and writing.
///
/// It may hold back what was written until it is flushed.
pub trait Carry: AsyncRead + AsyncWrite + Unpin {
    /// Lets at most about so many bytes wait for the line, where it knows such a thing.
    fn limit_unsent(&self, _bytes: usize) {}

    /// Reads into several buffers, one after the other. Zero is the end of the connection.
    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut total = 0;
        for buf in bufs {
            let mut buf = ReadBuf::new(buf);
            let read = Pin::new(&mut *self).poll_read(cx, &mut buf);
            total += buf.filled().len();
            let is_full = buf.remaining() == 0;
            match read {
                Poll::Pending if total == 0 => return Poll::Pending,
                Poll::Ready(Err(err)) if total == 0 => return Poll::Ready(Err(err)),
                _ if !is_full => break,
                _ => (),
            }
        }
        Poll::Ready(Ok(total))
    }
}

/// What relay and client lay a session over.
#[derive(Debug)]
pub enum Carrier {
    /// Plain TCP.
    Tcp(TcpStream),
}

impl Carrier {
    /// Plain TCP, which has nothing to agree on with the far end: it is ready at once.
    ///
    /// [`Running::start`](crate::carry::mux::Running::start) takes the future of a carrier, so that
    /// the handshake of one that has its own is a part of the session's: within its deadline, and
    /// given up together with it.
    pub fn tcp(socket: TcpStream) -> Ready<io::Result<Self>> {
        ready(Ok(Self::Tcp(socket)))
    }
}

impl Carry for Carrier {
    fn limit_unsent(&self, bytes: usize) {
        match self {
            Self::Tcp(socket) => socket.limit_unsent(bytes),
        }
    }

    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_vectored(cx, bufs),
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

impl Carry for TcpStream {
    fn limit_unsent(&self, bytes: usize) {
        limit_unsent(self, bytes as u32);
    }

    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            match self.try_read_vectored(bufs) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => (),
                read => return Poll::Ready(read),
            }
        }
    }
}

impl Carry for DuplexStream {}
