//! Where a tunnel leads: to the session of a client. Its one verb is [`open`](Target::open).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::carry::mux::Mux;
use shared::control::protocol::{Hello, InstanceId};
use shared::visit::record::Open;
use shared::visit::stream::DataStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A session that serves tunnels. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Target(Arc<Session>);

#[derive(Debug)]
struct Session {
    connection: ConnectionId,
    mux: Mux,
    streams: Arc<Semaphore>,
    most_streams: usize,
    recent: Mutex<Recent>,
    standing_changed: Notify,
}

/// Which connection of which client a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId {
    pub(crate) instance: InstanceId,
    pub(crate) number: u16,
}

impl From<&Hello> for ConnectionId {
    fn from(hello: &Hello) -> Self {
        Self { instance: hello.instance, number: hello.connection }
    }
}

/// A stream to the local service, and the permit that it takes up.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) stream: DataStream,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Why a session opens no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The session is over: another one may do.
    Gone,
    /// The session has as many streams as it may have.
    Full,
    /// The client does not take the streams that it has been sent.
    Unresponsive,
}

impl Target {
    /// The session behind `mux`, which carries `most_streams` streams at most.
    pub(crate) fn new(connection: ConnectionId, mux: Mux, most_streams: usize) -> Self {
        Self(Arc::new(Session {
            connection,
            mux,
            streams: Arc::new(Semaphore::new(most_streams)),
            most_streams,
            recent: Mutex::default(),
            standing_changed: Notify::new(),
        }))
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.0.connection
    }

    /// How busy the session is: the least comes first.
    pub(crate) fn load(&self) -> Load {
        let link = self.0.mux.link();
        Load {
            stalled: link.unanswered() > STALLED,
            bulk: (self.sample() + link.waiting()) / BULK,
            streams: self.0.most_streams - self.0.streams.available_permits(),
        }
    }

    /// Takes a look at what has moved since the last one, and returns the recent bytes. Called
    /// with each heartbeat, so that a look never covers more than that.
    pub(crate) fn sample(&self) -> u64 {
        self.0.recent.lock().update(self.0.mux.link().traffic(), Instant::now())
    }

    /// Opens a stream for a visitor. The permit is taken first: yamux's own limit ends a session.
    /// Waits while the client leaves hundreds of streams unanswered; callers set a deadline.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a stream that nobody waits for any more is reset.
    pub(crate) async fn open(&self, open: Open) -> Result<OpenStream, OpenError> {
        let permit =
            Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| OpenError::Full)?;
        if self.0.mux.link().is_backed_up() {
            return Err(OpenError::Unresponsive);
        }
        // Those that come at the same time spread out, before any of them has moved a byte.
        self.sample();
        self.0.recent.lock().bytes += VISIT;
        let stream = self.0.mux.open().await.map_err(|_| OpenError::Gone)?;
        let stream = DataStream::open(stream, open).await.map_err(|_| OpenError::Gone)?;
        Ok(OpenStream { stream, permit })
    }

    /// Tells the session that one of its claims has become live, or no longer is.
    pub(crate) fn notify_standing(&self) {
        self.0.standing_changed.notify_one();
    }

    /// Resolves after [`notify_standing`](Self::notify_standing).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn standing_changed(&self) {
        self.0.standing_changed.notified().await;
    }
}

/// How busy a session is. Bytes count before streams: most streams are idle most of the time, and
/// what a new visitor waits for is bulk, or a line that has lost some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    /// Nothing comes back: no bytes move, but not because there are none.
    stalled: bool,
    /// Bytes of the last second or so and bytes that wait, in units of [`BULK`].
    bulk: u64,
    streams: usize,
}

/// On a connection that works a new stream is answered within this time.
const STALLED: Duration = Duration::from_secs(1);

/// So many bytes make a difference: less is heartbeats and small requests.
const BULK: u64 = 64 * 1024;

/// What a visit counts as before it has moved anything, in bytes.
const VISIT: f64 = 16.0 * 1024.0;

/// The bytes that went over a wire lately: those of a second ago count about a third.
#[derive(Debug, Default)]
struct Recent {
    bytes: f64,
    total: u64,
    at: Option<Instant>,
}

impl Recent {
    /// The wire has moved `total` bytes by `now`. Returns the recent ones.
    fn update(&mut self, total: u64, now: Instant) -> u64 {
        let past = self.at.replace(now).map_or(Duration::MAX, |at| now.duration_since(at));
        let before = std::mem::replace(&mut self.total, total);
        // The mean of a longer time, so that what is over counts less.
        let new = (total - before) as f64 / past.as_secs_f64().max(1.0);
        self.bytes = self.bytes * (-past.as_secs_f64()).exp() + new;
        self.bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_long_ago_does_not_count() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs_f64(seconds);
        assert_eq!(recent.update(1 << 40, start), 0, "of a session that nobody has asked about");
        assert_eq!(recent.update((1 << 40) + 1000, after(0.5)), 1000);
        let later = recent.update((1 << 40) + 1000, after(1.5));
        assert!((300..400).contains(&later), "{later}");
        assert_eq!(recent.update((1 << 40) + 1000, after(60.0)), 0);
        // A rate, when the last look was long ago.
        assert_eq!(recent.update((1 << 40) + 101_000, after(160.0)), 1000);
    }

    #[test]
    fn a_stall_counts_before_bulk_and_bulk_before_streams() {
        let load = |stalled, bulk, streams| Load { stalled, bulk, streams };
        assert!(load(false, 0, 100) < load(false, 1, 0));
        assert!(load(false, 1, 1) < load(false, 1, 2));
        assert!(load(false, 1000, 1000) < load(true, 0, 0));
    }
}
