//! From a connection to a session: who is there, and may it have the tunnels it wants?
//!
//! A stranger gets little: one deadline for everything, small messages and frames, and no reply to
//! anything that is not a `Hello`.

use std::sync::Arc;

use shared::control::{Control, ReceiveError};
use shared::mux::{End, Inbound, Mux};
use shared::protocol::{
    FromClient, FromRelay, HANDSHAKE_TIMEOUT, Hello, MAX_HELLO, MAX_MESSAGE, MAX_STREAMS,
    MAX_TUNNELS, OpenTunnel, Refusal, RefusalCode, TunnelName, VERSION, Welcome,
};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, info};

use super::live::Live;
use super::{Connection, SessionsShared};
use crate::limits;
use crate::metrics::Handshake;
use crate::target::Target;
use crate::tunnel::Claim;

/// The control stream as the relay sees it.
pub(super) type ControlStream = Control<Compat<yamux::Stream>, FromClient, FromRelay>;

/// What became of a handshake.
pub(super) enum Admission {
    /// The client is in.
    Admitted(Box<Live>),
    /// It is not, and knows as much as it should.
    Turned,
}

/// The parts of a session that run by themselves.
pub(super) struct Running {
    pub(super) mux: Mux,
    pub(super) inbound: Inbound,
    /// The one task that drives the session; it ends with this set.
    pub(super) driver: JoinSet<End>,
    /// Makes the driver send what is queued and close.
    pub(super) close: CancellationToken,
}

/// Why there is no session.
enum Turned {
    /// The client is told why.
    Refused(Box<ControlStream>, Refusal),
    /// It would not understand.
    Invalid(String),
    Lost(String),
}

impl SessionsShared {
    /// Does the whole handshake, within its deadline.
    pub(super) async fn admit(
        self: &Arc<Self>,
        connection: Connection,
        handshake: limits::Handshake,
    ) -> Admission {
        let close = CancellationToken::new();
        let mut driver = JoinSet::new();
        driver.spawn(connection.driver.run(close.clone()).in_current_span());
        let mut running =
            Running { mux: connection.mux, inbound: connection.inbound, driver, close };

        let result = tokio::select! {
            result = timeout(HANDSHAKE_TIMEOUT, self.handshake(&mut running.inbound, &running.mux)) => result,
            Some(end) = running.driver.join_next() => Ok(Err(broken_off(end))),
            // Nobody to say goodbye to.
            () = self.ending.cancelled() => return Admission::Turned,
            () = handshake.evicted() => {
                debug!("handshake given up: too many newer ones");
                self.metrics.handshake(Handshake::Evicted);
                return Admission::Turned;
            }
        };
        let turned = match result {
            Ok(Ok(accepted)) => {
                self.metrics.handshake(Handshake::Accepted);
                return Admission::Admitted(Box::new(accepted.into_live(running, self)));
            }
            Ok(Err(turned)) => turned,
            Err(_) => {
                debug!("handshake not finished within {HANDSHAKE_TIMEOUT:?}");
                self.metrics.handshake(Handshake::Timeout);
                return Admission::Turned;
            }
        };
        match turned {
            Turned::Refused(mut control, refusal) => {
                info!(code = ?refusal.code, "client refused: {refusal}");
                self.metrics.handshake(Handshake::Refused);
                let refused = FromRelay::Refused(refusal);
                if let Ok(Ok(())) = timeout(HANDSHAKE_TIMEOUT, control.send(&refused)).await {
                    running.close.cancel();
                    running.driver.join_next().await;
                }
            }
            Turned::Invalid(reason) => {
                debug!("not a client: {reason}");
                self.metrics.handshake(Handshake::Invalid);
            }
            Turned::Lost(reason) => {
                debug!("handshake lost: {reason}");
                self.metrics.handshake(Handshake::Lost);
            }
        }
        Admission::Turned
    }

    /// Reads the `Hello`, claims the tunnels and answers.
    async fn handshake(&self, inbound: &mut Inbound, mux: &Mux) -> Result<Accepted, Turned> {
        let Some(stream) = inbound.next().await else {
            // The driver has the reason, and the caller is about to see it.
            return std::future::pending().await;
        };
        let mut control = ControlStream::new(stream.io.compat(), MAX_HELLO);
        let hello = match control.receive().await {
            Ok(FromClient::Hello(hello)) => hello,
            Ok(_) => return Err(Turned::Invalid("the first message is no Hello".into())),
            Err(ReceiveError::Closed) => {
                return Err(Turned::Lost("the control stream ended".into()));
            }
            Err(err) => return Err(Turned::Invalid(err.to_string())),
        };
        if let Err(refusal) = self.check(&hello) {
            return Err(Turned::Refused(Box::new(control), refusal));
        }

        // Before the first claim: visitors may come, and the client may answer them, before it has
        // been welcomed.
        mux.link().admit();
        let membership = self.registry.join(hello.instance);
        Span::current().record("id", membership.session());
        let streams = hello.max_streams.clamp(1, MAX_STREAMS) as usize;
        let target = Target::new(mux.clone(), streams);
        let claims: Result<Vec<Claim>, Refusal> = hello
            .tunnels
            .iter()
            .map(|request| self.registry.claim(request, target.clone()))
            .collect();
        let claims = match claims {
            Ok(claims) => claims,
            Err(refusal) => return Err(Turned::Refused(Box::new(control), refusal)),
        };

        let open = |claim: &Claim| OpenTunnel {
            name: claim.tunnel().name().clone(),
            port: claim.tunnel().port(),
        };
        let welcome = Welcome {
            session: membership.session(),
            heartbeat_ms: self.heartbeat.as_millis().try_into().unwrap_or(u64::MAX),
            tunnels: claims.iter().map(open).collect(),
        };
        control.set_limit(MAX_MESSAGE);
        if let Err(err) = control.send(&FromRelay::Welcome(welcome)).await {
            return Err(Turned::Lost(err.to_string()));
        }
        Ok(Accepted { control, membership, target, claims, hello })
    }

    /// Whether the relay can do what the client asks for, as far as the message alone tells.
    fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        let refuse = |code, message: String| Err(Refusal::new(code, message));
        if hello.version != VERSION {
            let message = format!(
                "the relay speaks version {VERSION} of the protocol, the client {}: update the \
                 older of the two",
                hello.version
            );
            return refuse(RefusalCode::Version, message);
        }
        if self.stopping.is_cancelled() {
            return refuse(RefusalCode::ShuttingDown, "the relay is stopping".into());
        }
        if hello.tunnels.is_empty() {
            return refuse(RefusalCode::BadRequest, "the client asks for no tunnel".into());
        }
        if hello.tunnels.len() > MAX_TUNNELS {
            let message = format!("a client has {MAX_TUNNELS} tunnels at most");
            return refuse(RefusalCode::TooManyTunnels, message);
        }
        let mut names: Vec<&TunnelName> = hello.tunnels.iter().map(|tunnel| &tunnel.name).collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
            let message = format!("the client asks for the tunnel `{twice}` twice");
            return refuse(RefusalCode::BadRequest, message);
        }
        Ok(())
    }
}

/// A client that has been welcomed.
struct Accepted {
    control: ControlStream,
    membership: crate::registry::Membership,
    target: Target,
    claims: Vec<Claim>,
    hello: Hello,
}

impl Accepted {
    fn into_live(self, running: Running, shared: &SessionsShared) -> Live {
        let Self { control, membership, target, claims, hello } = self;
        info!(agent = hello.agent.escape_debug().to_string(), "client connected");
        Live::new(running, control, membership, target, claims, shared.metrics.session())
    }
}

/// What it means that the driver ended during the handshake.
fn broken_off(end: Result<End, tokio::task::JoinError>) -> Turned {
    match end {
        Ok(end @ (End::Breach(_) | End::Yamux(_))) => Turned::Invalid(end.to_string()),
        Ok(end) => Turned::Lost(end.to_string()),
        Err(err) => Turned::Lost(err.to_string()),
    }
}
