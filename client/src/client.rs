//! Connect, serve, and come back.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use shared::control::protocol::InstanceId;
use shared::kit::backoff::Backoff;
use shared::kit::stop::Stop;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::announcer::Announcer;
use crate::bundle::Bundle;
use crate::config::{Config, Reconnect};
use crate::connect::{self, ConnectError, ConnectionId, LASTED, Public, connect};
use crate::health::Health;
use crate::session::{Follow, SessionEnd};
use crate::status::{Event, Status};
use crate::tally::Tally;
use crate::tls::{ClientTls, ServiceTls};

/// A client that can run.
#[derive(Debug)]
pub struct Client {
    config: watch::Sender<Arc<Config>>,
    status: watch::Sender<Status>,
    tally: Tally,
}

/// Changes the configuration of a client that runs.
#[derive(Clone, Debug)]
pub struct Reconfigure(watch::Sender<Arc<Config>>);

impl Reconfigure {
    /// The configuration from now on.
    pub fn apply(&self, config: Config) {
        self.0.send_replace(Arc::new(config));
    }
}

impl Client {
    /// A client that has not done anything yet.
    pub fn new(config: Config) -> Self {
        let config = watch::Sender::new(Arc::new(config));
        Self { config, status: watch::Sender::new(Status::Connecting), tally: Tally::default() }
    }

    /// Changes the configuration while the client runs: tunnels are opened, closed and led
    /// elsewhere, as far as they differ, and everything else stays as it is. New times count from
    /// the next visit or attempt on; another relay and another number of connections need a new
    /// client.
    pub fn reconfigure(&self) -> Reconfigure {
        Reconfigure(self.config.clone())
    }

    /// Follows what the client is doing.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// What comes through the client, counted from its start on.
    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Runs until asked to stop, or until the relay or the [`Reconnect`] policy ends it. `announce`
    /// is told of every event.
    ///
    /// # Errors
    ///
    /// There is no session, and the policy or the relay says not to try again.
    pub async fn run(
        self,
        stop: Stop,
        mut announce: impl FnMut(Event) + Send,
    ) -> anyhow::Result<()> {
        let (health, service_tls) = (Health::new(), ServiceTls::default());
        let outcome = tokio::select! {
            outcome = self.keep_connected(&health, &service_tls, &stop, &mut announce) => outcome,
            never = health.look_after(self.config.subscribe(), &service_tls) => match never {},
        };
        self.status.send_replace(Status::Ended);
        announce(Event::Ended(match &outcome {
            Ok(reason) => (*reason).to_owned(),
            Err(err) => format!("{err:#}"),
        }));
        outcome.map(|reason| info!("the client ends: {reason}"))
    }

    /// Connects again and again, as the policy says. Returns the reason of a good end.
    async fn keep_connected(
        &self,
        health: &Health,
        service_tls: &ServiceTls,
        stop: &Stop,
        announce: &mut (impl FnMut(Event) + Send),
    ) -> anyhow::Result<&'static str> {
        let config = self.config.subscribe();
        let (tls, service_tls) = (ClientTls::default(), service_tls.clone());
        let tally = self.tally.clone();
        let health = health.watch();
        let follow = Follow { config: config.clone(), health, tls, service_tls, tally };
        let connection = ConnectionId { instance: InstanceId::random(), number: 0 };
        let mut backoff = connect::backoff();
        let mut public = Public::new();
        let mut first = true;
        // As it is when it decides.
        let policy = || config.borrow().reconnect;
        let failed = format!("cannot connect to the relay at {}", config.borrow().server);
        loop {
            let connected = tokio::select! {
                () = stop.gracefully.cancelled() => return Ok("stopped"),
                connected = connect(&follow, connection, &public) => connected,
            };
            let session = match connected {
                Ok(session) => session,
                Err(err) if policy().retries(&err, first) => {
                    warn!("{failed}: {err:#}");
                    if !wait(&mut backoff, stop, announce).await {
                        return Ok("stopped");
                    }
                    continue;
                }
                Err(err) => return Err(err).context(failed),
            };

            first = false;
            let since = Instant::now();
            let announcer = Announcer::new(&mut *announce, &self.status, session.tunnels());
            let instance = connection.instance;
            let bundle = Bundle { follow: &follow, instance, stop, announcer };
            let end = bundle.run(session).await;
            public = bundle.announcer.public();
            drop(bundle);
            self.status.send_replace(Status::Connecting);
            if since.elapsed() >= LASTED {
                backoff.reset();
            }
            match end {
                SessionEnd::Stopped => return Ok("stopped"),
                SessionEnd::EndedByRelay if policy() != Reconnect::Always => {
                    return Ok("the relay ended the session");
                }
                SessionEnd::EndedByRelay => announce(Event::Lost("ended by the relay".into())),
                SessionEnd::Lost(reason) if policy() == Reconnect::Never => {
                    return Err(anyhow::anyhow!(reason).context("the session is lost"));
                }
                SessionEnd::Lost(reason) => {
                    warn!("the session is lost: {reason}");
                    announce(Event::Lost(reason));
                }
            }
            if !wait(&mut backoff, stop, announce).await {
                return Ok("stopped");
            }
        }
    }
}

impl Reconnect {
    /// Whether to try again after an attempt that failed.
    fn retries(self, err: &ConnectError, first: bool) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => err.may_pass() && (!first || err.waits_for_records()),
            Self::Always => err.may_pass() && !(first && err.is_lasting()),
        }
    }
}

/// Waits before the next attempt. Returns whether to go on.
async fn wait(backoff: &mut Backoff, stop: &Stop, announce: &mut impl FnMut(Event)) -> bool {
    let delay = backoff.next_delay();
    info!(seconds = delay.as_secs_f64(), "connecting again");
    announce(Event::Reconnecting(delay));
    tokio::select! {
        () = stop.gracefully.cancelled() => false,
        () = sleep(delay) => true,
    }
}
