//! A stream that hyper is lent.
//!
//! hyper drops what it is given. That closes a visitor's connection, and may reset it before the
//! visitor has read what it was told; it resets a stream to a local service unless both ends have come.
//! So the stream comes back when hyper is done with it, to be ended as it should be.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A stream, for as long as hyper has it.
#[derive(Debug)]
pub(super) struct Lent<S> {
    stream: Option<S>,
    /// hyper has ended its direction.
    has_ended: bool,
    back: Option<oneshot::Sender<S>>,
}

/// Takes the stream back.
#[derive(Debug)]
pub(super) struct Lender<S>(oneshot::Receiver<S>);

impl<S> Lent<S> {
    pub(super) fn new(stream: S) -> (Self, Lender<S>) {
        let (back, lender) = oneshot::channel();
        let lent = Self { stream: Some(stream), has_ended: false, back: Some(back) };
        (lent, Lender(lender))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        // It is there until the drop.
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Lender<S> {
    /// Waits until hyper has dropped the stream. `None`: it has not ended it before, so that it is
    /// closed or reset already, as any that is dropped.
    pub(super) async fn take_back(self) -> Option<S> {
        self.0.await.ok()
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let (true, Some(stream), Some(back)) =
            (self.has_ended, self.stream.take(), self.back.take())
        {
            // Nobody who waits: it is dropped, as any other.
            drop(back.send(stream));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.stream()?.poll_shutdown(cx);
        self.has_ended |= matches!(shut, Poll::Ready(Ok(())));
        shut
    }
}
