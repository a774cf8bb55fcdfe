//! The I/O layer under yamux: between its frames and the socket.
//!
//! yamux reads twelve bytes and then a body, writes a header and then a body, and flushes after
//! each. Done on the socket that costs several system calls a frame. It also stops reading while
//! a pong waits to be written, so that two ends that both write a lot stop each other for ever
//! (libp2p/rust-yamux#227), and it goes on after a breach of the protocol with a hole in a stream.
//! [`Wire`] mends all of that without yamux noticing:
//!
//! - **Reads ahead** into a buffer that grows with the traffic; large bodies go straight to yamux.
//! - **Collects writes.** A flush does nothing. What was written between two reads goes out in one
//!   system call before the next read of the socket, or earlier when the buffer is full; a carrier
//!   that holds it back is flushed then. This is enough because yamux never waits without having
//!   tried to read or having been refused a write.
//! - **Answers pings itself,** so that reading never waits for writing.
//! - **Polices.** The first go-away, sent or received, ends the session; so do frames of a size
//!   or in a number that no honest peer sends, and streams that it may not open. The reason is kept
//!   in the [`Link`]. What a stream has unread is counted, and nothing passes to one that is not in
//!   use.
//! - **Notes when anything last arrived**: any byte is a sign of life.
//! - **Keeps queues short.** It measures how fast the line takes what is written and has no more of
//!   it wait than a few milliseconds' worth.
//! - **Takes turns.** After `TURN` bytes it yields, so that the bridges pass on what has come
//!   while it is still in the processor's cache.

mod breach;
mod frame;
mod held;
mod inbound;
mod life;
mod link;
mod outbound;
mod pace;
mod police;
mod room;
mod streams;

use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::ReadBuf;

use crate::carry::{Carry, Role};

use self::inbound::Inbound;
use self::outbound::Outbound;
use self::streams::Streams;

pub use self::breach::Breach;
pub use self::held::Held;
pub use self::link::Link;

/// How many bytes are read from the socket before the other tasks get their turn.
const TURN: usize = 256 * 1024;

/// What a frame counts in a turn beside its bytes: about what it costs to handle one.
const FRAME_TURN: usize = 256;

/// The smallest read that goes straight into yamux's buffer instead of through the read-ahead.
const DIRECT_READ: usize = 8 * 1024;

/// A byte stream with yamux's frames on it. Made for one `yamux::Connection`, which owns it.
#[derive(Debug)]
pub struct Wire<T> {
    socket: Socket<T>,
    inbound: Inbound,
    outbound: Outbound,
    streams: Streams,
    /// While this end closes: whether nothing more comes, and whether nothing more goes.
    peer_closed: bool,
    shut: bool,
}

/// The connection itself, as it is read.
#[derive(Debug)]
struct Socket<T> {
    io: T,
    link: Arc<Link>,
    /// It knows that the peer has been admitted.
    admitted: bool,
    /// Bytes read in this turn.
    turn: usize,
    /// When anything was last read.
    last_read: Instant,
}

impl<T: Carry> Wire<T> {
    /// A layer over `io`. `link` is the view of it that stays with its owner.
    pub fn new(io: T, role: Role, link: &Arc<Link>) -> Self {
        let now = Instant::now();
        let socket =
            Socket { io, link: Arc::clone(link), admitted: false, turn: 0, last_read: now };
        let streams = Streams::new(Arc::clone(link));
        let (inbound, outbound) = (Inbound::new(role, now), Outbound::new(role, &socket.io));
        Self { socket, inbound, outbound, streams, peer_closed: false, shut: false }
    }

    /// Whether the socket may be read now: sends what has been collected, ends the turn when it
    /// is over, and refuses when the session has been given up.
    fn poll_read_allowed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A refused write does not hold up reading: its waker brings the driver back.
        let _blocked =
            self.outbound.poll_drain(&mut self.socket.io, &self.socket.link, cx)?.is_pending();
        if let Some(breach) = self.socket.link.breach() {
            return Poll::Ready(Err(breach.into()));
        }
        self.socket.poll_turn(cx).map(Ok)
    }

    /// Reads what the peer still sends and throws it away. Ready when the peer has closed.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.peer_closed {
            ready!(self.socket.poll_turn(cx));
            let n = ready!(self.socket.poll_read(cx, self.inbound.scrap()))?;
            self.peer_closed = n == 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into the read-ahead buffer. Zero is the end of the connection.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_allowed(cx))?;
        let n = ready!(self.socket.poll_read(cx, self.inbound.space()))?;
        self.look();
        self.inbound.filled(n);
        Poll::Ready(Ok(n))
    }

    /// Reads past the read-ahead buffer, and what follows into it. Zero is the end of the
    /// connection.
    fn poll_read_direct(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_allowed(cx))?;
        let wanted = buf.len();
        let mut both = [IoSliceMut::new(buf), IoSliceMut::new(self.inbound.space())];
        let n = ready!(self.socket.poll_read_vectored(cx, &mut both))?;
        self.look();
        self.inbound.passed(n.min(wanted));
        self.inbound.filled(n.saturating_sub(wanted));
        Poll::Ready(Ok(n.min(wanted)))
    }

    /// The clock has just been read: looks at the pace of the line too.
    fn look(&mut self) {
        let Socket { io, link, last_read, .. } = &self.socket;
        self.outbound.look(io, link, *last_read);
    }
}

impl<T: Carry> Socket<T> {
    /// Ready while the turn lasts.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.turn < TURN {
            return Poll::Ready(());
        }
        self.turn = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        self.admit();
        let read = Pin::new(&mut self.io).poll_read(cx, &mut buf);
        self.after_read(read.map_ok(|()| buf.filled().len()))
    }

    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.admit();
        let read = self.io.poll_read_vectored(cx, bufs);
        self.after_read(read)
    }

    /// Tells the connection once that the peer has been admitted.
    fn admit(&mut self) {
        if !self.admitted && self.link.is_admitted() {
            self.admitted = true;
            self.io.admit();
        }
    }

    /// Counts what a read brought towards the turn, and as a sign of life.
    fn after_read(&mut self, read: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &read {
            Poll::Ready(Ok(n)) => {
                self.turn += n;
                self.last_read = Instant::now();
                self.link.life.heard(*n, self.last_read);
            }
            Poll::Ready(Err(err)) => {
                let breach = err.get_ref().and_then(|source| source.downcast_ref::<Breach>());
                if let Some(breach) = breach {
                    self.link.break_off(breach.clone());
                }
            }
            Poll::Pending => self.turn = 0,
        }
        read
    }
}

impl<T: Carry> futures::AsyncRead for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let allowed = this.inbound.allowed();
            let wanted = allowed.min(buf.len());
            let read = if allowed == 0 {
                if this.socket.link.is_given_up() || this.socket.turn >= TURN {
                    // Not one frame more after the one that was refused: there is a hole between.
                    ready!(this.poll_read_allowed(cx))?;
                }
                let Socket { link, last_read, .. } = &this.socket;
                let (streams, outbound) = (&mut this.streams, &mut this.outbound);
                if this.inbound.next_frame(link, streams, outbound, *last_read)? {
                    this.socket.turn += FRAME_TURN;
                    continue;
                }
                ready!(this.poll_read_ahead(cx))?
            } else if this.inbound.has_bytes() {
                return Poll::Ready(Ok(this.inbound.take(buf)));
            } else if wanted >= DIRECT_READ {
                let n = ready!(this.poll_read_direct(cx, &mut buf[..wanted]))?;
                return Poll::Ready(Ok(n));
            } else {
                ready!(this.poll_read_ahead(cx))?
            };
            if read == 0 {
                return Poll::Ready(this.inbound.at_end());
            }
        }
    }
}

impl<T: Carry> futures::AsyncWrite for Wire<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Socket { io, link, .. } = &mut this.socket;
        let written = this.outbound.poll_write(io, link, &mut this.streams, cx, buf);
        if written.is_pending() && this.socket.link.is_parting() {
            // yamux reads no more. Two ends that only write would wait for each other.
            let _more = this.poll_discard(cx)?;
        }
        written
    }

    /// Does nothing: what was written goes out before the next read.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends everything, says that nothing more comes, and waits until the peer has said so too: a
    /// kernel whose socket is closed with something unread throws away what it has yet to send.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let discarded = this.poll_discard(cx)?;
        if !this.shut {
            ready!(this.outbound.poll_drain(&mut this.socket.io, &this.socket.link, cx))?;
            ready!(Pin::new(&mut this.socket.io).poll_shutdown(cx))?;
            this.shut = true;
        }
        discarded.map(Ok)
    }
}

#[cfg(test)]
mod tests;
