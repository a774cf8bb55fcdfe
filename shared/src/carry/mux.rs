//! Many streams over one connection: a handle to open them and the one task that drives them.
//!
//! yamux does all its work inside the `poll` of its `Connection`. [`Driver`] owns it and is run
//! by whoever owns the session; [`Mux`] opens streams from anywhere. The driver never waits for
//! anybody: a stream that the peer opens and nobody takes is dropped, which resets it.
//!
//! When the driver has ended, for whatever reason, every stream of the session reads as lost.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Span, warn};
use yamux::{Config, Connection, ConnectionError};

use crate::carry::wire::{Breach, Held, Link, Transport, Wire};
use crate::carry::{PIECE, Role};

/// What the windows of all streams together may grow by beyond the 256 KiB that each starts with.
/// It bounds what a session can make this process hold, and it is what bulk over long lines needs:
/// 64 MiB are 0.5 s at 1 Gbit/s.
const WINDOW_BUDGET: usize = 64 * 1024 * 1024;

/// Requests to open a stream that wait for the driver; more wait in the callers.
const OPEN_QUEUE: usize = 256;

/// How long the last frames may take to get out when a session is closed on purpose.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens streams on a session. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mux {
    requests: mpsc::Sender<OpenRequest>,
    link: Arc<Link>,
}

/// The streams that the peer opens, in order.
#[derive(Debug)]
pub struct Inbound {
    streams: mpsc::Receiver<MuxStream>,
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

/// The session is over; it opens no more streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// This end closed it.
    Closed,
    /// The peer closed the connection between two frames, or said so with a go-away.
    ClosedByPeer,
    /// The peer broke the protocol, or said that this end did.
    Breach(Breach),
    /// The connection failed.
    Io(io::Error),
    /// yamux gave up.
    Yamux(ConnectionError),
}

type OpenRequest = oneshot::Sender<MuxStream>;

/// The task of a session: all its I/O happens in [`run`](Self::run).
pub struct Driver<T> {
    connection: Connection<Wire<T>>,
    link: Arc<Link>,
    requests: mpsc::Receiver<OpenRequest>,
    /// A request that yamux cannot serve before the peer acknowledges an earlier stream.
    waiting: Option<OpenRequest>,
    inbound: mpsc::Sender<MuxStream>,
    /// The session's, for what is logged. Entering it for each turn would cost more than it says.
    span: Span,
}

/// Starts a session over `io`. It lives only while the [`Driver`] is run.
///
/// `permits` is how many streams a relay will have open at a time.
pub fn start<T>(io: T, role: Role, permits: usize) -> (Mux, Inbound, Driver<T>)
where
    T: Transport,
{
    let (wire, link) = Wire::new(io, role);
    let config = config(role.most_streams(permits));
    let connection = Connection::new(wire, config, role.mode());
    let (send_request, requests) = mpsc::channel(OPEN_QUEUE);
    let (inbound, streams) = mpsc::channel(role.most_untaken(permits));
    let receive = Inbound { streams };
    let mux = Mux { requests: send_request, link: Arc::clone(&link) };
    let driver =
        Driver { connection, link, requests, waiting: None, inbound, span: Span::current() };
    (mux, receive, driver)
}

/// A configuration for at most `streams` streams.
fn config(streams: usize) -> Config {
    let mut config = Config::default();
    // In this order: each setter checks itself against the other value.
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(streams);
    let windows = streams * yamux::DEFAULT_CREDIT as usize;
    config.set_max_connection_receive_window(Some(windows + WINDOW_BUDGET));
    // One frame for one read of a socket.
    config.set_split_send_size(PIECE);
    config
}

/// A session that runs in a task of its own, which ends with this value.
#[derive(Debug)]
pub struct Running {
    /// Opens streams.
    pub mux: Mux,
    /// The streams that the peer opens.
    pub inbound: Inbound,
    /// The driver's task.
    pub driver: JoinSet<End>,
    /// Makes the driver send what is queued and close.
    pub close: CancellationToken,
}

impl Running {
    /// Like [`start`], with the driver already running.
    pub fn start<T>(io: T, role: Role, permits: usize) -> Self
    where
        T: Transport + Send + 'static,
    {
        let (mux, inbound, driver) = start(io, role, permits);
        let close = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(driver.run(close.clone()));
        Self { mux, inbound, driver: task, close }
    }

    /// Closes the session and waits until the last frames are out, within a deadline.
    pub async fn close(&mut self) {
        self.close.cancel();
        self.driver.join_next().await;
    }
}

impl Mux {
    /// Opens a stream. Nothing of it is sent before the first write.
    ///
    /// Waits while the peer has not acknowledged many earlier streams; callers set a deadline.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a stream that nobody waits for any more is not opened, or is reset.
    pub async fn open(&self) -> Result<MuxStream, Gone> {
        let (reply, stream) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| Gone)?;
        stream.await.map_err(|_| Gone)
    }

    /// The wire under the session.
    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Inbound {
    /// The next stream that the peer opens; `None` when the session has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<MuxStream> {
        self.streams.recv().await
    }

    /// The next stream, if the peer has opened one already.
    pub fn try_next(&mut self) -> Option<MuxStream> {
        self.streams.try_recv().ok()
    }
}

impl<T: Transport> Driver<T> {
    /// Runs the session until it ends, or until `close` fires and the last frames are out.
    ///
    /// Whoever fires `close` has ended the streams before: those still open are lost.
    pub async fn run(mut self, close: CancellationToken) -> End {
        let ended = {
            let closing = close.cancelled();
            let mut closing = std::pin::pin!(closing);
            poll_fn(|cx| {
                if closing.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                self.poll(cx).map(Some)
            })
            .await
        };
        match ended {
            Some(end) => end,
            None => self.close().await,
        }
    }

    /// Sends what is queued and a go-away, within a deadline.
    async fn close(mut self) -> End {
        let closed = poll_fn(|cx| self.connection.poll_close(cx));
        match timeout(CLOSE_TIMEOUT, closed).await {
            Ok(Ok(())) | Err(_) => End::Closed,
            Ok(Err(err)) => self.end(err),
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
                    if self.inbound.try_send(stream).is_err() {
                        warn!(parent: &self.span, "a stream is reset: too many wait to be taken");
                    }
                }
                Poll::Ready(Some(Err(err))) => return Poll::Ready(self.end(err)),
                Poll::Ready(None) => return Poll::Ready(self.end(ConnectionError::Closed)),
                Poll::Pending => break,
            }
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

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session has ended")
    }
}

impl std::error::Error for Gone {}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::ClosedByPeer => f.write_str("the peer closed the connection"),
            Self::Breach(breach) => breach.fmt(f),
            Self::Io(err) => write!(f, "the connection failed: {err}"),
            Self::Yamux(err) => write!(f, "yamux failed: {err}"),
        }
    }
}
