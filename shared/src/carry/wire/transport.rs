//! What a wire can be laid over.

use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

/// A connection, with what a wire needs of it beyond reading and writing.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Lets at most about so many bytes wait in the transport for the line, where it knows such a
    /// thing.
    fn limit_unsent(&self, bytes: usize);

    /// Reads into several buffers, one after the other. Zero is the end of the connection.
    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>>;
}

impl Transport for TcpStream {
    fn limit_unsent(&self, bytes: usize) {
        // It cannot fail on a socket that is open, and does not matter on one that is not.
        drop(SockRef::from(self).set_tcp_notsent_lowat(bytes as u32));
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

impl Transport for DuplexStream {
    fn limit_unsent(&self, _: usize) {}

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
