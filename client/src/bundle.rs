//! Several connections of one client that act as one session.
//!
//! The relay spreads visitors over them, so that one which has lost a segment, or is full of bulk,
//! does not hold up all. As long as one of them is up the client is live, and the others come
//! back by themselves.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use shared::control::protocol::InstanceId;
use shared::kit::backoff::Backoff;
use shared::kit::stop::Stop;
use tokio::time::sleep;
use tracing::{Instrument, info, info_span, warn};

use crate::announcer::Announcer;
use crate::connect::{self, ConnectError, ConnectionId, LASTED, Public, connect};
use crate::session::{Follow, Session, SessionEnd};
use crate::status::Event;

/// A relay that says goodbye on one connection does so on the others within this time, beside what
/// the visits of the client may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is the same for all connections of a client.
pub(crate) struct Bundle<'a, A> {
    pub(crate) follow: &'a Follow,
    pub(crate) instance: InstanceId,
    pub(crate) stop: &'a Stop,
    pub(crate) announcer: Announcer<'a, A>,
}

/// One connection, over time.
struct Connection {
    number: u16,
    backoff: Backoff,
}

/// A session of a connection, from now to its end.
type Running<'a> = Pin<Box<dyn Future<Output = (Connection, SessionEnd)> + Send + 'a>>;

/// An attempt to bring a connection up.
type Attempt<'a> =
    Pin<Box<dyn Future<Output = (Connection, Result<Session, ConnectError>)> + Send + 'a>>;

impl<A: FnMut(Event) + Send> Bundle<'_, A> {
    /// Runs `first` and brings up the other connections beside it. Returns when none is up any
    /// more, with what that means.
    pub(crate) async fn run(&self, first: Session) -> SessionEnd {
        let mut sessions = FuturesUnordered::<Running<'_>>::new();
        let mut attempts = FuturesUnordered::<Attempt<'_>>::new();
        sessions.push(self.session(Connection::new(0), first));
        let connections = self.follow.config.borrow().connections;
        for number in 1..connections {
            attempts.push(self.attempt(Connection::new(number), Duration::ZERO));
        }
        let mut goodbye = None::<Instant>;
        loop {
            let mut connection = tokio::select! {
                Some((connection, end)) = sessions.next() => {
                    if end == SessionEnd::EndedByRelay {
                        goodbye = Some(Instant::now());
                    }
                    if sessions.is_empty() {
                        // The last one may have been cut by the end of the relay itself.
                        let farewell = self.follow.config.borrow().grace + FAREWELL;
                        let is_over = goodbye.is_some_and(|at| at.elapsed() < farewell);
                        return if is_over { SessionEnd::EndedByRelay } else { end };
                    }
                    self.announcer.gone(connection.number);
                    match end {
                        SessionEnd::Stopped => continue,
                        SessionEnd::EndedByRelay => (),
                        SessionEnd::Lost(reason) => {
                            warn!(number = connection.number, "a connection is lost: {reason}");
                        }
                    }
                    connection
                }
                Some((connection, result)) = attempts.next() => match result {
                    Ok(session) => {
                        // There is a relay again, if it had said goodbye.
                        goodbye = None;
                        sessions.push(self.session(connection, session));
                        continue;
                    }
                    Err(err) if err.may_pass_beside_others() => {
                        let number = connection.number;
                        warn!(number, "one of the connections cannot be made: {err:#}");
                        connection
                    }
                    Err(err) => {
                        let number = connection.number;
                        warn!(number, "going on without one of the connections: {err:#}");
                        continue;
                    }
                },
            };
            let delay = connection.backoff.next_delay();
            attempts.push(self.attempt(connection, delay));
        }
    }

    fn session(&self, mut connection: Connection, session: Session) -> Running<'_> {
        Box::pin(async move {
            let since = Instant::now();
            let number = connection.number;
            let mut announce = |event| self.announcer.heard(number, event);
            let end = session.run(self.stop, &mut announce).await;
            if since.elapsed() >= LASTED {
                connection.backoff.reset();
            }
            (connection, end)
        })
    }

    /// Does not resolve when the client stops before it has begun to dial. A handshake that is
    /// under way goes on: the relay may have sent visitors already.
    fn attempt(&self, connection: Connection, delay: Duration) -> Attempt<'_> {
        let span = info_span!("connection", number = connection.number);
        let attempt = async move {
            tokio::select! {
                () = self.stop.gracefully.cancelled() => std::future::pending().await,
                () = sleep(delay) => (),
            }
            let id = ConnectionId { instance: self.instance, number: connection.number };
            let before = self.announcer.public();
            let connected = connect(self.follow, id, &before).await;
            let connected = connected.and_then(|session| self.same_public(session, &before));
            if connected.is_ok() {
                info!("one more connection is up");
            }
            (connection, connected)
        };
        Box::pin(attempt.instrument(span))
    }

    /// As long as a connection is up, the tunnels stay where they are. A relay that has them
    /// elsewhere is another one, unless they were there `before`: they have been moved meanwhile,
    /// and the session is about to follow.
    fn same_public(&self, session: Session, before: &Public) -> Result<Session, ConnectError> {
        let now = self.announcer.public();
        let same = |(name, here)| {
            [&now, before].iter().any(|public| public.get(&name).is_none_or(|at| *at == here))
        };
        if session.public().into_iter().all(same) {
            Ok(session)
        } else {
            Err(ConnectError::OtherPorts)
        }
    }
}

impl Connection {
    fn new(number: u16) -> Self {
        Self { number, backoff: connect::backoff() }
    }
}
