//! A stream that hyper is lent.
//!
//! hyper drops what it is given, and a stream that is dropped before both ends have come is reset. So
//! it comes back when hyper is done with it, to be closed as a socket is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use shared::visit::stream::{Broken, DataStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the local service may take to close its end of a connection that nobody needs any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream, for as long as hyper has it.
#[derive(Debug)]
pub(super) struct Lent {
    stream: Option<DataStream>,
    /// hyper has ended its direction.
    has_ended: bool,
    back: Option<oneshot::Sender<DataStream>>,
}

/// Takes the stream back.
#[derive(Debug)]
pub(super) struct Lender(oneshot::Receiver<DataStream>);

impl Lent {
    pub(super) fn new(stream: DataStream) -> (Self, Lender) {
        let (back, lender) = oneshot::channel();
        let lent = Self { stream: Some(stream), has_ended: false, back: Some(back) };
        (lent, Lender(lender))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut DataStream>> {
        // It is there until the drop.
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Lender {
    /// Waits for the stream and closes it. One that hyper did not end is reset.
    pub(super) async fn close(self) -> Result<(), Broken> {
        let Ok(stream) = self.0.await else { return Ok(()) };
        timeout(CLOSE_TIMEOUT, stream.close()).await.unwrap_or(Err(Broken::Lost))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (true, Some(stream), Some(back)) =
            (self.has_ended, self.stream.take(), self.back.take())
        {
            // Nobody who waits: it is reset, as any other.
            drop(back.send(stream));
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Lent {
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
        true
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
