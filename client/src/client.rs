//! Connect, serve, and come back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use shared::control::protocol::InstanceId;
use shared::kit::backoff::Backoff;
use shared::kit::stop::Stop;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::bundle::{Announcer, Bundle};
use crate::config::{Config, Reconnect};
use crate::connect::{self, ConnectError, LASTED, connect};
use crate::session::SessionEnd;
use crate::status::{Event, Status};

/// A client that can run.
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    status: watch::Sender<Status>,
}

impl Client {
    /// A client that has not done anything yet.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), status: watch::Sender::new(Status::Connecting) }
    }

    /// Follows what the client is doing.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
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
        let outcome = self.keep_connected(&stop, &mut announce).await;
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
        stop: &Stop,
        announce: &mut (impl FnMut(Event) + Send),
    ) -> anyhow::Result<&'static str> {
        let policy = self.config.reconnect;
        let instance = InstanceId::random();
        let mut backoff = connect::backoff();
        let mut ports = HashMap::new();
        let mut first = true;
        loop {
            let connected = tokio::select! {
                () = stop.gracefully.cancelled() => return Ok("stopped"),
                connected = connect(&self.config, instance, 0, &ports) => connected,
            };
            let session = match connected {
                Ok(session) => session,
                Err(err) if policy.retries(&err, first) => {
                    warn!("cannot connect to the relay: {err:#}");
                    if !wait(&mut backoff, stop, announce).await {
                        return Ok("stopped");
                    }
                    continue;
                }
                Err(err) => return Err(err).context("cannot connect to the relay"),
            };

            first = false;
            ports = session.ports();
            let since = Instant::now();
            let tunnels = session.tunnels().to_vec();
            for tunnel in &tunnels {
                announce(Event::Live(tunnel.clone()));
            }
            self.status.send_replace(Status::Live(tunnels));
            let announcer = Announcer::new(&mut *announce, session.tunnels().to_vec());
            let bundle = Bundle { config: &self.config, instance, ports: &ports, stop, announcer };
            let end = bundle.run(session).await;
            drop(bundle);
            self.status.send_replace(Status::Connecting);
            if since.elapsed() >= LASTED {
                backoff.reset();
            }
            match end {
                SessionEnd::Stopped => return Ok("stopped"),
                SessionEnd::EndedByRelay if policy != Reconnect::Always => {
                    return Ok("the relay ended the session");
                }
                SessionEnd::EndedByRelay => announce(Event::Lost("ended by the relay".into())),
                SessionEnd::Lost(reason) if policy == Reconnect::Never => {
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
            Self::OnFailure => !first && err.is_temporary(),
            // Something else may be listening there while the relay is being replaced.
            Self::Always => err.is_temporary() || matches!(err, ConnectError::NotARelay(_)),
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
