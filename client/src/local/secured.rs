//! A connection to a local service with TLS, as the end of a bridge.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use shared::visit::socket::Socket;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::ServiceStream;

/// A connection to a local service after its TLS handshake.
///
/// An end is one that the service has signed (`close_notify`, RFC 8446, section 6.1): a connection
/// that ends without it was cut off, maybe by somebody else, and fails.
///
/// A write is ready when the socket has taken all that was made of it: nobody flushes, and whoever
/// waits for it sees whether it moves. So a write that was pending has to be tried again with bytes
/// that begin with the same ones, as a bridge does.
#[derive(Debug)]
pub(super) struct SecuredSocket {
    /// Apart, since thousands of visits have room for the largest kind of connection.
    stream: Box<ServiceStream>,
    /// So many bytes of a write that is pending are encrypted already.
    encrypted: usize,
    /// What was found by looking ahead: the next read tells.
    failure: Option<io::Error>,
}

impl SecuredSocket {
    pub(super) fn new(stream: ServiceStream) -> Self {
        Self { stream: Box::new(stream), encrypted: 0, failure: None }
    }

    fn stream(&mut self) -> Pin<&mut ServiceStream> {
        Pin::new(&mut *self.stream)
    }
}

/// The same error. A library's words for an end without a word are about libraries.
fn worded(err: io::Error) -> io::Error {
    if err.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(err.kind(), "the local service has gone without closing TLS");
    }
    err
}

impl Socket for SecuredSocket {
    fn pending_error(&self) -> Option<io::Error> {
        self.stream.get_ref().0.pending_error()
    }

    /// What comes over the wire may be nothing but words about TLS: only what is decrypted counts.
    fn poll_has_data(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.failure.is_some() {
            return Poll::Ready(false);
        }
        match ready!(self.stream().poll_fill_buf(cx)) {
            Ok(data) => Poll::Ready(!data.is_empty()),
            Err(err) => {
                self.failure = Some(err);
                Poll::Ready(false)
            }
        }
    }

    fn make_close_a_reset(&self, reset: bool) {
        self.stream.get_ref().0.make_close_a_reset(reset);
    }
}

impl AsyncRead for SecuredSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(err) = this.failure.take() {
            return Poll::Ready(Err(worded(err)));
        }
        this.stream().poll_read(cx, buf).map_err(worded)
    }
}

impl AsyncWrite for SecuredSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.encrypted == 0 {
            this.encrypted = ready!(this.stream().poll_write(cx, bytes))?;
        }
        ready!(this.stream().poll_flush(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut this.encrypted)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_shutdown(cx)
    }
}
