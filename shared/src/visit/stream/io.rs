//! A data stream as a socket, for whoever speaks a protocol over it instead of passing bytes on.
//!
//! Reading takes payload until `END`, which is the end of file. Writing makes `DATA` records, and a
//! shutdown is an `END`. A stream that breaks off is an error at both, as a connection that was
//! reset would be, with [`Broken`] as its reason.
//!
//! A stream that is dropped before both ends have come is reset. Whoever is done with one
//! [closes](DataStream::close) it; a library that drops what it is given, such as hyper, is lent the
//! stream, or gives it back. At the client nothing may be written before
//! [`connected`](DataStream::connected).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Broken, Confirmation, DataStream, Phase};
use crate::visit::record::{self, Abort, HEADER};

/// Payload up to this many bytes is put behind the header of its record, so that both travel in
/// one frame of yamux. A longer one is worth a frame of its own: it is copied but once.
const SMALL: usize = 2 * 1024;

impl AsyncRead for DataStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let n = ready!(this.poll_fill(cx))?.min(buf.remaining());
        if n > 0 {
            buf.put_slice(&this.data()[..n]);
            this.consume(n);
        } else {
            ready!(this.poll_confirm(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DataStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.end_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_ready(cx))?;
        if this.poll_room(cx).is_pending() {
            ready!(this.held.poll_reset(cx));
            return Poll::Ready(Err(this.why_broken(cx).into()));
        }
        let most = this.chunk();
        Poll::Ready(this.write_data(cx, bufs, most).map_err(io::Error::from))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready when all that was written is on its way: what the far end has no room for is not.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_ready(cx).map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_end(cx))?;
        ready!(this.poll_confirm(cx));
        Poll::Ready(Ok(()))
    }
}

impl DataStream {
    /// Closes the stream, as the kernel does with a socket that was closed: sends `END`, unless
    /// that has been done, and waits until the far end has ended too and has taken everything.
    /// Callers set a deadline.
    ///
    /// # Errors
    ///
    /// The stream is broken, or payload comes that nobody wants any more. It is reset.
    pub async fn close(mut self) -> Result<(), Broken> {
        poll_fn(|cx| self.poll_end(cx)).await?;
        if poll_fn(|cx| self.poll_fill(cx)).await? > 0 {
            self.abort(Abort::Reset);
            return Err(Broken::Unwanted);
        }
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// Writes one `DATA` record with what comes first in `bufs`, of `most` bytes at most, and returns
    /// how many it has. What does not fit the window is kept.
    ///
    /// What is small goes behind the header, and what is not ends the record: nothing is left then
    /// that would be a frame of a byte or two, of which the far end forgives but few.
    fn write_data(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        most: usize,
    ) -> Result<usize, Broken> {
        let mut small = [0; HEADER + SMALL];
        let (mut filled, mut large) = (HEADER, [].as_slice());
        for buf in bufs {
            let buf = &buf[..buf.len().min(most - (filled - HEADER))];
            if let Some(room) = small.get_mut(filled..filled + buf.len()) {
                room.copy_from_slice(buf);
                filled += buf.len();
            } else {
                if buf.len() > SMALL {
                    large = buf;
                }
                break;
            }
        }
        let length = filled - HEADER + large.len();
        small[..HEADER].copy_from_slice(&record::data_header(length));
        self.held.sends(length);
        self.write(cx, &small[..filled])?;
        if !large.is_empty() {
            self.write(cx, large)?;
        }
        Ok(length)
    }

    /// Tells the far end, once both ends have come, that all of it has been taken.
    fn poll_confirm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let both_ended = self.phase == Phase::Ended && self.end_sent && self.unsent.is_empty();
        if both_ended { self.poll_fin(cx) } else { Poll::Ready(()) }
    }

    /// The same for a stream that is being dropped, whose user need not have looked for the far
    /// end's end.
    pub(super) fn confirm_now(&mut self, cx: &mut Context<'_>) {
        if self.end_sent
            && self.confirmation == Confirmation::Due
            && self.poll_fill(cx) == Poll::Ready(Ok(0))
        {
            // If yamux takes no more the stream is reset: worse than need be, and true.
            let _pending = self.poll_confirm(cx).is_pending();
        }
    }
}
