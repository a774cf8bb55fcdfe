//! Many streams over one connection: a handle to open them and the one task that drives them.
//!
//! yamux does all its work inside the `poll` of its `Connection`. [`Driver`] owns it and is run
//! by whoever owns the session; [`Mux`] opens streams from anywhere. The driver never waits for
//! anybody: a stream that the peer opens and nobody takes is dropped, which resets it.
//!
//! When the driver has ended, for whatever reason, every stream of the session reads as lost. Who
//! is waiting in a read then is not always woken (libp2p/rust-yamux#216): sessions end their visits
//! themselves.

use std::fmt;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Span;
use yamux::{Config, Connection};

use crate::carry::driver::OpenRequest;
use crate::carry::wire::{Link, Wire};
use crate::carry::{Carry, PIECE, Role};

pub use crate::carry::driver::{Driver, End, MuxStream};

/// What the windows of all streams together may grow by beyond the 256 KiB that each starts with.
/// It bounds what a session can make this process hold, and it is what bulk over long lines needs:
/// 64 MiB are 0.5 s at 1 Gbit/s.
const WINDOW_BUDGET: usize = 64 * 1024 * 1024;

/// Requests to open a stream that wait for the driver; more wait in the callers.
const OPEN_QUEUE: usize = 256;

/// How long a session may take to close when nobody waits for what it still holds.
pub const CLOSE: Duration = Duration::from_secs(2);

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

/// The session is over; it opens no more streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// A session that has nothing to run over yet.
struct Prepared {
    role: Role,
    permits: usize,
    link: Arc<Link>,
    requests: mpsc::Receiver<OpenRequest>,
    inbound: mpsc::Sender<MuxStream>,
    span: Span,
}

/// Starts a session over `io`. It lives only while the [`Driver`] is run.
///
/// `permits` is how many streams a relay will have open at a time.
pub fn start<T: Carry>(io: T, role: Role, permits: usize) -> (Mux, Inbound, Driver<T>) {
    let (mux, inbound, prepared) = prepare(role, permits);
    (mux, inbound, prepared.over(io))
}

fn prepare(role: Role, permits: usize) -> (Mux, Inbound, Prepared) {
    let link = Arc::new(Link::new(role));
    let (send_request, requests) = mpsc::channel(OPEN_QUEUE);
    let (inbound, streams) = mpsc::channel(role.most_untaken(permits));
    let mux = Mux { requests: send_request, link: Arc::clone(&link) };
    let span = Span::current();
    (mux, Inbound { streams }, Prepared { role, permits, link, requests, inbound, span })
}

impl Prepared {
    fn over<T: Carry>(self, io: T) -> Driver<T> {
        // Before anybody can have a stream.
        self.link.runs_over(io.channel());
        let wire = Box::new(Wire::new(io, self.role, &self.link));
        let config = config(self.role.most_streams(self.permits));
        let connection = Connection::new(wire, config, self.role.mode());
        Driver::new(connection, self.link, self.requests, self.inbound, self.span)
    }
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
    /// Makes the driver close the session, within so long.
    close: Option<oneshot::Sender<Duration>>,
}

impl Running {
    /// Like [`start`], with the driver already running, over what `carrier` comes to. What a
    /// carrier has to agree on with the far end before it carries anything is a part of the
    /// session: it ends as that does, and a failure ends the session with [`End::Io`].
    pub fn start<T>(
        carrier: impl Future<Output = io::Result<T>> + Send + 'static,
        role: Role,
        permits: usize,
    ) -> Self
    where
        T: Carry + Send + 'static,
    {
        let (mux, inbound, prepared) = prepare(role, permits);
        let (close, closing) = oneshot::channel();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let mut closing = std::pin::pin!(async {
                match closing.await {
                    Ok(within) => within,
                    // Nobody can want it any more.
                    Err(_) => pending().await,
                }
            });
            let io = tokio::select! {
                io = carrier => io,
                _ = &mut closing => return End::Closed,
            };
            match io {
                Ok(io) => prepared.over(io).run(closing).await,
                Err(err) => End::Io(err),
            }
        });
        Self { mux, inbound, driver, close: Some(close) }
    }

    /// Closes the session: returns when everything that it holds has been sent and the peer has
    /// closed too, or `within` is over. Whether the peer has taken everything.
    ///
    /// The streams have to be over before: those still open are lost. What the peer sends
    /// meanwhile is thrown away.
    pub async fn close(&mut self, within: Duration) -> bool {
        if let Some(close) = self.close.take() {
            // An error means that the driver has ended already.
            let _ended = close.send(within);
        }
        matches!(self.driver.join_next().await, Some(Ok(End::Closed)))
    }
}

impl Mux {
    /// Opens a stream. Nothing of it is sent before the first write.
    ///
    /// Waits until the carrier is there, its handshake included, and while the peer has not
    /// acknowledged many earlier streams; callers set a deadline. Afterwards [`Link::channel`] is
    /// known.
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

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session has ended")
    }
}

impl std::error::Error for Gone {}
