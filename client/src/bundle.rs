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
use shared::control::protocol::{InstanceId, TunnelName};
use shared::kit::backoff::Backoff;
use shared::kit::stop::Stop;
use tokio::time::sleep;
use tracing::{Instrument, info, info_span, warn};

use crate::config::Config;
use crate::connect::{self, ConnectError, LASTED, connect};
use crate::session::{Session, SessionEnd};
use crate::status::{Event, LiveTunnel};

/// A relay that says goodbye on one connection does so on the others within this time, beside what
/// the visits of the client may take.
const FAREWELL: Duration = Duration::from_secs(5);

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
        let mut goodbye = None::<Instant>;
        loop {
            let mut connection = tokio::select! {
                Some((connection, end)) = sessions.next() => {
                    if end == SessionEnd::EndedByRelay {
                        goodbye = Some(Instant::now());
                    }
                    if sessions.is_empty() {
                        // The last one may have been cut by the end of the relay itself.
                        let farewell = self.config.grace + FAREWELL;
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
                    Err(err) if err.is_temporary() => {
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
            let connected =
                connect(self.config, self.instance, connection.number, self.ports).await;
            let connected = connected.and_then(|session| self.same_ports(session));
            if connected.is_ok() {
                info!("one more connection is up");
            }
            (connection, connected)
        };
        Box::pin(attempt.instrument(span))
    }

    /// As long as a connection is up, the tunnels keep their ports. A relay that has not got them
    /// is another one.
    fn same_ports(&self, session: Session) -> Result<Session, ConnectError> {
        if session.ports() == *self.ports { Ok(session) } else { Err(ConnectError::OtherPorts) }
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
    tunnels: Vec<LiveTunnel>,
    /// Each tunnel that another client serves, with the connection that was told so.
    standing_by: Vec<(u16, TunnelName)>,
}

impl<A: FnMut(Event)> Announcer<A> {
    /// An announcer that has said of all `tunnels` that they are live.
    pub(crate) fn new(announce: A, tunnels: Vec<LiveTunnel>) -> Self {
        Self(Mutex::new(Announced { announce, tunnels, standing_by: Vec::new() }))
    }

    /// A connection was told of an event.
    fn heard(&self, number: u16, event: Event) {
        let mut announced = self.0.lock();
        match event {
            Event::Live(tunnel) => {
                announced.forget(|by, name| by == number && *name == tunnel.name)
            }
            Event::Standby(name) => announced.stand_by(number, name),
            other => (announced.announce)(other),
        }
    }

    /// A connection has ended, and others are up: what it was told does not count any more.
    fn gone(&self, number: u16) {
        self.0.lock().forget(|by, _| by == number);
    }
}

impl<A: FnMut(Event)> Announced<A> {
    fn stand_by(&mut self, number: u16, name: TunnelName) {
        if self.standing_by.contains(&(number, name.clone())) {
            return;
        }
        if !self.is_standing_by(&name) {
            (self.announce)(Event::Standby(name.clone()));
        }
        self.standing_by.push((number, name));
    }

    /// Forgets what `which` finds. A tunnel that no connection stands by for any more is live.
    fn forget(&mut self, which: impl Fn(u16, &TunnelName) -> bool) {
        let forgotten = self.standing_by.extract_if(.., |(number, name)| which(*number, name));
        for (_, name) in forgotten.collect::<Vec<_>>() {
            let tunnel = self.tunnels.iter().find(|tunnel| tunnel.name == name);
            if let Some(tunnel) = tunnel.filter(|_| !self.is_standing_by(&name)) {
                (self.announce)(Event::Live(tunnel.clone()));
            }
        }
    }

    fn is_standing_by(&self, name: &TunnelName) -> bool {
        self.standing_by.iter().any(|(_, told)| told == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_connections_are_told_is_announced_once() {
        let mut heard = Vec::new();
        let name: TunnelName = "web".parse().unwrap();
        let (public, local) = ("tcp://relay:8080".into(), "127.0.0.1:80".into());
        let tunnel = LiveTunnel { name: name.clone(), public, local };
        let (standby, live) = (Event::Standby(name), Event::Live(tunnel.clone()));

        let announcer = Announcer::new(|event| heard.push(event), vec![tunnel]);
        for (number, event) in [(0, &standby), (1, &standby), (0, &live), (1, &live), (1, &standby)]
        {
            announcer.heard(number, event.clone());
        }
        announcer.gone(0);
        // It was lost before it was told that the tunnel is live again.
        announcer.gone(1);
        drop(announcer);
        assert_eq!(heard, [standby.clone(), live.clone(), standby, live]);
    }
}
