//! A connection to a local service, as it runs: until it ends, nobody needs it, or it is cut off.

use std::time::{Duration, Instant};

use shared::control::protocol::TunnelName;
use shared::kit::seldom::Seldom;
use shared::visit::stream::{Broken, DataStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::lent::Lender;
use super::windows::Windows;
use crate::target::Target;

/// How long a connection is kept for the next request. Many servers close theirs after this time, so
/// that longer would only be to find more of them closed.
const IDLE: Duration = Duration::from_secs(60);

/// How long the local service may take to close its end of a connection that nobody needs any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What goes with a connection for as long as it is there.
pub(super) struct Run {
    pub(super) lender: Lender<DataStream>,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) target: Target,
    pub(super) tunnel: TunnelName,
    pub(super) closing: CancellationToken,
    /// Fires when whoever has it leaves in the middle of an answer.
    pub(super) cut: CancellationToken,
    /// Those of HTTP/2.
    pub(super) windows: Option<Windows>,
}

/// What a connection is told beside what comes on it.
enum Told {
    /// Whoever has it leaves in the middle of an answer.
    Cut,
    /// It is time to look whether anybody needs it.
    Lull,
    /// No more requests are to come.
    Closing,
}

impl Run {
    /// Runs it until it is over, and closes its stream.
    pub(super) async fn until_over(self, connection: impl Future<Output = hyper::Result<()>>) {
        // Boxed: it goes before the stream comes back.
        let mut connection = Box::pin(connection);
        let ended = self.ended(&mut connection).await;
        if let Err(err) = ended {
            debug!(tunnel = %self.tunnel, "a connection to a local service ended: {err}");
        }
        drop((connection, self.windows));
        self.target.pool().sweep(&self.tunnel);
        if let Some(stream) = self.lender.take_back().await
            && let Err(broken) = close(stream).await
        {
            debug!(tunnel = %self.tunnel, "a connection to a local service was not closed: {broken}");
        }
        drop(self.permit);
    }

    /// Runs a connection until it ends, or is cut off.
    async fn ended(
        &self,
        connection: &mut (impl Future<Output = hyper::Result<()>> + Unpin),
    ) -> hyper::Result<()> {
        let mut told = Seldom::new(self.told());
        loop {
            tokio::select! {
                // First: hyper would end what is dropped before its end in order.
                biased;
                told_of = &mut told => match told_of {
                    Told::Cut => return Ok(()),
                    Told::Lull => {
                        if let Some(before) = Instant::now().checked_sub(IDLE) {
                            self.target.pool().let_go(&self.tunnel, before);
                        }
                        told = Seldom::new(self.told());
                    }
                    Told::Closing => {
                        self.target.pool().close();
                        return tokio::select! {
                            biased;
                            () = self.cut.cancelled() => Ok(()),
                            ended = connection => ended,
                        };
                    }
                },
                ended = &mut *connection => return ended,
            }
        }
    }

    async fn told(&self) -> Told {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Told::Cut,
            () = self.closing.cancelled() => Told::Closing,
            () = sleep(IDLE) => Told::Lull,
        }
    }
}

/// Closes a stream whose own direction has ended.
async fn close(stream: DataStream) -> Result<(), Broken> {
    timeout(CLOSE_TIMEOUT, stream.close()).await.unwrap_or(Err(Broken::Lost))
}
