//! From an address to a session.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use shared::carry::Role;
use shared::carry::mux::{End, Mux, Running};
use shared::carry::wire::Breach;
use shared::control::channel::ReceiveError;
use shared::control::protocol::{
    FIRST_PAGE, FromClient, FromRelay, HANDSHAKE_TIMEOUT, Hello, InstanceId, MAX_MESSAGE,
    MAX_STREAMS, PAGE, PublicAddress, Refusal, TunnelName, TunnelOutcome, TunnelRequest, VERSION,
    Welcome, page,
};
use shared::kit::backoff::Backoff;
use shared::kit::logging::Foreign;
use shared::kit::net::dial_relay;
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tracing::debug;

use crate::config::Config;
use crate::credential;
use crate::session::{ControlStream, Follow, NotOpened, Opened, Session, may_pass, request};
use crate::tls::{Trouble, explain};
use crate::tunnel::TunnelConfig;

/// The first delay before a new attempt.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest delay between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A session that lasted as long starts the delays anew when it is lost. A relay that accepts and
/// drops its clients at once is not asked more often than one that is not there.
pub(crate) const LASTED: Duration = Duration::from_secs(10);

/// The first byte with which a server of TLS says no to whoever does not speak it.
const TLS_ALERT: u8 = 0x15;

/// One of the connections of this client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionId {
    pub(crate) instance: InstanceId,
    /// Which it is, from 0.
    pub(crate) number: u16,
}

/// The delays between attempts.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(FIRST_DELAY, LONGEST_DELAY)
}

/// Why there is no session. One variant for each thing that the caller does differently.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The relay could not be reached, or not in time. Worth trying again.
    Unreachable(io::Error),
    /// Something took the connection and says nothing. Worth trying again.
    Silent,
    /// The relay answered and said no. The refusal knows whether that will last.
    Refused(Refusal),
    /// Something answered that is no relay, or not one of this version. Trying again helps only if
    /// there was a relay, or is going to be.
    NotARelay(String),
    /// There is no TLS connection. Trying again helps only if there was one.
    NoTls(Trouble),
    /// Whoever is on the way could listen to the token. Trying again cannot help.
    Insecure,
    /// The relay wants a proof that it could pass on to another relay. Trying again cannot help.
    Unbound,
    /// The tunnels have other ports there than on the client's other connections, which may be moving
    /// or come to an end.
    OtherPorts,
}

/// Where visitors reach each tunnel.
pub(crate) type Public = HashMap<TunnelName, Vec<PublicAddress>>;

/// Dials the relay and opens the tunnels of the configuration. `connection` says which of the
/// client's connections it is, `before` where the tunnels were in the last session.
pub(crate) async fn connect(
    follow: &Follow,
    connection: ConnectionId,
    before: &Public,
) -> Result<Session, ConnectError> {
    let config = Arc::clone(&follow.config.borrow());
    let unhealthy = Arc::clone(&follow.health.borrow());
    let (host, port) = config.server.or_host("localhost");
    let unprepared = |err| ConnectError::Unreachable(io::Error::other(err));
    let dial = follow.tls.dial(&config, host).await.map_err(unprepared)?;
    debug!(server = %config.server, "dialling the relay");
    let socket = timeout(config.connect_timeout, dial_relay(host, port))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(ConnectError::Unreachable)?;

    let is_near = socket.peer_addr().is_ok_and(|addr| addr.ip().to_canonical().is_loopback());
    if config.token.is_some() && !config.tls.is_on() && !is_near && !config.insecure {
        return Err(ConnectError::Insecure);
    }
    let mut running = Running::start(dial.over(socket), Role::Client, MAX_STREAMS as usize);
    let hello = hello(&config, host, connection, |tunnel| {
        request(tunnel, before.get(&tunnel.name), !unhealthy.contains(&tunnel.name))
    })?;
    let first = hello.tunnels.len();
    let shaken = {
        let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(&running.mux, hello, &config));
        let mut handshake = std::pin::pin!(handshake);
        tokio::select! {
            shaken = &mut handshake => shaken,
            Some(end) = running.driver.join_next() => tokio::select! {
                // A relay that refuses a client closes the session right behind it, so the refusal
                // may not have been read yet.
                biased;
                shaken = &mut handshake => shaken,
                () = std::future::ready(()) => Ok(Err(broken_off(end, &config, &running.mux))),
            },
        }
    };
    let (control, welcome) = match shaken {
        Ok(Ok(welcomed)) => welcomed,
        Ok(Err(err)) => return Err(err),
        Err(_) => {
            return Err(ConnectError::Silent);
        }
    };
    let opened = opened(&config.tunnels[..first], &welcome)?;
    let mut session = Session::new(follow.clone(), &unhealthy, running, control, &welcome, opened);
    session.open_rest().await.map_err(|err| match err {
        NotOpened::Refused(refusal) => ConnectError::Refused(refusal),
        NotOpened::Over(over) => ConnectError::Unreachable(io::Error::other(over.to_string())),
    })?;
    Ok(session)
}

fn hello(
    config: &Config,
    host: &str,
    connection: ConnectionId,
    request: impl Fn(&TunnelConfig) -> TunnelRequest,
) -> Result<Hello, ConnectError> {
    let unreachable = |err| ConnectError::Unreachable(io::Error::other(err));
    let mut tunnels: Vec<_> = config.tunnels.iter().take(PAGE).map(request).collect();
    tunnels.truncate(page(&tunnels, FIRST_PAGE));
    Ok(Hello {
        version: VERSION,
        agent: concat!("sallyport-client/", env!("CARGO_PKG_VERSION")).into(),
        instance: connection.instance,
        connection: connection.number,
        max_streams: MAX_STREAMS,
        server: host.parse().map_err(unreachable)?,
        credential: None,
        tunnels,
    })
}

/// Says hello and waits for the answer. When the session ends first it waits for ever: the driver
/// has the reason.
async fn handshake(
    mux: &Mux,
    mut hello: Hello,
    config: &Config,
) -> Result<(ControlStream, Welcome), ConnectError> {
    let Ok(stream) = mux.open().await else {
        return std::future::pending().await;
    };
    let token = config.token.as_ref();
    // Only now is it known what the session runs over.
    hello.credential = token.map(|token| credential::shown(token, mux));
    let mut control = ControlStream::new(stream.io.compat(), MAX_MESSAGE);
    if control.send(&FromClient::Hello(hello)).await.is_err() {
        return std::future::pending().await;
    }
    let mut said = control.receive().await;
    if let Ok(FromRelay::Challenge { nonce }) = said
        && let Some(answer) = credential::answer(token, nonce)
    {
        if credential::may_be_passed_on(mux) && !config.insecure {
            return Err(ConnectError::Unbound);
        }
        if control.send(&answer).await.is_err() {
            return std::future::pending().await;
        }
        said = control.receive().await;
    }
    match said {
        Ok(FromRelay::Welcome(welcome)) => Ok((control, welcome)),
        Ok(FromRelay::Refused(refusal)) => Err(ConnectError::Refused(refusal)),
        Ok(_) => Err(ConnectError::NotARelay("it says something else than welcome".into())),
        Err(err @ ReceiveError::Message(..)) => Err(ConnectError::NotARelay(err.to_string())),
        // Longer than a relay's messages are.
        Err(ReceiveError::Io(err)) if err.kind() == io::ErrorKind::InvalidData => {
            Err(ConnectError::NotARelay(err.to_string()))
        }
        Err(ReceiveError::Closed | ReceiveError::Io(_)) => std::future::pending().await,
    }
}

/// What has become of the tunnels in the `Hello`.
fn opened(asked: &[TunnelConfig], welcome: &Welcome) -> Result<Opened, ConnectError> {
    let names = welcome.tunnels.iter().map(|tunnel| &tunnel.name);
    if !asked.iter().map(|tunnel| &tunnel.name).eq(names) {
        return Err(other_tunnels());
    }
    let mut opened = Opened::default();
    for (tunnel, answer) in asked.iter().zip(&welcome.tunnels) {
        match &answer.outcome {
            TunnelOutcome::Open { public } if public.len() == tunnel.addresses() => {
                opened.open.push((tunnel.clone(), public.clone()));
            }
            TunnelOutcome::Refused(refusal) if refusal.waits_for_records() => {
                opened.waiting.push((tunnel.clone(), refusal.clone()));
            }
            TunnelOutcome::Open { .. } | TunnelOutcome::Closed | TunnelOutcome::Refused(_) => {
                return Err(other_tunnels());
            }
        }
    }
    Ok(opened)
}

fn other_tunnels() -> ConnectError {
    ConnectError::NotARelay("it opened other tunnels than it was asked for".into())
}

/// What it means that the driver ended during the handshake.
fn broken_off(
    end: Result<End, tokio::task::JoinError>,
    config: &Config,
    mux: &Mux,
) -> ConnectError {
    match end {
        Ok(End::Io(err)) if config.tls.is_on() => {
            match explain(&err, mux.link().channel().is_encrypted()) {
                Some(trouble) => ConnectError::NoTls(trouble),
                None => ConnectError::Unreachable(err),
            }
        }
        Ok(End::Breach(Breach::NotYamux(TLS_ALERT))) => {
            ConnectError::NotARelay("it speaks TLS: use --server tls://HOST:PORT".into())
        }
        Ok(end @ (End::Breach(_) | End::Yamux(_))) => ConnectError::NotARelay(end.to_string()),
        Ok(end) => ConnectError::Unreachable(io::Error::other(end.to_string())),
        Err(err) => ConnectError::Unreachable(io::Error::other(err)),
    }
}

impl ConnectError {
    /// Whether the same attempt may succeed later, given that there is a relay at this address:
    /// something else may be listening there while it is being replaced.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent | Self::NotARelay(_) | Self::NoTls(_) => true,
            Self::Refused(refusal) => refusal.retry,
            Self::Insecure | Self::Unbound | Self::OtherPorts => false,
        }
    }

    /// Whether it lasts until somebody has made a record, which is waited for.
    pub(crate) fn waits_for_records(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.waits_for_records())
    }

    /// The same as [`may_pass`](Self::may_pass) for one connection of several: the others may be about to move the tunnels that are
    /// elsewhere, or to end.
    pub(crate) fn may_pass_beside_others(&self) -> bool {
        match self {
            Self::OtherPorts => true,
            Self::Refused(refusal) => may_pass(refusal),
            _ => self.may_pass(),
        }
    }

    /// Whether the first attempt says that there is no sense in another one. Later on it may be
    /// somebody in between, or a certificate that is being renewed.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::NoTls(trouble) if trouble.is_lasting)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(err) => write!(f, "it cannot be reached: {err}"),
            Self::Silent => {
                f.write_str("it gives no answer: is this the address of its control port?")
            }
            Self::Refused(refusal) => write!(f, "it refused: {refusal}"),
            Self::NotARelay(reason) => write!(f, "the other end is no relay: {}", Foreign(reason)),
            Self::NoTls(trouble) => trouble.fmt(f),
            Self::Insecure => f.write_str(
                "the token is shown over TLS or to this machine only: use tls://, or --insecure if \
                 nobody can listen on the way to the relay",
            ),
            Self::Unbound => f.write_str(
                "it does not know this TLS connection and wants a proof of the token that it could \
                 use elsewhere: a proxy in front of it ends TLS. Use --insecure if you trust that \
                 proxy and the way behind it",
            ),
            Self::OtherPorts => f.write_str("it is not the relay of the other connections"),
        }
    }
}

/// `Display` tells all of it.
impl Error for ConnectError {}
