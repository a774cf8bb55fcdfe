//! From a connection to a session: who is there, and may it have the tunnels it wants?
//!
//! A stranger gets little: one deadline for everything, small messages and frames, and no reply to
//! anything that is not a `Hello`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use shared::carry::Channel;
use shared::carry::mux::{CLOSE, End, Inbound, Mux, Running};
use shared::control::channel::{Control, ReceiveError};
use shared::control::protocol::{
    FromClient, FromRelay, HANDSHAKE_TIMEOUT, Hello, MAX_CONNECTIONS, MAX_HELLO, MAX_MESSAGE,
    MAX_STREAMS, Refusal, RefusalCode, TunnelName, TunnelRequest, VERSION, Welcome,
};
use shared::kit::logging::{Foreign, Rate};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tracing::{Span, debug, info};

use super::changes::{PublicNames, Tunnels, check_page};
use super::door::{self, TlsBegun};
use super::identity::shown;
use super::live::Live;
use super::{SESSIONS, SessionsShared};
use crate::access::{Principal, audit};
use crate::domains::{Patience, Refused};
use crate::limits::Place;
use crate::metrics::{Counted, Handshake, Limit};
use crate::registry::{Membership, Peer};
use crate::target::{SessionTarget, Target};
use crate::tunnel::{Claimant, ConnectionId};

/// Whoever shows something that is not good learns that after so long, whatever is wrong with it:
/// the time tells nothing, and guessing takes a while.
const REFUSED_AFTER: Duration = Duration::from_millis(250);

/// The control stream as the relay sees it.
pub(super) type ControlStream = Control<Compat<yamux::Stream>, FromClient, FromRelay>;

/// Clients that were refused. Those that are impatient come back at once.
static REFUSED: Rate = Rate::new(|more| info!(left_out = more.count, "clients refused: {more}"));

/// Handshakes that were given up because newer ones needed their places.
static CROWDED_OUT: Rate =
    Rate::new(|more| info!(left_out = more.count, "handshakes given up: {more}"));

/// What became of a handshake.
pub(super) enum Admission {
    /// The client is in.
    Admitted(Box<Live>),
    /// It is not, and knows as much as it should.
    Turned,
}

/// Why there is no session.
pub(super) enum Turned {
    /// The client is told why.
    Refused(Box<ControlStream>, Refusal),
    /// It has shown something that is not good. It is told at this moment, and not before.
    Unauthorized(Box<ControlStream>, Refusal, Instant),
    /// Others from there have failed meanwhile.
    Penalised,
    /// It would not understand.
    Invalid(String),
    Lost(String),
    /// The same in the middle of a TLS handshake, or behind one: that was the expensive part.
    LostTls(String),
}

impl SessionsShared {
    /// Does the whole handshake, within its deadline.
    pub(super) async fn admit(
        self: &Arc<Self>,
        mut running: Running,
        peer: SocketAddr,
        place: Place,
        tls: TlsBegun,
    ) -> Admission {
        let handshake = self.handshake(&mut running.inbound, &running.mux, peer);
        let result = tokio::select! {
            // What a client has said counts, though it may have gone since.
            biased;
            result = timeout(HANDSHAKE_TIMEOUT, handshake) => result,
            Some(end) = running.driver.join_next() => Ok(Err(broken_off(end))),
            // Nobody to say goodbye to.
            () = self.ending.cancelled() => Ok(Err(Turned::Lost("the relay is stopping".into()))),
            () = place.evicted() => {
                let limit = Limit::Handshakes;
                if CROWDED_OUT.allows() {
                    info!("handshake given up for a newer one: too many {}", limit.of_what());
                }
                self.metrics.handshake(Handshake::Evicted);
                self.metrics.limit(limit);
                // As when it is lost in the middle of that.
                if tls.has_begun() {
                    self.limits.failed(peer);
                }
                return Admission::Turned;
            }
        };
        let turned = match result {
            Ok(Ok((control, accepted))) => {
                self.metrics.handshake(Handshake::Accepted);
                return Admission::Admitted(Box::new(Live::new(running, control, accepted)));
            }
            Ok(Err(turned)) => turned,
            Err(_) => {
                debug!("handshake not finished within {HANDSHAKE_TIMEOUT:?}");
                self.metrics.handshake(Handshake::Timeout);
                self.limits.failed(peer);
                self.refused(peer);
                return Admission::Turned;
            }
        };
        match turned {
            Turned::Refused(control, refusal) => {
                self.refuse(running, control, refusal, Instant::now(), peer, place).await;
            }
            Turned::Unauthorized(control, refusal, at) => {
                self.limits.failed(peer);
                self.refuse(running, control, refusal, at, peer, place).await;
            }
            Turned::Penalised => {
                debug!("handshake given up: others from there have failed");
                self.metrics.handshake(Handshake::Penalised);
            }
            Turned::Invalid(reason) => {
                debug!("not a client: {}", Foreign(&reason));
                self.metrics.handshake(Handshake::Invalid);
                self.limits.failed(peer);
                if running.mux.link().breach().is_none() {
                    self.refused(peer);
                }
            }
            Turned::Lost(reason) if !running.mux.link().channel().is_encrypted() => {
                debug!("handshake lost: {reason}");
                self.metrics.handshake(Handshake::Lost);
            }
            Turned::Lost(reason) | Turned::LostTls(reason) => {
                debug!("handshake lost behind or within that of TLS: {reason}");
                self.metrics.handshake(Handshake::Lost);
                self.limits.failed(peer);
            }
        }
        Admission::Turned
    }

    /// Tells a client why it is not let in. Everybody else has heard of it before.
    async fn refuse(
        &self,
        mut running: Running,
        mut control: Box<ControlStream>,
        refusal: Refusal,
        at: Instant,
        peer: SocketAddr,
        place: Place,
    ) {
        if REFUSED.allows() {
            info!(code = ?refusal.code, "client refused: {}", Foreign(&refusal.message));
        }
        self.metrics.handshake(Handshake::Refused);
        audit::refused(peer, &refusal);
        // One that may come back is welcome to.
        if !refusal.retry {
            self.refused(peer);
        }
        let refused = FromRelay::Refused(refusal);
        let farewell = async {
            sleep_until(at).await;
            if let Ok(Ok(())) = timeout(HANDSHAKE_TIMEOUT, control.send(&refused)).await {
                running.close(CLOSE).await;
            }
        };
        tokio::select! {
            () = farewell => (),
            () = place.evicted() => (),
            () = self.ending.cancelled() => (),
        }
    }

    /// Reads the `Hello`, claims the tunnels and answers.
    async fn handshake(
        &self,
        inbound: &mut Inbound,
        mux: &Mux,
        peer: SocketAddr,
    ) -> Result<(ControlStream, Accepted), Turned> {
        let Some(stream) = inbound.next().await else {
            // The driver has the reason, and the caller is about to see it.
            return std::future::pending().await;
        };
        let mut control = ControlStream::new(stream.io.compat(), MAX_HELLO);
        let mut hello = match control.receive().await {
            Ok(FromClient::Hello(hello)) => hello,
            Ok(_) => return Err(Turned::Invalid("the first message is no Hello".into())),
            Err(ReceiveError::Closed) => {
                return Err(Turned::Lost("the control stream ended".into()));
            }
            Err(ReceiveError::Message(err, frame)) => {
                return Err(match not_understood(&err, &frame) {
                    Some(refusal) => Turned::Refused(Box::new(control), refusal),
                    None => Turned::Invalid(err.to_string()),
                });
            }
            Err(err) => return Err(Turned::Invalid(err.to_string())),
        };
        if let Err(refusal) = self.check(&hello, mux.link().channel()) {
            return Err(Turned::Refused(Box::new(control), refusal));
        }
        let shown = shown(&mut control, mux, hello.credential.take()).await?;
        let has_shown = shown.is_something();
        let refuse_at = Instant::now() + REFUSED_AFTER;
        // However many of them are under way at a time.
        if has_shown && !self.limits.tries(peer) {
            return Err(Turned::Penalised);
        }
        let principal = match self.access.authorise(shown, peer).await {
            Ok(principal) => {
                // Who has shown nothing makes nobody's failures good.
                if has_shown {
                    self.limits.succeeded(peer);
                }
                principal
            }
            Err(refusal) if refusal.code == RefusalCode::Unauthorized => {
                return Err(Turned::Unauthorized(Box::new(control), refusal, refuse_at));
            }
            Err(refusal) => return Err(Turned::Refused(Box::new(control), refusal)),
        };
        match self.welcome(&hello, principal, peer, mux).await {
            Ok((welcome, accepted)) => {
                control.set_limit(MAX_MESSAGE);
                if let Err(err) = control.send(&FromRelay::Welcome(welcome)).await {
                    return Err(Turned::Lost(err.to_string()));
                }
                if SESSIONS.allows() {
                    info!(agent = %Foreign(&hello.agent), "client connected");
                }
                Ok((control, accepted))
            }
            Err(refusal) => Err(Turned::Refused(Box::new(control), refusal)),
        }
    }

    /// Lets somebody in, who may not have all the tunnels.
    async fn welcome(
        &self,
        hello: &Hello,
        principal: Principal,
        peer: SocketAddr,
        mux: &Mux,
    ) -> Result<(Welcome, Accepted), Refusal> {
        let connection = ConnectionId::from(hello);
        self.registry.check_tunnels(hello.tunnels.len())?;
        // Before the session before it has to go: the store may take its time.
        let (asked, waiting) = self.without_waiting(&principal, &hello.tunnels).await;
        // As it may stand in a log, and no longer.
        let agent = Foreign(&hello.agent).to_string();
        let membership =
            self.registry.join(connection, principal.clone(), Peer { agent, address: peer })?;
        Span::current().record("id", membership.session());

        // Before the first claim: visitors may come, and the client may answer them, before it has
        // been welcomed.
        mux.link().admit();
        let streams = hello.max_streams.clamp(1, MAX_STREAMS) as usize;
        let session = SessionTarget::new(membership.session(), mux.clone(), streams);
        membership.leads_to(session.clone());
        let claimant =
            Claimant::new(connection, principal, Target::Session(session.clone()), peer.into());
        let claimant = Arc::new(claimant);
        let claims = self.registry.claim(&membership, &asked, &claimant).await?;
        audit::admitted(membership.principal(), peer, membership.session());

        let config = self.config.now();
        let relay = config.public_name.clone().unwrap_or_else(|| hello.server.clone());
        let names = PublicNames { relay, front: self.registry.front().clone() };
        let mut tunnels = Tunnels::new(names);
        let welcome = Welcome {
            session: membership.session(),
            heartbeat_ms: config.heartbeat.as_millis().try_into().unwrap_or(u64::MAX),
            tunnels: tunnels.answers(&self.registry, &hello.tunnels, &claims, waiting),
        };
        for (request, claim) in asked.iter().zip(claims) {
            tunnels.insert(&claimant.target, request, claim);
        }
        let counted = self.metrics.session();
        let heartbeat = config.heartbeat;
        Ok((welcome, Accepted { membership, session, claimant, tunnels, heartbeat, counted }))
    }

    /// The tunnels that can be opened or refused, and why each of the others has to wait for its
    /// owner to prove something: those are no reason to keep the client out.
    async fn without_waiting<'a>(
        &self,
        principal: &Principal,
        requests: &'a [TunnelRequest],
    ) -> (Cow<'a, [TunnelRequest]>, HashMap<TunnelName, Refused>) {
        let (mut waiting, mut patience) = (HashMap::new(), Patience::new());
        for request in requests {
            let refused = self.registry.must_wait(principal, request, &mut patience).await;
            waiting.extend(refused.map(|refused| (request.name.clone(), refused)));
        }
        if waiting.is_empty() {
            return (Cow::Borrowed(requests), waiting);
        }
        let asked = requests.iter().filter(|request| !waiting.contains_key(&request.name));
        (asked.cloned().collect(), waiting)
    }

    /// Whether the relay can do what the client asks for, as far as the message and the way by
    /// which it has come tell.
    fn check(&self, hello: &Hello, channel: Channel) -> Result<(), Refusal> {
        if hello.version != VERSION {
            return Err(other_version(hello.version));
        }
        if self.stopping.is_cancelled() {
            return Err(Refusal::new(RefusalCode::ShuttingDown, "the relay is stopping"));
        }
        if self.config.now().tls.is_required() && !channel.is_encrypted() {
            let message = "the relay accepts TLS only: use --server tls://HOST:PORT";
            return Err(Refusal::new(RefusalCode::TlsRequired, message));
        }
        if hello.connection >= MAX_CONNECTIONS {
            let message = format!("a client has {MAX_CONNECTIONS} connections at most");
            return Err(Refusal::new(RefusalCode::BadRequest, message));
        }
        check_page(&hello.tunnels)
    }
}

/// The answer to a `Hello` that does not decode. Whatever is no `Hello` gets none.
fn not_understood(err: &serde_json::Error, frame: &[u8]) -> Option<Refusal> {
    /// What every version of a `Hello` has.
    #[derive(Deserialize)]
    struct AnyHello {
        version: u32,
    }
    let AnyHello { version } = serde_json::from_slice(frame).ok()?;
    if version != VERSION {
        return Some(other_version(version));
    }
    let message = format!("the relay does not understand the client: {err}");
    Some(Refusal::new(RefusalCode::BadRequest, message))
}

fn other_version(version: u32) -> Refusal {
    let message = format!(
        "the relay speaks version {VERSION} of the protocol, the client {version}: update the \
         older of the two"
    );
    Refusal::new(RefusalCode::Version, message)
}

/// A client that has been let in.
pub(super) struct Accepted {
    pub(super) membership: Membership,
    pub(super) session: SessionTarget,
    pub(super) claimant: Arc<Claimant>,
    pub(super) tunnels: Tunnels,
    pub(super) heartbeat: Duration,
    /// Its place in the gauge of sessions.
    pub(super) counted: Counted,
}

/// What it means that the driver ended during the handshake.
fn broken_off(end: Result<End, tokio::task::JoinError>) -> Turned {
    match end {
        Ok(end @ (End::Breach(_) | End::Yamux(_))) => Turned::Invalid(end.to_string()),
        // It has not come as far as to a session.
        Ok(End::Io(err)) if err.kind() == ErrorKind::InvalidData => {
            Turned::Invalid(err.to_string())
        }
        Ok(End::Io(err)) if door::is_of_tls(&err) => Turned::LostTls(err.to_string()),
        Ok(end) => Turned::Lost(end.to_string()),
        Err(err) => Turned::Lost(err.to_string()),
    }
}
