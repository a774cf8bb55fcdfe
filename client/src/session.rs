//! One session: heartbeats, incoming streams, and its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shared::carry::mux::{End, MuxStream, Running};
use shared::control::channel::Control;
use shared::control::protocol::{
    DEAD_AFTER_HEARTBEATS, FromClient, FromRelay, MAX_STREAMS, TunnelName, Welcome,
};
use shared::kit::logging::Foreign;
use shared::kit::stop::Stop;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_util::compat::Compat;
use tracing::{Instrument, Span, error, info, info_span};

use crate::config::Config;
use crate::local::Locals;
use crate::status::{Event, LiveTunnel};

/// How long a message to the relay may wait for room.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the relay may take to stop sending visitors to a client that stops. A round trip is
/// enough; a relay that has gone without a word does not hold up Ctrl-C.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Visits beyond what the relay may open: those that it has ended and this end has not yet. More
/// than that are reset.
const MOST_VISITS: usize = 2 * MAX_STREAMS as usize;

/// The control stream as the client sees it.
pub(crate) type ControlStream = Control<Compat<yamux::Stream>, FromRelay, FromClient>;

/// A session with a relay.
pub(crate) struct Session {
    config: Arc<Config>,
    running: Running,
    control: ControlStream,
    welcome: Welcome,
    tunnels: Vec<LiveTunnel>,
    locals: Arc<Locals>,
    visits: JoinSet<()>,
    heartbeats: u64,
    span: Span,
    /// Set from `Draining` until the relay has answered this heartbeat, or has had its time for it.
    draining: Option<(u64, Instant)>,
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The client was asked to stop.
    Stopped,
    /// The relay ended it on purpose.
    EndedByRelay,
    /// It is gone, and the text says why.
    Lost(String),
}

/// Where a session is on its way to a stop.
enum Stopping {
    No,
    /// Open visits may finish until then.
    Until(Instant),
}

impl Session {
    pub(crate) fn new(
        config: Arc<Config>,
        running: Running,
        control: ControlStream,
        welcome: Welcome,
        tunnels: Vec<LiveTunnel>,
    ) -> Self {
        let span = info_span!("session", id = welcome.session);
        let locals = Arc::new(Locals::new(&config, span.clone()));
        let visits = JoinSet::new();
        Self {
            config,
            running,
            control,
            welcome,
            tunnels,
            locals,
            visits,
            heartbeats: 0,
            draining: None,
            span,
        }
    }

    /// The public port of each tunnel.
    pub(crate) fn ports(&self) -> HashMap<TunnelName, u16> {
        self.welcome.tunnels.iter().map(|tunnel| (tunnel.name.clone(), tunnel.port)).collect()
    }

    pub(crate) fn tunnels(&self) -> &[LiveTunnel] {
        &self.tunnels
    }

    /// Serves visitors until the session ends. No visit is left when it returns.
    pub(crate) async fn run(self, stop: &Stop, announce: &mut impl FnMut(Event)) -> SessionEnd {
        let span = self.span.clone();
        self.serve(stop, announce).instrument(span).await
    }

    async fn serve(mut self, stop: &Stop, announce: &mut impl FnMut(Event)) -> SessionEnd {
        for tunnel in &self.tunnels {
            info!("live: {}  {} -> {}", tunnel.name, tunnel.public, tunnel.local);
        }
        let end = self.attend(stop, announce).await;
        if end == SessionEnd::EndedByRelay {
            // The relay has counted its visits as over. What has come may still be on the way to a
            // local service that is slow.
            let finish = async { while self.visits.join_next().await.is_some() {} };
            drop(timeout(self.config.grace, finish).await);
        }
        self.visits.shutdown().await;
        if !matches!(end, SessionEnd::Lost(_)) {
            self.running.close().await;
        }
        end
    }

    /// Does whatever comes up until the session is over.
    async fn attend(&mut self, stop: &Stop, announce: &mut impl FnMut(Event)) -> SessionEnd {
        // A relay that wants a heartbeat all the time, or none, does not get its way.
        let beat = Duration::from_millis(self.welcome.heartbeat_ms);
        let beat = beat.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT);
        let dead = beat * DEAD_AFTER_HEARTBEATS;
        let mut heartbeat = interval_at(Instant::now() + beat, beat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = Stopping::No;
        loop {
            let silence = self.running.mux.link().silence();
            let deadline = match stopping {
                Stopping::No => None,
                Stopping::Until(deadline) if self.is_drained(deadline) => {
                    return self.goodbye().await;
                }
                Stopping::Until(deadline) => Some(deadline),
            };
            let draining = self.draining.map(|(_, until)| until);
            let sent = tokio::select! {
                Some(end) = self.running.driver.join_next() => return self.last_words(end).await,
                message = self.control.receive() => match message {
                    Ok(message) => match self.on_message(message, announce).await {
                        Ok(()) => Ok(()),
                        Err(end) => return end,
                    },
                    Err(err) => return self.driver_end(err.to_string()).await,
                },
                Some(stream) = self.running.inbound.next() => {
                    self.on_stream(stream);
                    Ok(())
                }
                Some(ended) = self.visits.join_next() => {
                    report(ended);
                    Ok(())
                }
                _ = heartbeat.tick() => self.beat().await.map(drop),
                () = sleep(dead.saturating_sub(silence)) => {
                    if self.running.mux.link().silence() >= dead {
                        return SessionEnd::Lost(format!("nothing heard for {dead:?}"));
                    }
                    Ok(())
                }
                () = stop.gracefully.cancelled(), if deadline.is_none() => {
                    stopping = Stopping::Until(Instant::now() + self.config.grace);
                    self.drain().await
                }
                () = sleep_until(draining.unwrap_or_else(Instant::now)), if draining.is_some() => {
                    info!("the relay does not answer: stopping without it");
                    self.draining = None;
                    Ok(())
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    info!(open = self.visits.len(), "the grace period is over: visits are cut off");
                    self.visits.shutdown().await;
                    Ok(())
                }
                () = stop.at_once.cancelled() => {
                    self.visits.shutdown().await;
                    return self.goodbye().await;
                }
            };
            if let Err(end) = sent {
                return end;
            }
        }
    }

    async fn on_message(
        &mut self,
        message: FromRelay,
        announce: &mut impl FnMut(Event),
    ) -> Result<(), SessionEnd> {
        match message {
            FromRelay::Heartbeat { id } => {
                return self.send(&FromClient::HeartbeatAck { id }).await;
            }
            // Any byte is a sign of life, so the answer has done its work by arriving.
            FromRelay::HeartbeatAck { id } => {
                self.draining.take_if(|(awaited, _)| *awaited == id);
            }
            FromRelay::Standby { tunnel } => {
                info!(%tunnel, "standing by: a newer client serves the tunnel");
                announce(Event::Standby(tunnel));
            }
            FromRelay::Live { tunnel } => {
                info!(%tunnel, "live again");
                let live = self.tunnels.iter().find(|live| live.name == tunnel);
                if let Some(live) = live {
                    announce(Event::Live(live.clone()));
                }
            }
            FromRelay::Draining => info!("the relay is stopping: open visits may finish"),
            FromRelay::Goodbye { reason } => {
                info!("the relay says goodbye: {}", Foreign(&reason));
                return Err(SessionEnd::EndedByRelay);
            }
            FromRelay::Welcome(_) | FromRelay::Refused(_) => {
                return Err(SessionEnd::Lost("the relay broke the protocol".into()));
            }
        }
        Ok(())
    }

    /// Sends a heartbeat and returns its number.
    async fn beat(&mut self) -> Result<u64, SessionEnd> {
        let id = self.heartbeats;
        self.heartbeats += 1;
        self.send(&FromClient::Heartbeat { id }).await?;
        Ok(id)
    }

    /// Asks the relay for no more visitors. Those it has sent before it read that are still to be
    /// served: the answer to the heartbeat comes after the last of them.
    async fn drain(&mut self) -> Result<(), SessionEnd> {
        self.send(&FromClient::Draining).await?;
        self.draining = Some((self.beat().await?, Instant::now() + DRAIN_TIMEOUT));
        Ok(())
    }

    /// Whether a client that stops has no visit any more and none on the way.
    fn is_drained(&mut self, deadline: Instant) -> bool {
        let waits = |until: Instant| Instant::now() < until.min(deadline);
        if self.draining.is_some_and(|(_, until)| waits(until)) {
            return false;
        }
        while let Some(stream) = self.running.inbound.try_next() {
            self.on_stream(stream);
        }
        self.visits.is_empty()
    }

    /// A visitor has come.
    fn on_stream(&mut self, stream: MuxStream) {
        if self.visits.len() >= MOST_VISITS {
            // Dropped, and so reset.
            error!("the relay has opened too many streams");
            return;
        }
        let locals = Arc::clone(&self.locals);
        self.visits.spawn(locals.visit(stream));
    }

    /// Ends the session on purpose.
    async fn goodbye(&mut self) -> SessionEnd {
        let goodbye = FromClient::Goodbye { reason: "the client is stopping".into() };
        // The session ends either way.
        drop(self.send(&goodbye).await);
        SessionEnd::Stopped
    }

    async fn send(&mut self, message: &FromClient) -> Result<(), SessionEnd> {
        match timeout(SEND_TIMEOUT, self.control.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(err)) => Err(self.driver_end(err.to_string()).await),
            Err(_) => Err(SessionEnd::Lost("the relay does not read its control stream".into())),
        }
    }

    /// The driver has ended. A relay that says goodbye closes the session right behind it, so the
    /// goodbye may not have been read yet.
    async fn last_words(&mut self, end: Result<End, JoinError>) -> SessionEnd {
        while let Ok(message) = self.control.receive().await {
            if let FromRelay::Goodbye { reason } = message {
                info!("the relay says goodbye: {}", Foreign(&reason));
                return SessionEnd::EndedByRelay;
            }
        }
        lost(end)
    }

    /// The control stream is broken: why, if the driver knows better.
    async fn driver_end(&mut self, reason: String) -> SessionEnd {
        match timeout(Duration::from_millis(100), self.running.driver.join_next()).await {
            Ok(Some(end)) => self.last_words(end).await,
            Ok(None) | Err(_) => SessionEnd::Lost(reason),
        }
    }
}

/// The shortest interval of heartbeats that a relay can ask for.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(50);

/// The longest one: a relay that is gone is noticed within three of them.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3600);

/// What the end of the driver means when nothing was said before.
fn lost(end: Result<End, JoinError>) -> SessionEnd {
    SessionEnd::Lost(match end {
        Ok(end) => end.to_string(),
        Err(err) => err.to_string(),
    })
}

fn report(ended: Result<(), JoinError>) {
    if let Err(err) = ended
        && !err.is_cancelled()
    {
        error!("a visit's task panicked: {err}");
    }
}
