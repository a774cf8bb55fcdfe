//! The one task of a session, in which all its I/O happens.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{Span, warn};
use yamux::{Connection, ConnectionError};

use crate::carry::Carry;
use crate::carry::wire::{Breach, Held, Link, Wire};
use crate::kit::logging::Rate;

/// Streams that are reset because nobody takes them. A peer can open them without end.
static RESET: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "streams reset, too many wait to be taken: {more}");
});

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// This end closed it, and the peer has taken everything.
    Closed,
    /// This end closed it, and the peer has not taken everything in time.
    CutOff,
    /// The peer closed the connection between two frames, or said so with a go-away.
    ClosedByPeer,
    /// The peer broke the protocol, or said that this end did.
    Breach(Breach),
    /// The connection failed.
    Io(io::Error),
    /// yamux gave up.
    Yamux(ConnectionError),
}

/// A stream of a session.
#[derive(Debug)]
pub struct MuxStream {
    /// The stream itself.
    pub io: yamux::Stream,
    /// Keeps the stream in use.
    pub held: Held,
}

impl MuxStream {
    fn new(io: yamux::Stream, link: &Arc<Link>) -> Self {
        let held = Held::new(link, io.id().val());
        Self { io, held }
    }
}

/// Somebody who waits for a stream.
pub(super) type OpenRequest = oneshot::Sender<MuxStream>;

/// The task of a session: all its I/O happens in [`run`](Self::run).
pub struct Driver<T> {
    /// Each poll of it moves all it holds inline, so the wire is not.
    connection: Connection<Box<Wire<T>>>,
    link: Arc<Link>,
    requests: mpsc::Receiver<OpenRequest>,
    /// A request that yamux cannot serve before the peer acknowledges an earlier stream.
    waiting: Option<OpenRequest>,
    inbound: mpsc::Sender<MuxStream>,
    /// The session's, for what is logged. Entering it for each turn would cost more than it says.
    span: Span,
}

impl<T: Carry> Driver<T> {
    pub(super) fn new(
        connection: Connection<Box<Wire<T>>>,
        link: Arc<Link>,
        requests: mpsc::Receiver<OpenRequest>,
        inbound: mpsc::Sender<MuxStream>,
        span: Span,
    ) -> Self {
        Self { connection, link, requests, waiting: None, inbound, span }
    }

    /// Runs the session until it ends, or until `close` is ready. It says how long closing may
    /// take: everything that the session holds is sent, and the peer has closed too when it is
    /// over. What comes meanwhile is thrown away.
    ///
    /// Whoever fires `close` has ended the streams before: those still open are lost.
    #[expect(clippy::manual_async_fn, reason = "one would have room for its argument twice")]
    pub fn run(mut self, close: impl Future<Output = Duration>) -> impl Future<Output = End> {
        async move {
            let ended = {
                let mut closing = std::pin::pin!(close);
                poll_fn(|cx| {
                    if let Poll::Ready(within) = closing.as_mut().poll(cx) {
                        return Poll::Ready(Err(within));
                    }
                    self.poll(cx).map(Ok)
                })
                .await
            };
            match ended {
                Ok(end) => end,
                Err(within) => self.close(within).await,
            }
        }
    }

    async fn close(&mut self, within: Duration) -> End {
        self.link.part();
        let closed = poll_fn(|cx| self.connection.poll_close(cx));
        match timeout(within, closed).await {
            Ok(Ok(())) => End::Closed,
            Ok(Err(err)) => self.end(err),
            Err(_) => End::CutOff,
        }
    }

    /// One turn: outbound before inbound, since opening a stream needs the reading behind it to
    /// be registered with the socket.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Err(err) = self.poll_requests(cx) {
            return Poll::Ready(self.end(err));
        }
        // Bounded by the wire's turn.
        loop {
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(io))) => {
                    let stream = MuxStream::new(io, &self.link);
                    if self.inbound.try_send(stream).is_err() && RESET.allows() {
                        warn!(parent: &self.span, "a stream is reset: too many wait to be taken");
                    }
                }
                Poll::Ready(Some(Err(err))) => return Poll::Ready(self.end(err)),
                Poll::Ready(None) => return Poll::Ready(self.end(ConnectionError::Closed)),
                Poll::Pending => break,
            }
        }
        if self.link.turn_over() {
            cx.waker().wake_by_ref();
        }
        if self.waiting.is_some() {
            // A stream that was reset or dropped makes room too, of which yamux tells nobody.
            if let Err(err) = self.poll_requests(cx) {
                return Poll::Ready(self.end(err));
            }
            if self.waiting.is_none() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Opens streams for those who wait for one.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        loop {
            let request = match self.waiting.take() {
                Some(request) => request,
                None => match self.requests.poll_recv(cx) {
                    Poll::Ready(Some(request)) => request,
                    Poll::Ready(None) | Poll::Pending => return Ok(()),
                },
            };
            if request.is_closed() {
                continue;
            }
            match self.connection.poll_new_outbound(cx) {
                // Nobody waits any more: the stream is dropped before it was ever sent.
                Poll::Ready(Ok(io)) => drop(request.send(MuxStream::new(io, &self.link))),
                Poll::Ready(Err(err)) => return Err(err),
                Poll::Pending => {
                    self.waiting = Some(request);
                    return Ok(());
                }
            }
        }
    }

    /// What `err` means for the session. The wire knows more than yamux about breaches.
    fn end(&self, err: ConnectionError) -> End {
        match (self.link.breach(), err) {
            (Some(breach), _) if breach.is_normal_end() => End::ClosedByPeer,
            (Some(breach), _) => End::Breach(breach),
            (None, ConnectionError::Closed) => End::ClosedByPeer,
            (None, ConnectionError::Io(err)) => End::Io(err),
            (None, ConnectionError::Decode(yamux::FrameDecodeError::Io(err))) => End::Io(err),
            (None, err) => End::Yamux(err),
        }
    }
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::CutOff => f.write_str("closed before the peer had taken everything"),
            Self::ClosedByPeer => f.write_str("the peer closed the connection"),
            Self::Breach(breach) => breach.fmt(f),
            Self::Io(err) => write!(f, "the connection failed: {err}"),
            Self::Yamux(err) => write!(f, "yamux failed: {err}"),
        }
    }
}
