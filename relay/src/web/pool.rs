//! Connections to local services that wait for the next request.
//!
//! Each is one stream of a session, and one connection of the local service. They are a session's: when
//! it is over, so are they.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use shared::control::protocol::TunnelName;
use tokio_util::sync::CancellationToken;

use super::connecting::Connecting;
use super::interim::AwaitedHead;
use crate::limits::Supply;

/// So many connections of one tunnel wait at most. More than that come together again only in
/// another rush.
const MOST_WAITING: usize = 256;

/// So many tunnels are known to have led elsewhere. When there are more, connections of all that were
/// in use at that moment are not kept.
const MOST_ERAS: usize = 4096;

/// For the windows of all connections by HTTP/2 of one session, in bytes: as much as the streams below
/// have together.
const WINDOWS: usize = 64 * 1024 * 1024;

/// The connections of one session to local services.
#[derive(Debug)]
pub(crate) struct Pool {
    waiting: Mutex<Waiting>,
    connecting: Connecting,
    requests: AtomicUsize,
    windows: Supply,
}

#[derive(Debug, Default)]
struct Waiting {
    tunnels: HashMap<TunnelName, Vec<Idle>>,
    /// Grows whenever a tunnel leads elsewhere.
    era: u64,
    /// The era in which a tunnel came to lead where it does. Connections of an earlier one are not kept:
    /// where they lead is not known.
    began: HashMap<TunnelName, u64>,
    /// The same for all others.
    all_began: u64,
    /// No more requests are to go this way.
    is_closed: bool,
}

/// A connection, when it was put there, and since when it has been waiting.
#[derive(Debug)]
struct Idle {
    connection: Connection,
    put: Instant,
    since: Instant,
}

/// A connection to a local service.
#[derive(Debug)]
pub(crate) enum Connection {
    /// For one request at a time. The token cuts it off, and each request is told to the head.
    Http1(http1::SendRequest<RequestBody>, CancellationToken, Arc<AwaitedHead>),
    /// For many. All who use it have a copy.
    Http2(http2::SendRequest<RequestBody>),
}

/// The body of a request on its way to a local service.
pub(crate) enum RequestBody {
    /// There is none.
    Empty,
    /// It comes from the visitor.
    Streamed(Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>),
}

/// Why a body breaks off.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

impl Default for Pool {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            connecting: Connecting::default(),
            requests: AtomicUsize::default(),
            windows: Supply::new(WINDOWS, WINDOWS),
        }
    }
}

impl Pool {
    /// The era of a connection that is made now.
    pub(crate) fn era(&self) -> u64 {
        self.waiting.lock().era
    }

    /// `tunnel` leads elsewhere from now on.
    pub(crate) fn forget(&self, tunnel: &TunnelName) {
        let mut waiting = self.waiting.lock();
        waiting.era += 1;
        let era = waiting.era;
        if waiting.began.len() >= MOST_ERAS {
            waiting.began.clear();
            waiting.all_began = era;
        }
        waiting.began.insert(tunnel.clone(), era);
        let connections = waiting.tunnels.remove(tunnel);
        drop(waiting);
        drop(connections);
    }

    /// What there is for their windows.
    pub(crate) fn windows(&self) -> &Supply {
        &self.windows
    }

    /// The connections that are being made.
    pub(crate) fn connecting(&self) -> &Connecting {
        &self.connecting
    }

    /// A connection of `tunnel` that works, as far as is known: the one that was used last. If it has
    /// to be newer than some moment it is one that was made after that. With it comes the era for
    /// [`Pool::put`].
    pub(crate) fn take(
        &self,
        tunnel: &TunnelName,
        newer_than: Option<Instant>,
    ) -> Option<(Connection, u64)> {
        let mut waiting = self.waiting.lock();
        let era = waiting.era;
        let connections = waiting.tunnels.get_mut(tunnel)?;
        let mut found = None;
        let mut at = connections.len();
        while at > 0 && found.is_none() {
            at -= 1;
            match connections[at].connection.state() {
                State::Over => drop(connections.swap_remove(at)),
                State::Ready if connections[at].is_newer(newer_than) => {
                    found = match &mut connections[at] {
                        Idle { connection: Connection::Http2(sender), since, .. } => {
                            *since = Instant::now();
                            Some(Connection::Http2(sender.clone()))
                        }
                        _ => Some(connections.remove(at).connection),
                    };
                }
                // The end of the answer before is not through yet, or it is too old.
                State::Ready | State::Busy => (),
            }
        }
        if connections.is_empty() {
            waiting.tunnels.remove(tunnel);
        }
        Some((found?, era))
    }

    /// Keeps a connection of that era for the next request, if there is room.
    pub(crate) fn put(&self, tunnel: &TunnelName, era: u64, connection: Connection) {
        if connection.state() == State::Over {
            return;
        }
        let now = Instant::now();
        let idle = Idle { connection, put: now, since: now };
        let mut waiting = self.waiting.lock();
        let began = waiting.began.get(tunnel).copied().unwrap_or_default();
        if waiting.is_closed || era < began.max(waiting.all_began) {
            return;
        }
        match waiting.tunnels.get_mut(tunnel) {
            Some(connections) if connections.len() >= MOST_WAITING => (),
            Some(connections) => connections.push(idle),
            None => {
                waiting.tunnels.insert(tunnel.clone(), vec![idle]);
            }
        }
    }

    /// Lets go of connections of a tunnel that are over.
    pub(crate) fn sweep(&self, tunnel: &TunnelName) {
        self.retain(tunnel, |_| true);
    }

    /// The same, and of those that have been waiting for longer.
    pub(crate) fn let_go(&self, tunnel: &TunnelName, before: Instant) {
        self.retain(tunnel, |since| since >= before);
    }

    fn retain(&self, tunnel: &TunnelName, keep: impl Fn(Instant) -> bool) {
        let mut waiting = self.waiting.lock();
        let Some(connections) = waiting.tunnels.get_mut(tunnel) else { return };
        connections.retain(|idle| idle.connection.state() != State::Over && keep(idle.since));
        if connections.is_empty() {
            waiting.tunnels.remove(tunnel);
        }
    }

    /// No more requests go this way. Those that are under way are not touched.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        let connections = std::mem::take(&mut waiting.tunnels);
        drop(waiting);
        drop(connections);
    }

    /// How many requests are under way.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// One request more, or one fewer.
    pub(crate) fn count(&self, more: bool) {
        if more {
            self.requests.fetch_add(1, Ordering::Relaxed);
        } else {
            self.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Idle {
    /// Whether it was made after that moment, if there is one, as far as is known: one of HTTP/2 is put
    /// here when it is made, any other whenever it has served.
    fn is_newer(&self, than: Option<Instant>) -> bool {
        let is_of_all = matches!(self.connection, Connection::Http2(_));
        than.is_none_or(|than| is_of_all && self.put > than)
    }
}

/// Whether a connection can take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Busy,
    Over,
}

impl Connection {
    /// The connection for the next request, if it is not kept already.
    pub(crate) fn again(self) -> Option<Self> {
        matches!(self, Self::Http1(..)).then_some(self)
    }

    /// Nobody waits for the rest of an answer: the local service is to learn of it at once. hyper by
    /// itself would end the connection as it ends one that has served.
    pub(crate) fn abandon(self) {
        if let Self::Http1(_, cut, _) = self {
            cut.cancel();
        }
    }

    fn state(&self) -> State {
        let (is_ready, is_closed) = match self {
            Self::Http1(sender, ..) => (sender.is_ready(), sender.is_closed()),
            Self::Http2(sender) => (sender.is_ready(), sender.is_closed()),
        };
        match (is_closed, is_ready) {
            (true, _) => State::Over,
            (false, true) => State::Ready,
            (false, false) => State::Busy,
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Streamed(_) => "Streamed",
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::duplex;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn connections_of_a_tunnel_that_led_elsewhere_are_not_kept_and_those_of_others_are() {
        let mut tasks = JoinSet::new();
        let mut ends = Vec::new();
        let mut connection = async || {
            let (ours, theirs) = duplex(1024);
            ends.push(theirs);
            let (mut sender, running) = http1::handshake(TokioIo::new(ours)).await.unwrap();
            tasks.spawn(running);
            sender.ready().await.unwrap();
            Connection::Http1(sender, CancellationToken::new(), Arc::default())
        };
        let pool = Pool::default();
        let [app, other] = ["app", "other"].map(|name| name.parse().unwrap());
        let before = pool.era();
        pool.forget(&other);
        pool.put(&other, before, connection().await);
        assert!(pool.take(&other, None).is_none());
        pool.put(&app, before, connection().await);
        let (kept, era) = pool.take(&app, None).expect("its own tunnel leads where it did");
        pool.put(&other, era, kept);
        assert!(pool.take(&other, None).is_some());

        for number in 0..=MOST_ERAS {
            pool.forget(&format!("t{number}").parse().unwrap());
        }
        assert!(pool.waiting.lock().began.len() <= MOST_ERAS);
        pool.put(&app, before, connection().await);
        assert!(pool.take(&app, None).is_none());
    }
}
