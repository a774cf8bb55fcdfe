//! From an address to a session.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use shared::carry::mux::{End, Mux, Running};
use shared::control::channel::ReceiveError;
use shared::control::protocol::{
    FromClient, FromRelay, HANDSHAKE_TIMEOUT, Hello, InstanceId, MAX_MESSAGE, MAX_STREAMS, Refusal,
    TunnelKind, TunnelName, TunnelRequest, VERSION, Welcome,
};
use shared::kit::backoff::Backoff;
use shared::kit::logging::Foreign;
use shared::kit::net::dial_relay;
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use yamux::Mode;

use crate::config::Config;
use crate::session::{ControlStream, Session};
use crate::status::LiveTunnel;

/// The first delay before a new attempt.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest delay between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A session that lasted as long starts the delays anew when it is lost. A relay that accepts and
/// drops its clients at once is not asked more often than one that is not there.
pub(crate) const LASTED: Duration = Duration::from_secs(10);

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
    /// Something answered that is no relay, or not one of this version. Trying again cannot help.
    NotARelay(String),
    /// The tunnels have other ports there than on the client's other connections. Trying again
    /// cannot help as long as those are up.
    OtherPorts,
}

/// Dials the relay and opens the tunnels. `number` is which of the client's connections it is,
/// `ports` are those of the last session.
pub(crate) async fn connect(
    config: &Arc<Config>,
    instance: InstanceId,
    number: u16,
    ports: &HashMap<TunnelName, u16>,
) -> Result<Session, ConnectError> {
    let (host, port) = config.server.or_host("localhost");
    let socket = timeout(config.connect_timeout, dial_relay(host, port))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(ConnectError::Unreachable)?;

    let mut running = Running::start(socket, Mode::Client, MAX_STREAMS as usize);
    let hello = hello(config, instance, number, ports);
    let shaken = {
        let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(&running.mux, hello));
        let mut handshake = std::pin::pin!(handshake);
        tokio::select! {
            shaken = &mut handshake => shaken,
            Some(end) = running.driver.join_next() => tokio::select! {
                // A relay that refuses a client closes the session right behind it, so the refusal
                // may not have been read yet.
                biased;
                shaken = &mut handshake => shaken,
                () = std::future::ready(()) => Ok(Err(broken_off(end))),
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
    let tunnels = live_tunnels(config, &welcome)?;
    Ok(Session::new(Arc::clone(config), running, control, welcome, tunnels))
}

fn hello(
    config: &Config,
    instance: InstanceId,
    number: u16,
    ports: &HashMap<TunnelName, u16>,
) -> Hello {
    let request = |tunnel: &crate::tunnel::TunnelConfig| TunnelRequest {
        name: tunnel.name.clone(),
        kind: TunnelKind::Tcp,
        port: tunnel.port,
        prefer: ports.get(&tunnel.name).copied(),
    };
    Hello {
        version: VERSION,
        agent: concat!("sallyport-client/", env!("CARGO_PKG_VERSION")).into(),
        instance,
        connection: number,
        max_streams: MAX_STREAMS,
        tunnels: config.tunnels.iter().map(request).collect(),
    }
}

/// Says hello and waits for the answer. When the session ends first it waits for ever: the driver
/// has the reason.
async fn handshake(mux: &Mux, hello: Hello) -> Result<(ControlStream, Welcome), ConnectError> {
    let Ok(stream) = mux.open().await else {
        return std::future::pending().await;
    };
    let mut control = ControlStream::new(stream.io.compat(), MAX_MESSAGE);
    if control.send(&FromClient::Hello(hello)).await.is_err() {
        return std::future::pending().await;
    }
    match control.receive().await {
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

/// What the client may say of its tunnels, now that it knows their ports.
fn live_tunnels(config: &Config, welcome: &Welcome) -> Result<Vec<LiveTunnel>, ConnectError> {
    let host = match config.server.host.as_deref().unwrap_or("localhost") {
        ip if ip.contains(':') => format!("[{ip}]"),
        host => host.to_owned(),
    };
    let asked = config.tunnels.iter().map(|tunnel| &tunnel.name);
    if !asked.eq(welcome.tunnels.iter().map(|tunnel| &tunnel.name)) {
        return Err(ConnectError::NotARelay(
            "it opened other tunnels than it was asked for".into(),
        ));
    }
    let tunnels = config.tunnels.iter().zip(&welcome.tunnels);
    let live = tunnels.map(|(tunnel, open)| LiveTunnel {
        name: tunnel.name.clone(),
        public: format!("tcp://{host}:{}", open.port),
        local: tunnel.local.to_string(),
    });
    Ok(live.collect())
}

/// What it means that the driver ended during the handshake.
fn broken_off(end: Result<End, tokio::task::JoinError>) -> ConnectError {
    match end {
        Ok(end @ (End::Breach(_) | End::Yamux(_))) => ConnectError::NotARelay(end.to_string()),
        Ok(end) => ConnectError::Unreachable(io::Error::other(end.to_string())),
        Err(err) => ConnectError::Unreachable(io::Error::other(err)),
    }
}

impl ConnectError {
    /// Whether the same attempt may succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent => true,
            Self::Refused(refusal) => refusal.retry,
            Self::NotARelay(_) | Self::OtherPorts => false,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(_) => f.write_str("it cannot be reached"),
            Self::Silent => {
                f.write_str("it gives no answer: is this the address of its control port?")
            }
            Self::Refused(refusal) => write!(f, "it refused: {}", Foreign(&refusal.message)),
            Self::NotARelay(reason) => write!(f, "the other end is no relay: {}", Foreign(reason)),
            Self::OtherPorts => f.write_str("it is not the relay of the other connections"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(err) => Some(err),
            // Told in full by `Display`.
            Self::Silent | Self::Refused(_) | Self::NotARelay(_) | Self::OtherPorts => None,
        }
    }
}
