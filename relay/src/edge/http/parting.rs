//! The last words of a visitor's connection, which is not closed before they are read.
//!
//! A visitor who is still sending would be reset by a close, and that can overtake an answer (RFC 9112,
//! section 9.6). hyper closes what it has, so the stream comes back when hyper is done with it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use shared::kit::net::linger_after_end;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// So much of what a visitor still says is read and thrown away at most, in bytes: what a fast one has
/// under way before the answer gets there.
const MOST_DISCARDED: u64 = 16 * 1024 * 1024;

/// Gives a visitor the time to read what it was told on a connection whose own direction has ended.
pub(super) async fn linger(stream: impl AsyncRead + Unpin) {
    linger_after_end(stream, MOST_DISCARDED).await;
}

/// A stream, for as long as hyper has it.
#[derive(Debug)]
pub(super) struct Parting<S> {
    stream: Option<S>,
    /// hyper has ended its direction.
    has_ended: bool,
    back: Option<oneshot::Sender<S>>,
}

/// Takes the stream back.
#[derive(Debug)]
pub(super) struct Parted<S>(oneshot::Receiver<S>);

impl<S> Parting<S> {
    pub(super) fn new(stream: S) -> (Self, Parted<S>) {
        let (back, parted) = oneshot::channel();
        (Self { stream: Some(stream), has_ended: false, back: Some(back) }, Parted(parted))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        // It is there until the drop.
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin> Parted<S> {
    /// hyper has dropped the stream. One that it did not end is closed already.
    pub(super) async fn linger(mut self) {
        if let Ok(stream) = self.0.try_recv() {
            linger(stream).await;
        }
    }
}

impl<S> Drop for Parting<S> {
    fn drop(&mut self) {
        if let (true, Some(stream), Some(back)) =
            (self.has_ended, self.stream.take(), self.back.take())
        {
            // Nobody who waits: it is closed, as any other.
            drop(back.send(stream));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Parting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Parting<S> {
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
