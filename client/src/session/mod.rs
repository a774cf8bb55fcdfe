//! One session: its tunnels, incoming streams, and its end.

mod changes;
mod follow;
mod outcome;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use shared::carry::mux::{MuxStream, Running};
use shared::control::channel::Control;
use shared::control::conversation::{Conversation, Happening, Left, Over};
use shared::control::protocol::{
    FromClient, FromRelay, MAX_STREAMS, PAGE, PublicAddress, TunnelHealth, TunnelName, Welcome,
};
use shared::kit::backoff::Backoff;
use shared::kit::logging::{Foreign, Rate};
use shared::kit::stop::Stop;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::compat::Compat;
use tracing::{Instrument, Span, error, info, info_span, warn};

use crate::config::Config;
use crate::health::Unhealthy;
use crate::local::Locals;
use crate::status::{Event, LiveTunnel};
use crate::tally::Tally;
use crate::tunnel::TunnelConfig;

use self::changes::Tunnels;
use self::changes::live;
pub(crate) use self::changes::{may_pass, request};
pub(crate) use self::follow::Follow;
pub(crate) use self::outcome::{NotOpened, Opened, SessionEnd};

/// How long the relay may take to stop sending visitors to a client that stops. A round trip is
/// enough; a relay that has gone without a word does not hold up Ctrl-C.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Visits beyond what the relay may open: those that it has ended and this end has not yet. More
/// than that are reset.
const MOST_VISITS: usize = 2 * MAX_STREAMS as usize;

/// Streams beyond those.
static TOO_MANY: Rate = Rate::new(|more| {
    error!(left_out = more.count, "the relay has opened too many streams: {more}");
});

/// What the relay says without having been asked.
static SAID: Rate = Rate::generous(|more| {
    info!(left_out = more.count, "the relay changed who is live: {more}");
});

/// How long the relay may owe an answer about tunnels. It has it at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The delays before a tunnel is asked for again that the relay could not open.
const REFUSED_DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The shortest interval of heartbeats that a relay can ask for.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(50);

/// The longest one: a relay that is gone is noticed within three of them.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3600);

/// The control stream as the client sees it.
pub(crate) type ControlStream = Control<Compat<yamux::Stream>, FromRelay, FromClient>;

/// A session with a relay.
pub(crate) struct Session {
    wanted: watch::Receiver<Arc<Config>>,
    health: watch::Receiver<Unhealthy>,
    /// The tunnels of which the relay knows that their local service is not healthy.
    known_unhealthy: HashSet<TunnelName>,
    conversation: Conversation<yamux::Stream, FromRelay, FromClient>,
    tunnels: Tunnels,
    /// When to ask again for tunnels that the relay could not open.
    again: Option<Instant>,
    delays: Backoff,
    locals: Arc<Locals>,
    tally: Tally,
    visits: JoinSet<()>,
    /// Tunnels that others serve since before anybody was told of them.
    standing_by: HashSet<TunnelName>,
    span: Span,
    stopping: bool,
    /// Set from `Draining` until the relay has answered this heartbeat, or has had its time for it.
    draining: Option<(u64, Instant)>,
}

/// Where a session is on its way to a stop.
enum Stopping {
    No,
    /// Open visits may finish until then.
    Until(Instant),
}

impl Session {
    /// A session that has been welcomed, with the tunnels of its `Hello`, which said that those of
    /// `unhealthy` are not.
    pub(crate) fn new(
        follow: Follow,
        unhealthy: &Unhealthy,
        running: Running,
        control: ControlStream,
        welcome: &Welcome,
        opened: Opened,
    ) -> Self {
        let Follow { config: wanted, health, service_tls, tls: _, tally } = follow;
        let span = info_span!("session", id = welcome.session);
        // A relay that wants a heartbeat all the time, or none, does not get its way.
        let beat = Duration::from_millis(welcome.heartbeat_ms);
        let beat = beat.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT);
        let locals = Locals::new(wanted.clone(), service_tls, tally.clone(), welcome.session);
        let locals = Arc::new(locals);
        let mut tunnels = Tunnels::default();
        let mut known_unhealthy = HashSet::new();
        for (tunnel, public) in opened.open {
            locals.set(&tunnel);
            if unhealthy.contains(&tunnel.name) {
                known_unhealthy.insert(tunnel.name.clone());
            }
            tunnels.opened(tunnel, public);
        }
        for (tunnel, refusal) in opened.waiting {
            // Said when it begins to serve.
            tunnels.refused(tunnel, refusal);
        }
        let (first, longest) = REFUSED_DELAYS;
        Self {
            wanted,
            health,
            known_unhealthy,
            conversation: Conversation::new(running, control, beat),
            tunnels,
            again: None,
            delays: Backoff::new(first, longest),
            locals,
            tally,
            visits: JoinSet::new(),
            span,
            standing_by: HashSet::new(),
            stopping: false,
            draining: None,
        }
    }

    /// Opens the tunnels that did not fit the `Hello`. Visitors of those that are open are served
    /// meanwhile.
    pub(crate) async fn open_rest(&mut self) -> Result<(), NotOpened> {
        let span = self.span.clone();
        let opening = async {
            for tunnel in self.tunnels() {
                info!("live: {}  {} -> {}", tunnel.name, tunnel.address(), tunnel.local);
            }
            self.plan().await.map_err(NotOpened::Over)?;
            while !self.tunnels.is_settled() {
                let happening = self.conversation.next().await;
                // Who is told of them is told when all are there.
                let mut news = None;
                let mut note = |event| news = Some(event);
                self.on_happening(happening, &mut note).await.map_err(NotOpened::Over)?;
                match news {
                    Some(Event::Standby(tunnel)) if self.tunnels.has(&tunnel) => {
                        self.standing_by.insert(tunnel);
                    }
                    Some(Event::Live(tunnel)) => drop(self.standing_by.remove(&tunnel.name)),
                    _ => (),
                }
                while let Some(ended) = self.visits.try_join_next() {
                    report(ended);
                }
                if let Some(refusal) = self.tunnels.refusal() {
                    return Err(NotOpened::Refused(refusal.clone()));
                }
            }
            Ok(())
        };
        opening.instrument(span).await
    }

    /// Where visitors reach each tunnel.
    pub(crate) fn public(&self) -> HashMap<TunnelName, Vec<PublicAddress>> {
        self.tunnels.public().map(|(name, public)| (name.clone(), public.clone())).collect()
    }

    /// What is said of its tunnels, in the order of the configuration.
    pub(crate) fn tunnels(&self) -> Vec<LiveTunnel> {
        let public = self.public();
        let wanted = self.wanted.borrow();
        let live = |tunnel: &TunnelConfig| public.get(&tunnel.name).map(|p| live(tunnel, p));
        wanted.tunnels.iter().filter_map(live).collect()
    }

    /// Serves visitors until the session ends. No visit is left when it returns.
    pub(crate) async fn run(self, stop: &Stop, announce: &mut impl FnMut(Event)) -> SessionEnd {
        let span = self.span.clone();
        self.serve(stop, announce).instrument(span).await
    }

    async fn serve(mut self, stop: &Stop, announce: &mut impl FnMut(Event)) -> SessionEnd {
        let end = self.attend(stop, announce).await;
        let grace = self.wanted.borrow().grace;
        if end == SessionEnd::EndedByRelay {
            // The relay has counted its visits as over. What has come may still be on the way to a
            // local service that is slow.
            let finish = async { while self.visits.join_next().await.is_some() {} };
            tokio::select! {
                _ = timeout(grace, finish) => (),
                () = stop.at_once.cancelled() => (),
            }
        }
        self.visits.shutdown().await;
        if !matches!(end, SessionEnd::Lost(_)) {
            self.conversation.close().await;
        }
        end
    }

    /// Does whatever comes up until the session is over.
    async fn attend(&mut self, stop: &Stop, announce: &mut impl FnMut(Event)) -> SessionEnd {
        let mut stopping = Stopping::No;
        std::mem::take(&mut self.standing_by)
            .into_iter()
            .map(Event::Standby)
            .for_each(&mut *announce);
        let waiting: Vec<_> = self.tunnels.waiting().collect();
        for event in waiting {
            self.on_answer(&event);
            announce(event);
        }
        let mut done = self.plan().await;
        loop {
            if let Err(over) = done {
                return ended(over);
            }
            let deadline = match stopping {
                Stopping::No => None,
                Stopping::Until(deadline) if self.is_drained(deadline) => {
                    self.conversation.goodbye("the client is stopping").await;
                    return SessionEnd::Stopped;
                }
                Stopping::Until(deadline) => Some(deadline),
            };
            let draining = self.draining.map(|(_, until)| until);
            done = tokio::select! {
                happening = self.conversation.next() => self.on_happening(happening, announce).await,
                Some(ended) = self.visits.join_next() => {
                    report(ended);
                    Ok(())
                }
                Ok(()) = self.wanted.changed(), if deadline.is_none() => self.plan().await,
                Ok(()) = self.health.changed(), if deadline.is_none() => self.tell_health().await,
                () = sleep_until(self.again.unwrap_or_else(Instant::now)), if self.again.is_some() => {
                    self.again = None;
                    self.tunnels.try_again();
                    self.plan().await
                }
                () = stop.gracefully.cancelled(), if deadline.is_none() => {
                    let grace = self.wanted.borrow().grace;
                    stopping = Stopping::Until(Instant::now() + grace);
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
                    self.conversation.goodbye("the client is stopping").await;
                    return SessionEnd::Stopped;
                }
            };
        }
    }

    async fn on_happening(
        &mut self,
        happening: Happening<FromRelay>,
        announce: &mut impl FnMut(Event),
    ) -> Result<(), Over> {
        match self.conversation.settle(happening).await? {
            Left::Nothing => Ok(()),
            Left::Beat if self.tunnels.unanswered_for() > ANSWER_TIMEOUT => {
                Err(Over::Lost("the relay does not answer".into()))
            }
            Left::Beat => Ok(()),
            Left::Stream(stream) => {
                self.on_stream(stream);
                Ok(())
            }
            Left::Acknowledged(id, after) => {
                after.into_iter().for_each(|after| self.tally.came_back(after));
                self.draining.take_if(|(awaited, _)| *awaited == id);
                Ok(())
            }
            Left::Said(message) => self.on_message(message, announce).await,
        }
    }

    async fn on_message(
        &mut self,
        message: FromRelay,
        announce: &mut impl FnMut(Event),
    ) -> Result<(), Over> {
        match message {
            FromRelay::Answer { id, tunnels } => {
                let Some(events) = self.tunnels.answered(id, tunnels) else {
                    return Err(Over::Broken("an answer to another question".into()));
                };
                for event in events {
                    self.on_answer(&event);
                    announce(event);
                }
                if self.tunnels.is_settled() && !self.tunnels.may_try_again() {
                    self.delays.reset();
                }
                self.plan().await?;
                return self.tell_health().await;
            }
            FromRelay::Closed { tunnel, refusal } => {
                if let Some(event) = self.tunnels.closed_by_relay(&tunnel, refusal) {
                    self.on_answer(&event);
                    announce(event);
                }
            }
            FromRelay::Standby { tunnel } => {
                if SAID.allows() {
                    info!(%tunnel, "standing by: visitors of the tunnel do not come here");
                }
                announce(Event::Standby(tunnel));
            }
            FromRelay::Live { tunnel } => {
                if SAID.allows() {
                    info!(%tunnel, "live again");
                }
                if let Some(live) = self.tunnels.live(&tunnel) {
                    announce(Event::Live(live));
                }
            }
            FromRelay::Draining => {
                if SAID.allows() {
                    info!("the relay is stopping: open visits may finish");
                }
            }
            // What that means shows when the client comes again.
            FromRelay::Refused(refusal) => return Err(Over::Lost(refusal.to_string())),
            FromRelay::Welcome(_) | FromRelay::Challenge { .. } => {
                return Err(Over::Broken("the relay broke the protocol".into()));
            }
            FromRelay::Heartbeat { .. }
            | FromRelay::HeartbeatAck { .. }
            | FromRelay::Goodbye { .. } => (), // Settled by the conversation.
        }
        Ok(())
    }

    /// Takes note of what became of a tunnel that was asked for.
    fn on_answer(&mut self, event: &Event) {
        match event {
            Event::Live(tunnel) => {
                info!("live: {}  {} -> {}", tunnel.name, tunnel.address(), tunnel.local);
            }
            Event::Closed(tunnel) => {
                self.known_unhealthy.remove(tunnel);
                // One that is opened anew has its local service already.
                if !self.wanted.borrow().tunnels.iter().any(|wanted| wanted.name == *tunnel) {
                    self.locals.remove(tunnel);
                }
                info!(%tunnel, "closed");
            }
            Event::Refused(tunnel, reason) => {
                warn!(%tunnel, "the relay does not open the tunnel: {reason}");
                self.ask_again();
            }
            // Who is told of it says so, once.
            Event::Waiting(..) => self.ask_again(),
            Event::Standby(_) | Event::Lost(_) | Event::Reconnecting(_) | Event::Ended(_) => (),
        }
    }

    /// Asks once more for tunnels that were refused, after a while, if that may help.
    fn ask_again(&mut self) {
        if self.again.is_none() && self.tunnels.may_try_again() {
            self.again = Some(Instant::now() + self.delays.next_delay());
        }
    }

    /// Asks the relay for what is missing of the tunnels in the configuration, as far as it can be
    /// asked for now. A client that stops asks for nothing more.
    async fn plan(&mut self) -> Result<(), Over> {
        if self.stopping {
            return Ok(());
        }
        if self.tunnels.is_settled() {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            self.tunnels.plan(&wanted.tunnels);
        }
        let unhealthy = Arc::clone(&self.health.borrow());
        while let Some((message, services)) = self.tunnels.next(&unhealthy) {
            for tunnel in &services {
                // Before the relay knows: visitors may come with its answer.
                self.locals.set(tunnel);
                if unhealthy.contains(&tunnel.name) {
                    self.known_unhealthy.insert(tunnel.name.clone());
                } else {
                    self.known_unhealthy.remove(&tunnel.name);
                }
            }
            self.conversation.send(&message).await?;
        }
        Ok(())
    }

    /// Tells the relay which local services have become healthy, or no longer are.
    async fn tell_health(&mut self) -> Result<(), Over> {
        let unhealthy = Arc::clone(&self.health.borrow_and_update());
        let news: Vec<_> = self
            .known_unhealthy
            .symmetric_difference(&unhealthy)
            .filter(|name| self.tunnels.has(name))
            .map(|name| TunnelHealth { name: name.clone(), healthy: !unhealthy.contains(name) })
            .collect();
        for tunnels in news.chunks(PAGE) {
            let tunnels = tunnels.to_vec();
            self.conversation.send(&FromClient::Health { tunnels }).await?;
        }
        for TunnelHealth { name, healthy } in news {
            if healthy {
                self.known_unhealthy.remove(&name);
            } else {
                self.known_unhealthy.insert(name);
            }
        }
        Ok(())
    }

    /// Asks the relay for no more visitors. Those it has sent before it read that are still to be
    /// served: the answer to the heartbeat comes after the last of them.
    async fn drain(&mut self) -> Result<(), Over> {
        self.stopping = true;
        self.conversation.send(&FromClient::Draining).await?;
        self.draining = Some((self.conversation.ask().await?, Instant::now() + DRAIN_TIMEOUT));
        Ok(())
    }

    /// Whether a client that stops has no visit any more and none on the way.
    fn is_drained(&mut self, deadline: Instant) -> bool {
        let waits = |until: Instant| Instant::now() < until.min(deadline);
        if self.draining.is_some_and(|(_, until)| waits(until)) {
            return false;
        }
        while let Some(stream) = self.conversation.try_stream() {
            self.on_stream(stream);
        }
        self.visits.is_empty()
    }

    /// A visitor has come.
    fn on_stream(&mut self, stream: MuxStream) {
        if self.visits.len() >= MOST_VISITS {
            // Dropped, and so reset.
            if TOO_MANY.allows() {
                error!("the relay has opened too many streams");
            }
            return;
        }
        let locals = Arc::clone(&self.locals);
        self.visits.spawn(locals.visit(stream));
    }
}

/// What the end of a session means for the client.
fn ended(over: Over) -> SessionEnd {
    match over {
        Over::Goodbye(reason) => {
            info!("the relay says goodbye: {}", Foreign(&reason));
            SessionEnd::EndedByRelay
        }
        Over::Broken(reason) | Over::Lost(reason) => SessionEnd::Lost(reason),
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(err) = ended
        && !err.is_cancelled()
    {
        error!("a visit's task panicked: {err}");
    }
}
