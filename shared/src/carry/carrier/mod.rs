//! What a session runs over.

mod tcp;

use std::future::Ready;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::Channel;
use super::tls::Tls;

/// A connection, with what a wire needs of it beyond reading and writing.
///
/// It may hold back what was written until it is flushed.
pub trait Carry: AsyncRead + AsyncWrite + Unpin {
    /// Lets at most about so many bytes wait for the line, where it knows such a thing.
    fn limit_unsent(&self, _bytes: usize) {}

    /// What is known of it. Asked once, before anything goes over it.
    fn channel(&self) -> Channel {
        Channel::Plain
    }

    /// The peer has been admitted: from now on it may send as much as it likes.
    ///
    /// A carrier whose peer sends what no honest one does ends with a
    /// [`Breach`](crate::carry::wire::Breach) as the source of its error.
    fn admit(&mut self) {}

    /// Reads into several buffers, one after the other, as much as there is, or into the first
    /// alone. Zero is the end of the connection.
    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(first) = bufs.first_mut() else { return Poll::Ready(Ok(0)) };
        let mut first = ReadBuf::new(first);
        ready!(Pin::new(self).poll_read(cx, &mut first))?;
        Poll::Ready(Ok(first.filled().len()))
    }
}

/// What relay and client lay a session over.
#[derive(Debug)]
pub enum Carrier {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<Tls>),
}

impl Carrier {
    /// Plain TCP, which has nothing to agree on with the far end: it is ready at once.
    ///
    /// [`Running::start`](crate::carry::mux::Running::start) takes the future of a carrier, so that
    /// the handshake of one that has its own is a part of the session's: within its deadline, and
    /// given up together with it.
    pub fn tcp(socket: TcpStream) -> Ready<io::Result<Self>> {
        std::future::ready(Ok(Self::Tcp(socket)))
    }
}

impl From<Tls> for Carrier {
    fn from(tls: Tls) -> Self {
        Self::Tls(Box::new(tls))
    }
}

impl Carry for Carrier {
    fn limit_unsent(&self, bytes: usize) {
        match self {
            Self::Tcp(socket) => socket.limit_unsent(bytes),
            Self::Tls(tls) => tls.limit_unsent(bytes),
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Self::Tcp(socket) => socket.channel(),
            Self::Tls(tls) => tls.channel(),
        }
    }

    fn admit(&mut self) {
        match self {
            Self::Tcp(socket) => socket.admit(),
            Self::Tls(tls) => tls.admit(),
        }
    }

    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_vectored(cx, bufs),
            Self::Tls(tls) => tls.poll_read_vectored(cx, bufs),
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
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
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
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

impl Carry for DuplexStream {}
