//! A session that has been admitted: what its client says, its standing, and its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::carry::mux::Running;
use shared::carry::wire::Breach;
use shared::control::conversation::{Conversation, Happening, Left, Over};
use shared::control::protocol::{
    FromClient, FromRelay, PAGE, Refusal, RefusalCode, TunnelAnswer, TunnelName, TunnelOutcome,
    TunnelRequest,
};
use shared::kit::logging::Foreign;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::changes::{Asker, Tunnels, check_page};
use super::handshake::{Accepted, ControlStream};
use super::talk::Talk;
use super::{SESSIONS, SessionsShared};
use crate::access::audit;
use crate::metrics::Counted;
use crate::registry::Membership;
use crate::target::SessionTarget;
use crate::tunnel::Claimant;

/// How often a client is told who serves its tunnels: all of them are looked at, and a client that
/// says of one over and over that it is well, and that it is not, makes as many want to know as share
/// it.
const STANDING_EACH: Duration = Duration::from_millis(250);

/// How long a client may take to close the connection behind its goodbye.
const LAST_FRAMES: Duration = Duration::from_secs(3);

/// How long streams that are being opened to a client that stops may take: less than it waits.
const LAST_STREAMS: Duration = Duration::from_secs(1);

/// How long a client that may be here no longer has to read why, while its visits go on.
const LAST_WORD: Duration = Duration::from_millis(250);

/// A client that is connected.
///
/// Dropping it gives up its tunnels and ends its streams.
pub(super) struct Live {
    // Given up before the session is cut.
    tunnels: Tunnels,
    conversation: Conversation<yamux::Stream, FromClient, FromRelay>,
    session: SessionTarget,
    claimant: Arc<Claimant>,
    membership: Membership,
    /// The client takes no new visitors.
    draining: bool,
    talk: Talk,
    /// Until when it is not told again who serves its tunnels.
    told_until: Instant,
    log: EndLog,
    _counted: Counted,
}

/// Why a session is over.
enum Ended {
    /// The relay is stopping. No visit is open any more.
    Stopping,
    /// The same client has connected again.
    Replaced,
    /// The client may be here no longer.
    Revoked(Refusal),
    /// The client has ended it, or is gone.
    Over(Over),
}

impl Live {
    pub(super) fn new(running: Running, control: ControlStream, accepted: Accepted) -> Self {
        let Accepted { membership, session, claimant, tunnels, heartbeat, counted } = accepted;
        Self {
            tunnels,
            conversation: Conversation::new(running, control, heartbeat),
            session,
            claimant,
            membership,
            draining: false,
            talk: Talk::new(Instant::now()),
            told_until: Instant::now(),
            log: EndLog { since: Instant::now(), ended: None },
            _counted: counted,
        }
    }

    /// Runs the session until it ends.
    pub(super) async fn run(&mut self, shared: &SessionsShared) {
        let mut replaced = pin!(self.membership.replaced());
        let kicked = self.membership.kicked();
        let principal = self.membership.principal().clone();
        // Whatever it is waiting for: its successor has its place, or it has none any more.
        let ended = tokio::select! {
            ended = self.attend(shared) => ended,
            () = &mut replaced => Ended::Replaced,
            refusal = principal.ended() => Ended::Revoked(refusal),
            refusal = kicked => Ended::Revoked(refusal),
        };
        // New visitors go elsewhere from here on.
        self.tunnels.clear();
        match ended {
            // Only without open visits: an orderly close does not tell yamux's streams of it, while
            // the end of the driver does.
            Ended::Stopping => self.conversation.close().await,
            // It may have overtaken the last frames of visits. They come before the connection
            // ends.
            Ended::Over(Over::Goodbye(_)) => {
                let closed = timeout(LAST_FRAMES, self.conversation.closed());
                tokio::select! {
                    _ = closed => (),
                    () = replaced => (),
                }
            }
            // Its visits end with it.
            Ended::Revoked(ref refusal) => {
                audit::revoked(&principal, self.membership.session(), refusal);
                let told = async {
                    let refused = FromRelay::Refused(refusal.clone());
                    if self.conversation.send(&refused).await.is_ok() {
                        self.conversation.closed().await;
                    }
                };
                let _told = timeout(LAST_WORD, told).await;
            }
            Ended::Replaced | Ended::Over(_) => (),
        }
        self.log.ended = Some(ended);
    }

    /// Does whatever comes up until the session is over.
    async fn attend(&mut self, shared: &SessionsShared) -> Ended {
        let mut told_stopping = false;
        loop {
            let done = tokio::select! {
                happening = self.conversation.next() => self.on_happening(happening, shared).await,
                () = standing_changed(&self.claimant, self.told_until) => self.tell_standing().await,
                () = shared.stopping.cancelled(), if !told_stopping => {
                    told_stopping = true;
                    self.conversation.send(&FromRelay::Draining).await
                }
                () = shared.ending.cancelled() => {
                    self.conversation.goodbye("the relay is stopping").await;
                    return Ended::Stopping;
                }
            };
            if let Err(over) = done {
                return Ended::Over(over);
            }
        }
    }

    async fn on_happening(
        &mut self,
        happening: Happening<FromClient>,
        shared: &SessionsShared,
    ) -> Result<(), Over> {
        if let Happening::Said(message) = &happening
            && !self.talk.allows(message, Instant::now())
        {
            return Err(self.conversation.break_off(Breach::MessageFlood));
        }
        match self.conversation.settle(happening).await? {
            Left::Nothing => Ok(()),
            // Apart, since most of the time there is none.
            Left::Said(message) => Box::pin(self.on_message(message, shared)).await,
            Left::Acknowledged(_, Some(round_trip)) => {
                self.membership.round_trip(round_trip);
                for claim in self.tunnels.live() {
                    claim.tunnel().metrics().round_trip(round_trip);
                }
                Ok(())
            }
            Left::Acknowledged(_, None) => Ok(()),
            Left::Beat => {
                self.session.sample();
                Ok(())
            }
            // The wire lets a client open its control stream and no other.
            Left::Stream(_) => Err(Over::Broken("a second stream".into())),
        }
    }

    async fn on_message(
        &mut self,
        message: FromClient,
        shared: &SessionsShared,
    ) -> Result<(), Over> {
        let (id, tunnels) = match message {
            FromClient::Open { id, tunnels } => (id, self.open(&tunnels, shared).await),
            FromClient::Update { id, tunnels } => {
                let answers = self.update(&tunnels);
                self.conversation.send(&FromRelay::Answer { id, tunnels: answers }).await?;
                // The client takes the answer for the news that it serves.
                let news = self.tunnels.standing_of(tunnels.iter().map(|tunnel| &tunnel.name));
                return self.tell(news).await;
            }
            FromClient::Close { id, tunnels } => (id, self.close(&tunnels, shared)),
            FromClient::Health { tunnels } => {
                self.tunnels.set_health(&tunnels[..tunnels.len().min(PAGE)]);
                return Ok(());
            }
            FromClient::Draining if self.draining => {
                return Err(Over::Broken("a second Draining".into()));
            }
            FromClient::Draining => {
                if SESSIONS.allows() {
                    info!("the client is stopping");
                }
                self.draining = true;
                self.tunnels.clear();
                // The client takes the answer to its next heartbeat for the end of all new visits.
                self.session.drain(LAST_STREAMS).await;
                return Ok(());
            }
            FromClient::Proof { .. } => return Err(Over::Broken("a proof that is not due".into())),
            FromClient::Hello(_) => return Err(Over::Broken("a second Hello".into())),
            FromClient::Heartbeat { .. }
            | FromClient::HeartbeatAck { .. }
            | FromClient::Goodbye { .. } => {
                return Ok(()); // Settled by the conversation.
            }
        };
        self.conversation.send(&FromRelay::Answer { id, tunnels }).await
    }

    async fn open(
        &mut self,
        requests: &[TunnelRequest],
        shared: &SessionsShared,
    ) -> Vec<TunnelAnswer> {
        let refusal = match check_page(requests) {
            Ok(()) if self.draining => {
                Refusal::new(RefusalCode::BadRequest, "the client is stopping")
            }
            Ok(()) if shared.stopping.is_cancelled() => {
                Refusal::new(RefusalCode::ShuttingDown, "the relay is stopping")
            }
            Ok(()) => {
                let (registry, member) = (&shared.registry, &self.membership);
                let asker = Asker { registry, member, claimant: &self.claimant };
                return self.tunnels.open(asker, requests).await;
            }
            Err(refusal) => refusal,
        };
        refuse_all(requests.iter().map(|request| &request.name), &refusal)
    }

    fn update(&mut self, requests: &[TunnelRequest]) -> Vec<TunnelAnswer> {
        match check_page(requests) {
            Ok(()) => self.tunnels.update(&self.claimant.target, requests),
            Err(refusal) => refuse_all(requests.iter().map(|request| &request.name), &refusal),
        }
    }

    fn close(&mut self, names: &[TunnelName], shared: &SessionsShared) -> Vec<TunnelAnswer> {
        let names = &names[..names.len().min(PAGE)];
        self.tunnels.close(&shared.registry, names)
    }

    /// Tells the client which of its tunnels have changed hands.
    async fn tell_standing(&mut self) -> Result<(), Over> {
        self.told_until = Instant::now() + STANDING_EACH;
        let news = self.tunnels.changes_of_standing();
        self.tell(news).await
    }

    async fn tell(&mut self, news: Vec<FromRelay>) -> Result<(), Over> {
        for message in news {
            self.conversation.send(&message).await?;
        }
        Ok(())
    }
}

/// Resolves after one of the claims has become live, or no longer is, but not before `told_until`.
///
/// # Cancel safety
///
/// Cancel safe.
async fn standing_changed(claimant: &Claimant, told_until: Instant) {
    if told_until > Instant::now() {
        sleep_until(told_until.into()).await;
    }
    claimant.standing_changed().await;
}

/// The same answer for each tunnel of a message, of a page at most.
fn refuse_all<'a>(
    names: impl Iterator<Item = &'a TunnelName>,
    refusal: &Refusal,
) -> Vec<TunnelAnswer> {
    let refused = |name: &TunnelName| TunnelAnswer {
        name: name.clone(),
        outcome: TunnelOutcome::Refused(refusal.clone()),
    };
    names.take(PAGE).map(refused).collect()
}

/// Logs the end of a session when dropped, so that one that is cut off is logged too.
struct EndLog {
    since: Instant,
    ended: Option<Ended>,
}

impl Drop for EndLog {
    fn drop(&mut self) {
        if !SESSIONS.allows() {
            return;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        match &self.ended {
            Some(Ended::Stopping) => info!(seconds, "session over: the relay is stopping"),
            Some(Ended::Replaced) => {
                info!(seconds, "session over: the client has connected again");
            }
            Some(Ended::Revoked(refusal)) => info!(seconds, "session over: {refusal}"),
            Some(Ended::Over(Over::Goodbye(reason))) => {
                info!(seconds, "session over: the client ended it: {}", Foreign(reason));
            }
            Some(Ended::Over(Over::Lost(reason))) => {
                info!(seconds, "session lost: {}", Foreign(reason));
            }
            Some(Ended::Over(Over::Broken(reason))) => {
                warn!(seconds, "session broken off: {}", Foreign(reason));
            }
            None => info!(seconds, "session cut off"),
        }
    }
}
