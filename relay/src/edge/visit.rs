//! One visit, from the accepted connection to its line in the log.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::visit::bridge::{Bridge, Ended, Observer};
use shared::visit::record::{Abort, FailureReason, Open};
use shared::visit::socket::ResetUnlessEnded;
use shared::visit::stream::Broken;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{Span, debug, info, info_span};

use super::turned_away::turn_away;
use crate::metrics::{Counted, Outcome};
use crate::target::{OpenError, OpenStream, Target};
use crate::tunnel::Tunnel;

/// How long a visitor waits for a stream. Streams are opened at once unless the client has left
/// hundreds of them unanswered.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits before it tries another session of the same client.
const NEXT_SESSION: Duration = Duration::from_secs(1);

/// A visit that is going on. It is counted and logged when dropped, so none is forgotten, not even
/// one that was cut off.
#[derive(Debug)]
pub(super) struct Visit {
    tunnel: Arc<Tunnel>,
    id: u64,
    visitor: SocketAddr,
    arrived: Instant,
    bytes_in: u64,
    bytes_out: u64,
    /// How it ended, as soon as that is known.
    outcome: Outcome,
    reason: Cow<'static, str>,
    _present: Counted,
}

impl Visit {
    pub(super) fn begin(tunnel: Arc<Tunnel>, id: u64, visitor: SocketAddr) -> Self {
        let visit = Self {
            _present: tunnel.metrics().visitor(),
            tunnel,
            id,
            visitor,
            arrived: Instant::now(),
            bytes_in: 0,
            bytes_out: 0,
            outcome: Outcome::Reset,
            reason: "cut off: the relay is stopping".into(),
        };
        debug!(parent: &visit.span(), "visitor connected");
        visit
    }

    /// Leads the visitor to the local service, or turns it away.
    pub(super) async fn run(
        mut self,
        socket: ResetUnlessEnded<TcpStream>,
        stall_timeout: Duration,
    ) {
        // Boxed: thousands of visits wait in a bridge, and what it took to get there is over.
        match Box::pin(self.open()).await {
            Ok(OpenStream { stream, permit }) => {
                let ended = Bridge::new(socket, stream, stall_timeout, &mut self).await;
                drop(permit);
                self.end(outcome(&ended), ended.to_string());
            }
            Err(OpenError::Gone) => {
                self.end(Outcome::NoClient, "no client serves the tunnel");
                Box::pin(turn_away(socket)).await;
            }
            Err(OpenError::Full) => {
                self.end(Outcome::Limit, "the session has no room for more streams");
            }
            Err(OpenError::Unresponsive) => {
                self.end(Outcome::Timeout, "the client does not take more streams");
            }
        }
    }

    /// Turns the visitor away because a limit of visitors has been reached.
    pub(super) fn no_room(mut self) {
        self.end(Outcome::Limit, "too many visitors");
    }

    /// Opens a stream on the least busy session of the newest client that is still there.
    async fn open(&self) -> Result<OpenStream, OpenError> {
        timeout(OPEN_TIMEOUT, self.open_somewhere()).await.unwrap_or(Err(OpenError::Unresponsive))
    }

    async fn open_somewhere(&self) -> Result<OpenStream, OpenError> {
        let open =
            Open { visit: self.id, tunnel: self.tunnel.name().clone(), visitor: self.visitor };
        for mut sessions in self.tunnel.targets() {
            if sessions.len() > 1 {
                sessions.sort_by_cached_key(Target::load);
            }
            let last = sessions.len() - 1;
            let mut refused = None;
            for (at, session) in sessions.iter().enumerate() {
                let patience = if at < last { NEXT_SESSION } else { OPEN_TIMEOUT };
                match timeout(patience, session.open(open.clone())).await {
                    Ok(Err(OpenError::Gone)) => (),
                    Ok(Err(err)) => refused = Some(err),
                    Ok(opened) => return opened,
                    Err(_) => refused = Some(OpenError::Unresponsive),
                }
            }
            if let Some(err) = refused {
                return Err(err);
            }
        }
        Err(OpenError::Gone)
    }

    fn end(&mut self, outcome: Outcome, reason: impl Into<Cow<'static, str>>) {
        (self.outcome, self.reason) = (outcome, reason.into());
    }

    /// Made when something is logged: open visits need none.
    fn span(&self) -> Span {
        let (visit, addr) = (self.id, self.visitor);
        info_span!(parent: self.tunnel.span(), "visitor", visit, %addr)
    }
}

impl Observer for Visit {
    fn to_stream(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
        self.tunnel.metrics().bytes_in(bytes);
    }

    fn to_socket(&mut self, bytes: usize) {
        if self.bytes_out == 0 {
            self.tunnel.metrics().first_byte(self.arrived.elapsed());
        }
        self.bytes_out += bytes as u64;
        self.tunnel.metrics().bytes_out(bytes);
    }

    fn connected(&mut self) {
        self.tunnel.metrics().connected(self.arrived.elapsed());
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let length = self.arrived.elapsed();
        self.tunnel.metrics().ended(self.outcome, length);
        info!(
            parent: &self.span(),
            outcome = self.outcome.label(),
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            seconds = length.as_secs_f64(),
            "visit over: {}",
            self.reason,
        );
    }
}

/// What an end of a bridge means to whoever reads the metrics.
fn outcome(ended: &Ended) -> Outcome {
    match ended {
        Ended::Completed => Outcome::Completed,
        Ended::Socket(_) => Outcome::Reset,
        Ended::Stalled => Outcome::Timeout,
        Ended::Stream(broken) => match broken {
            Broken::Aborted(Abort::TimedOut) => Outcome::Timeout,
            Broken::Aborted(Abort::Reset | Abort::Stopping) => Outcome::Reset,
            Broken::TinyFrames => Outcome::Limit,
            Broken::Lost | Broken::Bad(_) | Broken::OutOfOrder => Outcome::Lost,
            Broken::Failed(failure) => match failure.reason {
                FailureReason::Refused | FailureReason::UnknownTunnel => Outcome::LocalRefused,
                FailureReason::TimedOut => Outcome::LocalTimeout,
                FailureReason::Limit => Outcome::Limit,
            },
        },
    }
}
