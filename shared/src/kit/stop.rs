//! Stopping in two steps: first gracefully, then at once.

use std::convert::Infallible;
use std::io;

use tokio_util::sync::CancellationToken;

use super::signals::Signals;

/// The two requests to end that a program obeys.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Begin nothing new and let what runs finish, for as long as the grace period lasts.
    pub gracefully: CancellationToken,
    /// Cut what still runs.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Nothing is requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns SIGINT and SIGTERM, or what a system has in their place, into requests: the first asks
    /// for a graceful stop, the second for one at once. So does a SIGHUP, once, if the terminal of
    /// the process is closed. From this call on none of them ends the process; they are turned into
    /// requests by the future, which never returns: whoever polls it drops it in the end.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub fn on_signals(&self) -> io::Result<impl Future<Output = Infallible> + use<'_>> {
        Ok(self.obey(Signals::take_over()?))
    }

    async fn obey(&self, mut signals: Signals) -> Infallible {
        loop {
            let name = signals.next().await;
            if self.gracefully.is_cancelled() {
                tracing::info!("{name} again: stopping at once");
                self.at_once.cancel();
            } else {
                tracing::info!("{name}: stopping; a second signal stops at once");
                self.gracefully.cancel();
            }
        }
    }
}
