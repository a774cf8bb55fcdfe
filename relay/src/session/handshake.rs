//! From a connection to a session: who is there, and may it have the tunnels it wants?
//!
//! A stranger gets little: one deadline for everything, small messages and frames, and no reply to
//! anything that is not a `Hello`.

use std::sync::Arc;

use serde::Deserialize;
use shared::carry::mux::{End, Inbound, Mux, Running};
use shared::control::channel::{Control, ReceiveError};
use shared::control::protocol::{
    FromClient, FromRelay, HANDSHAKE_TIMEOUT, Hello, MAX_CONNECTIONS, MAX_HELLO, MAX_MESSAGE,
    MAX_STREAMS, MAX_TUNNELS, OpenTunnel, Refusal, RefusalCode, TunnelName, VERSION, Welcome,
};
use shared::kit::logging::Foreign;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tracing::{Span, debug, info};

use super::SessionsShared;
use super::live::Live;
use crate::limits::Place;
use crate::metrics::Handshake;
use crate::registry::Membership;
use crate::target::{ConnectionId, Target};
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
    pub(super) async fn admit(self: &Arc<Self>, mut running: Running, place: Place) -> Admission {
        let result = tokio::select! {
            result = timeout(HANDSHAKE_TIMEOUT, self.handshake(&mut running.inbound, &running.mux)) => result,
            Some(end) = running.driver.join_next() => Ok(Err(broken_off(end))),
            // Nobody to say goodbye to.
            () = self.ending.cancelled() => Ok(Err(Turned::Lost("the relay is stopping".into()))),
            () = place.evicted() => {
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
                info!(code = ?refusal.code, "client refused: {}", Foreign(&refusal.message));
                self.metrics.handshake(Handshake::Refused);
                let refused = FromRelay::Refused(refusal);
                if let Ok(Ok(())) = timeout(HANDSHAKE_TIMEOUT, control.send(&refused)).await {
                    running.close().await;
                }
            }
            Turned::Invalid(reason) => {
                debug!("not a client: {}", Foreign(&reason));
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
            Err(ReceiveError::Message(err, frame)) => {
                return Err(match not_understood(&err, &frame) {
                    Some(refusal) => Turned::Refused(Box::new(control), refusal),
                    None => Turned::Invalid(err.to_string()),
                });
            }
            Err(err) => return Err(Turned::Invalid(err.to_string())),
        };
        if let Err(refusal) = self.check(&hello) {
            return Err(Turned::Refused(Box::new(control), refusal));
        }

        // Before the first claim: visitors may come, and the client may answer them, before it has
        // been welcomed.
        mux.link().admit();
        let Some(permit) = self.limits.session() else {
            let refusal =
                Refusal::new(RefusalCode::TooManyClients, "the relay has no room for more clients");
            return Err(Turned::Refused(Box::new(control), refusal));
        };
        let connection = ConnectionId::from(&hello);
        let membership = self.registry.join(connection);
        Span::current().record("id", membership.session());
        let streams = hello.max_streams.clamp(1, MAX_STREAMS) as usize;
        let target = Target::new(connection, mux.clone(), streams);
        let claims = match self.registry.claim(&membership, &hello.tunnels, &target) {
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
        Ok(Accepted { control, membership, permit, target, claims, hello })
    }

    /// Whether the relay can do what the client asks for, as far as the message alone tells.
    fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        let refuse = |code, message: String| Err(Refusal::new(code, message));
        if hello.version != VERSION {
            return Err(other_version(hello.version));
        }
        if self.stopping.is_cancelled() {
            return refuse(RefusalCode::ShuttingDown, "the relay is stopping".into());
        }
        if hello.connection >= MAX_CONNECTIONS {
            let message = format!("a client has {MAX_CONNECTIONS} connections at most");
            return refuse(RefusalCode::BadRequest, message);
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

/// A client that has been welcomed.
struct Accepted {
    control: ControlStream,
    membership: Membership,
    permit: OwnedSemaphorePermit,
    target: Target,
    claims: Vec<Claim>,
    hello: Hello,
}

impl Accepted {
    fn into_live(self, running: Running, shared: &SessionsShared) -> Live {
        let Self { control, membership, permit, target, claims, hello } = self;
        info!(agent = %Foreign(&hello.agent), "client connected");
        let counted = (shared.metrics.session(), permit);
        Live::new(running, control, membership, target, claims, counted)
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
