//! Several connections of one client that act as one session.
//!
//! The relay spreads visitors over them, so that one which has lost a segment, or is full of bulk,
//! does not hold up all. As long as one of them is up the client is live, and the others come
//! back by themselves.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use shared::backoff::Backoff;
use shared::protocol::{InstanceId, TunnelName};
use shared::stop::Stop;
use tokio::time::sleep;
use tracing::{Instrument, info, info_span, warn};

use crate::config::Config;
use crate::connect::{self, ConnectError, LASTED, connect};
use crate::session::{Session, SessionEnd};
use crate::status::Event;

/// What is the same for all connections of a client.
pub(crate) struct Bundle<'a, A> {
    pub(crate) config: &'a Arc<Config>,
    pub(crate) instance: InstanceId,
    /// The public port of each tunnel.
    pub(crate) ports: &'a HashMap<TunnelName, u16>,
    pub(crate) stop: &'a Stop,
    pub(crate) announcer: Announcer<A>,
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
        for number in 1..self.config.connections {
            attempts.push(self.attempt(Connection::new(number), Duration::ZERO));
        }
        let mut ended_by_relay = false;
        loop {
            tokio::select! {
                Some((mut connection, end)) = sessions.next() => {
                    ended_by_relay |= end == SessionEnd::EndedByRelay;
                    if sessions.is_empty() {
                        return if ended_by_relay { SessionEnd::EndedByRelay } else { end };
                    }
                    if let SessionEnd::Lost(reason) = end {
                        warn!(number = connection.number, "a connection is lost: {reason}");
                        let delay = connection.backoff.next_delay();
                        attempts.push(self.attempt(connection, delay));
                    }
                }
                Some((mut connection, result)) = attempts.next() => match result {
                    Ok(session) => sessions.push(self.session(connection, session)),
                    Err(err) if err.is_temporary() => {
                        let number = connection.number;
                        warn!(number, "one of the connections cannot be made: {err:#}");
                        let delay = connection.backoff.next_delay();
                        attempts.push(self.attempt(connection, delay));
                    }
                    Err(err) => {
                        let number = connection.number;
                        warn!(number, "going on without one of the connections: {err:#}");
                    }
                },
                () = self.stop.gracefully.cancelled(), if !attempts.is_empty() => attempts.clear(),
            }
        }
    }

    fn session(&self, mut connection: Connection, session: Session) -> Running<'_> {
        Box::pin(async move {
            let since = Instant::now();
            let mut announce = |event| self.announcer.announce(event);
            let end = session.run(self.stop, &mut announce).await;
            if since.elapsed() >= LASTED {
                connection.backoff.reset();
            }
            (connection, end)
        })
    }

    fn attempt(&self, connection: Connection, delay: Duration) -> Attempt<'_> {
        let span = info_span!("connection", number = connection.number);
        let attempt = async move {
            sleep(delay).await;
            let connected =
                connect(self.config, self.instance, connection.number, self.ports).await;
            if connected.is_ok() {
                info!("one more connection is up");
            }
            (connection, connected)
        };
        Box::pin(attempt.instrument(span))
    }
}

impl Connection {
    fn new(number: u16) -> Self {
        Self { number, backoff: connect::backoff() }
    }
}

/// Announces what happens to the client once, although each of its connections is told.
pub(crate) struct Announcer<A>(Mutex<Announced<A>>);

struct Announced<A> {
    announce: A,
    /// The tunnels that another client serves.
    standing_by: Vec<TunnelName>,
}

impl<A: FnMut(Event)> Announcer<A> {
    /// An announcer that has said of every tunnel that it is live.
    pub(crate) fn new(announce: A) -> Self {
        Self(Mutex::new(Announced { announce, standing_by: Vec::new() }))
    }

    fn announce(&self, event: Event) {
        let Announced { announce, standing_by } = &mut *self.0.lock();
        let position = |name: &TunnelName| standing_by.iter().position(|known| known == name);
        let is_news = match &event {
            Event::Live(tunnel) => match position(&tunnel.name) {
                Some(at) => {
                    standing_by.swap_remove(at);
                    true
                }
                None => false,
            },
            Event::Standby(name) if position(name).is_some() => false,
            Event::Standby(name) => {
                standing_by.push(name.clone());
                true
            }
            Event::Lost(_) | Event::Reconnecting(_) | Event::Ended(_) => true,
        };
        if is_news {
            announce(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::LiveTunnel;

    #[test]
    fn what_all_connections_are_told_is_announced_once() {
        let mut heard = Vec::new();
        let announcer = Announcer::new(|event| heard.push(event));
        let name: TunnelName = "web".parse().unwrap();
        let standby = Event::Standby(name.clone());
        let (public, local) = ("tcp://relay:8080".into(), "127.0.0.1:80".into());
        let live = Event::Live(LiveTunnel { name, public, local });
        for event in [&live, &standby, &standby, &live, &live, &standby] {
            announcer.announce(event.clone());
        }
        drop(announcer);
        assert_eq!(heard, [standby.clone(), live, standby]);
    }
}
