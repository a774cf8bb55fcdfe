//! Where a tunnel leads. The one verb of a target is [`open`](Target::open).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::carry::mux::Mux;
use shared::visit::open::Open;
use shared::visit::stream::DataStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{NoShare, Share, Shares, Source};
use crate::web::Pool;

/// What can serve a visit. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A client of this relay.
    Session(SessionTarget),
}

/// A session that serves tunnels. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SessionTarget(Arc<Session>);

#[derive(Debug)]
struct Session {
    /// The relay's number for it.
    number: u64,
    mux: Mux,
    streams: Arc<Semaphore>,
    most_streams: usize,
    /// Those of them that requests of one source may have.
    shares: Arc<Shares>,
    recent: Mutex<Recent>,
    /// Those who open a stream. Closed when nobody is to any more.
    opening: TaskTracker,
    /// Fires when those who still do have had their time.
    drained: CancellationToken,
    pool: Pool,
}

/// A stream to the local service, and the permit that it takes up.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) stream: DataStream,
    pub(crate) permit: OwnedSemaphorePermit,
    /// What it takes of what one source may have, if it was opened for one.
    pub(crate) share: Option<Share>,
    /// That of the target's pool before it was opened.
    pub(crate) era: u64,
}

/// Why a target opens no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The session is over: another one may do.
    Gone,
    /// The session has as many streams as it may have.
    Full,
    /// Requests of the source have as many of them as those of one may have.
    FullForSource,
    /// The client does not take the streams that it has been sent.
    Unresponsive,
}

impl Target {
    /// How busy the target is: the least comes first. Looking changes nothing.
    pub(crate) fn load(&self) -> Load {
        match self {
            Self::Session(session) => session.load(),
        }
    }

    /// The relay's number for the session.
    pub(crate) fn session(&self) -> u64 {
        match self {
            Self::Session(session) => session.0.number,
        }
    }

    /// The connections to local services that are there already.
    pub(crate) fn pool(&self) -> &Pool {
        match self {
            Self::Session(session) => &session.0.pool,
        }
    }

    /// Room for a request from `source` on a stream that is there already.
    pub(crate) fn share(&self, source: Source) -> Result<Share, OpenError> {
        match self {
            Self::Session(session) => session.share(source),
        }
    }

    /// Opens a stream for a visitor; `for_requests` if it is for requests of one source. Waits while the
    /// client leaves hundreds of streams unanswered; callers set a deadline.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a stream that nobody waits for any more is reset.
    pub(crate) async fn open(
        &self,
        open: Open,
        for_requests: Option<Source>,
    ) -> Result<OpenStream, OpenError> {
        match self {
            Self::Session(session) => session.open(open, for_requests).await,
        }
    }
}

impl SessionTarget {
    /// The session of this number behind `mux`, which carries `most_streams` streams at most.
    pub(crate) fn new(number: u64, mux: Mux, most_streams: usize) -> Self {
        Self(Arc::new(Session {
            number,
            mux,
            streams: Arc::new(Semaphore::new(most_streams)),
            most_streams,
            shares: Arc::default(),
            recent: Mutex::default(),
            opening: TaskTracker::new(),
            drained: CancellationToken::new(),
            pool: Pool::default(),
        }))
    }

    fn load(&self) -> Load {
        let link = self.0.mux.link();
        let recent = self.0.recent.lock().at(link.traffic(), Instant::now());
        Load {
            stalled: link.unanswered() > STALLED,
            bulk: (recent as u64 + link.waiting()) / BULK,
            streams: self.streams(),
        }
    }

    /// How many streams it carries.
    pub(crate) fn streams(&self) -> usize {
        self.0.most_streams - self.0.streams.available_permits()
    }

    fn share(&self, source: Source) -> Result<Share, OpenError> {
        let share = self.0.shares.take_from(source, self.0.most_streams);
        share.map_err(|why| match why {
            NoShare::AllTaken => OpenError::Full,
            NoShare::OfSource => OpenError::FullForSource,
        })
    }

    /// Takes note of what has moved up to now. Done with each heartbeat and each stream, so that
    /// recent traffic is told from what is long over.
    pub(crate) fn sample(&self) {
        self.0.recent.lock().update(self.0.mux.link().traffic(), Instant::now(), 0.0);
    }

    /// Opens no more streams, and waits for those that are being opened; whoever takes longer than
    /// `patience` gets none. What is said on the session from then on comes behind all of them.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.0.opening.close();
        self.0.pool.close();
        let _opened = timeout(patience, self.0.opening.wait()).await;
        self.0.drained.cancel();
    }

    /// The permit is taken first: yamux's own limit ends a session.
    async fn open(
        &self,
        open: Open,
        for_requests: Option<Source>,
    ) -> Result<OpenStream, OpenError> {
        let share = for_requests.map(|source| self.share(source)).transpose()?;
        let permit =
            Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| OpenError::Full)?;
        if self.0.mux.link().is_backed_up() {
            return Err(OpenError::Unresponsive);
        }
        // Those that come at the same time spread out, before any of them has moved a byte.
        self.0.recent.lock().update(self.0.mux.link().traffic(), Instant::now(), VISIT);
        // Before: it may be another local service behind.
        let era = self.0.pool.era();
        // First of all, so that whoever waits for all knows of this one.
        let _opening = self.0.opening.token();
        if self.0.opening.is_closed() {
            return Err(OpenError::Gone);
        }
        let stream = self.0.drained.run_until_cancelled(async {
            let stream = self.0.mux.open().await.ok()?;
            DataStream::open(stream, open).await.ok()
        });
        let stream = stream.await.flatten().ok_or(OpenError::Gone)?;
        Ok(OpenStream { stream, permit, share, era })
    }
}

/// How busy a target is. Bytes count before streams: most streams are idle most of the time, and
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
    /// The recent bytes at `now`, when the wire has moved `total`.
    fn at(&self, total: u64, now: Instant) -> f64 {
        let past = self.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        // The mean of a longer time, so that what is over counts less.
        let new = (total - self.total) as f64 / past.as_secs_f64().max(1.0);
        self.bytes * (-past.as_secs_f64()).exp() + new
    }

    /// The wire has moved `total` bytes by `now`, and `expected` more are about to follow.
    fn update(&mut self, total: u64, now: Instant, expected: f64) {
        *self = Self { bytes: self.at(total, now) + expected, total, at: Some(now) };
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use shared::carry::Role;
    use shared::carry::mux;
    use shared::visit::id::VisitIds;

    use super::*;

    fn visit() -> Open {
        let tunnel = "default".parse().unwrap();
        let visitor = SocketAddr::from(([10, 0, 0, 1], 1));
        let visit = VisitIds::new().next();
        Open::new(visit, tunnel, visitor)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_drained_opens_nothing_however_slow_its_client_is() {
        // Nobody runs the driver: whoever opens a stream waits.
        let (io, _far_end) = tokio::io::duplex(64);
        let (mux, _inbound, _driver) = mux::start(io, Role::Relay, 4);
        let session = SessionTarget::new(1, mux, 4);
        let patience = Duration::from_secs(1);
        let open = async || {
            let start = tokio::time::Instant::now();
            let outcome = session.open(visit(), None).await.map(|_| ());
            (outcome, start.elapsed())
        };
        // In this order: the second one comes too late.
        let (slow, (), late) = tokio::join!(open(), session.drain(patience), open());
        assert_eq!(late, (Err(OpenError::Gone), Duration::ZERO));
        assert_eq!(slow, (Err(OpenError::Gone), patience));
    }

    #[test]
    fn what_moved_long_ago_does_not_count() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs_f64(seconds);
        assert_eq!(recent.at(1 << 40, start) as u64, 0, "of a session that nobody has asked about");
        recent.update(1 << 40, start, 0.0);
        let total = (1 << 40) + 1000;
        assert_eq!(recent.at(total, after(0.5)) as u64, 1000);
        recent.update(total, after(0.5), 0.0);
        let later = recent.at(total, after(1.5)) as u64;
        assert!((300..400).contains(&later), "{later}");
        assert_eq!(recent.at(total, after(60.0)) as u64, 0);
        recent.update(total, after(60.0), 0.0);
        // A rate, when the last look was long ago.
        assert_eq!(recent.at((1 << 40) + 101_000, after(160.0)) as u64, 1000);
    }

    #[test]
    fn looking_at_it_changes_nothing() {
        let mut recent = Recent::default();
        let start = Instant::now();
        recent.update(0, start, 0.0);
        let half = start + Duration::from_millis(500);
        let looks: Vec<_> = (0..3).map(|_| recent.at(5000, half)).collect();
        assert_eq!(looks, [5000.0; 3]);
    }

    #[test]
    fn a_stall_counts_before_bulk_and_bulk_before_streams() {
        let load = |stalled, bulk, streams| Load { stalled, bulk, streams };
        assert!(load(false, 0, 100) < load(false, 1, 0));
        assert!(load(false, 1, 1) < load(false, 1, 2));
        assert!(load(false, 1000, 1000) < load(true, 0, 0));
    }
}
