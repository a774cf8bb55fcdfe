//! A session that has been admitted: heartbeats, standing, and its end.

use std::time::{Duration, Instant};

use shared::carry::mux::{End, Running};
use shared::control::protocol::{DEAD_AFTER_HEARTBEATS, FromClient, FromRelay};
use shared::kit::logging::Foreign;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{info, warn};

use super::SessionsShared;
use super::handshake::ControlStream;
use crate::metrics::Counted;
use crate::registry::Membership;
use crate::target::Target;
use crate::tunnel::Claim;

/// How long a message to a client may wait for room. One that does not read its control stream is
/// as good as dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to close the connection behind its goodbye.
const LAST_FRAMES: Duration = Duration::from_secs(3);

/// A client that is connected.
///
/// Dropping it gives up its tunnels and ends its streams.
pub(super) struct Live {
    claims: Vec<Held>,
    running: Running,
    control: ControlStream,
    target: Target,
    membership: Membership,
    /// The heartbeat that has not been answered yet.
    unanswered: Option<(u64, Instant)>,
    heartbeats: u64,
    /// The client takes no new visitors.
    draining: bool,
    log: EndLog,
    /// Its place in the gauge of sessions and in their limit.
    _counted: (Counted, OwnedSemaphorePermit),
}

/// A claim and what the client knows of it.
struct Held {
    claim: Claim,
    known_live: bool,
}

/// Why a session is over.
enum Over {
    /// The relay is stopping. No visit is open any more.
    Stopping,
    /// The client ended it on purpose.
    Goodbye,
    /// The same client has connected again.
    Replaced,
    /// The client broke the protocol.
    Broken(String),
    /// It is gone.
    Lost(String),
}

impl Live {
    pub(super) fn new(
        running: Running,
        control: ControlStream,
        membership: Membership,
        target: Target,
        claims: Vec<Claim>,
        counted: (Counted, OwnedSemaphorePermit),
    ) -> Self {
        let held = |claim| Held { claim, known_live: true };
        Self {
            claims: claims.into_iter().map(held).collect(),
            running,
            control,
            target,
            membership,
            unanswered: None,
            heartbeats: 0,
            draining: false,
            log: EndLog { since: Instant::now(), over: None },
            _counted: counted,
        }
    }

    /// Runs the session until it ends.
    pub(super) async fn run(mut self, shared: &SessionsShared) {
        let over = self.attend(shared).await;
        // New visitors go elsewhere from here on.
        self.claims.clear();
        match over {
            // Only without open visits: an orderly close does not tell yamux's streams of it, while
            // the end of the driver does.
            Over::Stopping => self.running.close().await,
            // It may have overtaken the last frames of visits. They come before the connection ends.
            Over::Goodbye => {
                drop(timeout(LAST_FRAMES, self.running.driver.join_next()).await);
            }
            Over::Replaced | Over::Broken(_) | Over::Lost(_) => (),
        }
        self.log.over = Some(over);
    }

    /// Does whatever comes up until the session is over.
    async fn attend(&mut self, shared: &SessionsShared) -> Over {
        let beat = shared.heartbeat;
        let dead = beat * DEAD_AFTER_HEARTBEATS;
        let mut heartbeat = interval_at(tokio::time::Instant::now() + beat, beat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told_stopping = false;
        loop {
            let silence = self.running.mux.link().silence();
            let sent = tokio::select! {
                Some(end) = self.running.driver.join_next() => return self.last_words(end).await,
                message = self.control.receive() => match message {
                    Ok(message) => match self.on_message(message).await {
                        Ok(()) => Ok(()),
                        Err(over) => return over,
                    },
                    // The end of the session is the reason more often than not, and knows more.
                    Err(err) => return self.driver_end(err.to_string()).await,
                },
                _ = heartbeat.tick() => {
                    self.target.sample();
                    self.beat().await
                }
                () = sleep(dead.saturating_sub(silence)) => {
                    if self.running.mux.link().silence() >= dead {
                        return Over::Lost(format!("nothing heard for {dead:?}"));
                    }
                    Ok(())
                }
                () = self.target.standing_changed() => self.tell_standing().await,
                () = self.membership.replaced() => {
                    return Over::Replaced;
                }
                () = shared.stopping.cancelled(), if !told_stopping => {
                    told_stopping = true;
                    self.send(&FromRelay::Draining).await
                }
                () = shared.ending.cancelled() => {
                    let goodbye = FromRelay::Goodbye { reason: "the relay is stopping".into() };
                    // The session ends either way.
                    drop(self.send(&goodbye).await);
                    return Over::Stopping;
                }
            };
            if let Err(over) = sent {
                return over;
            }
        }
    }

    async fn on_message(&mut self, message: FromClient) -> Result<(), Over> {
        match message {
            FromClient::Hello(_) => Err(Over::Broken("a second Hello".into())),
            FromClient::Heartbeat { id } => self.send(&FromRelay::HeartbeatAck { id }).await,
            FromClient::HeartbeatAck { id } => {
                self.on_ack(id);
                Ok(())
            }
            FromClient::Draining if self.draining => Err(Over::Broken("a second Draining".into())),
            FromClient::Draining => {
                info!("the client is stopping");
                self.draining = true;
                self.claims.clear();
                Ok(())
            }
            FromClient::Goodbye { reason } => Err(goodbye(&reason)),
        }
    }

    /// Sends a heartbeat.
    async fn beat(&mut self) -> Result<(), Over> {
        let id = self.heartbeats;
        self.heartbeats += 1;
        self.unanswered = Some((id, Instant::now()));
        self.send(&FromRelay::Heartbeat { id }).await
    }

    fn on_ack(&mut self, id: u64) {
        if let Some((_, sent)) = self.unanswered.take_if(|(expected, _)| *expected == id) {
            let round_trip = sent.elapsed();
            for held in self.claims.iter().filter(|held| held.claim.is_live()) {
                held.claim.tunnel().metrics().round_trip(round_trip);
            }
        }
    }

    /// Tells the client which of its tunnels have changed hands.
    async fn tell_standing(&mut self) -> Result<(), Over> {
        for i in 0..self.claims.len() {
            let held = &mut self.claims[i];
            let live = held.claim.is_live();
            if live != held.known_live {
                held.known_live = live;
                let tunnel = held.claim.tunnel().name().clone();
                info!(%tunnel, "{}", if live { "live again" } else { "standing by" });
                let message =
                    if live { FromRelay::Live { tunnel } } else { FromRelay::Standby { tunnel } };
                self.send(&message).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, message: &FromRelay) -> Result<(), Over> {
        match timeout(SEND_TIMEOUT, self.control.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(err)) => Err(self.driver_end(err.to_string()).await),
            Err(_) => Err(Over::Lost("the client does not read its control stream".into())),
        }
    }

    /// The driver has ended. A client that says goodbye closes the session right behind it, so the
    /// goodbye may not have been read yet.
    async fn last_words(&mut self, end: Result<End, tokio::task::JoinError>) -> Over {
        while let Ok(message) = self.control.receive().await {
            if let FromClient::Goodbye { reason } = message {
                return goodbye(&reason);
            }
        }
        over(end)
    }

    /// The control stream is broken: why, if the driver knows better.
    async fn driver_end(&mut self, reason: String) -> Over {
        match timeout(Duration::from_millis(100), self.running.driver.join_next()).await {
            Ok(Some(end)) => self.last_words(end).await,
            Ok(None) | Err(_) => Over::Broken(reason),
        }
    }
}

/// The client has ended the session on purpose.
fn goodbye(reason: &str) -> Over {
    info!("the client says goodbye: {}", Foreign(reason));
    Over::Goodbye
}

/// What the end of the driver means when nothing was said before.
fn over(end: Result<End, tokio::task::JoinError>) -> Over {
    match end {
        Ok(end @ (End::Breach(_) | End::Yamux(_))) => Over::Broken(end.to_string()),
        Ok(end) => Over::Lost(end.to_string()),
        Err(err) => Over::Lost(err.to_string()),
    }
}

/// Logs the end of a session when dropped, so that one that is cut off is logged too.
struct EndLog {
    since: Instant,
    over: Option<Over>,
}

impl Drop for EndLog {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs_f64();
        match &self.over {
            Some(Over::Stopping) => info!(seconds, "session over: the relay is stopping"),
            Some(Over::Goodbye) => info!(seconds, "session over: the client ended it"),
            Some(Over::Replaced) => {
                info!(seconds, "session over: the client has connected again");
            }
            Some(Over::Lost(reason)) => info!(seconds, "session lost: {reason}"),
            Some(Over::Broken(reason)) => {
                warn!(seconds, "session broken off: {}", Foreign(reason));
            }
            None => info!(seconds, "session cut off"),
        }
    }
}
