//! Where a tunnel leads: to the session of a client. Its one verb is [`open`](Target::open).

use std::sync::Arc;
use std::time::Duration;

use shared::mux::Mux;
use shared::record::Open;
use shared::stream::DataStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a visitor waits for a stream. Streams are opened at once unless the client has left
/// hundreds of them unanswered.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// A session that serves tunnels. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    mux: Mux,
    streams: Arc<Semaphore>,
    standing_changed: Arc<Notify>,
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
    /// The session behind `mux`, which carries `streams` streams at most.
    pub(crate) fn new(mux: Mux, streams: usize) -> Self {
        let streams = Arc::new(Semaphore::new(streams));
        Self { mux, streams, standing_changed: Arc::new(Notify::new()) }
    }

    /// Opens a stream for a visitor. The permit is taken first: yamux's own limit ends a session.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a stream that nobody waits for any more is reset.
    pub(crate) async fn open(&self, open: Open) -> Result<OpenStream, OpenError> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| OpenError::Full)?;
        if self.mux.link().is_backed_up() {
            return Err(OpenError::Unresponsive);
        }
        let opening = async {
            let stream = self.mux.open().await.map_err(|_| OpenError::Gone)?;
            DataStream::open(stream, open).await.map_err(|_| OpenError::Gone)
        };
        let stream =
            timeout(OPEN_TIMEOUT, opening).await.map_err(|_| OpenError::Unresponsive)??;
        Ok(OpenStream { stream, permit })
    }

    /// Tells the session that one of its claims has become live, or no longer is.
    pub(crate) fn notify_standing(&self) {
        self.standing_changed.notify_one();
    }

    /// Resolves after [`notify_standing`](Self::notify_standing).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn standing_changed(&self) {
        self.standing_changed.notified().await;
    }
}
