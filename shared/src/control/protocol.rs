//! What a client and a relay say to each other on the control stream: messages, refusals, limits.
//!
//! Data only, no I/O. [`channel`](crate::control::channel) carries these messages over a stream as
//! length-delimited JSON; `docs/protocol.md` shows them byte by byte. Unknown fields are ignored,
//! so that either end can be newer; an unknown message is an error.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kit::backoff::random;

/// The version of the protocol that this crate speaks. A relay refuses any other.
pub const VERSION: u32 = 1;

/// The largest control message in bytes, once the client has been admitted.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The largest control message in bytes that a relay reads from a client it has not admitted yet:
/// a stranger gets no more of its memory than this.
pub const MAX_HELLO: usize = 8 * 1024;

/// The time a client has for its whole handshake, from the accepted connection to `Welcome`.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often each end sends a heartbeat. A relay announces its own figure in [`Welcome`].
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// A session on which nothing arrives for this many heartbeats is dead.
pub const DEAD_AFTER_HEARTBEATS: u32 = 3;

/// The most streams that one session carries at a time. The relay keeps to the lower of this and
/// [`Hello::max_streams`] with permits, so that yamux's own limit, which ends the session, is
/// never reached.
pub const MAX_STREAMS: u32 = 16 * 1024;

/// The most tunnels in one session. A [`Hello`] of [`MAX_HELLO`] bytes has room for so many with
/// the longest names.
pub const MAX_TUNNELS: usize = 64;

/// The most connections of one client.
pub const MAX_CONNECTIONS: u16 = 16;

/// What a client says to a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// The first message: who is there and which tunnels it wants.
    Hello(Hello),
    /// Sent every heartbeat interval; answered with [`FromRelay::HeartbeatAck`].
    Heartbeat {
        /// Repeated in the answer.
        id: u64,
    },
    /// The answer to [`FromRelay::Heartbeat`].
    HeartbeatAck {
        /// The number of the heartbeat that is answered.
        id: u64,
    },
    /// The client is stopping: open no more streams, let the running ones finish.
    Draining,
    /// The client ends the session on purpose. Nothing follows.
    Goodbye {
        /// Why, for the log.
        reason: String,
    },
}

/// What a relay says to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRelay {
    /// The answer to a [`Hello`] that was accepted.
    Welcome(Welcome),
    /// The answer to a [`Hello`] that was not. Nothing follows.
    Refused(Refusal),
    /// A newer client serves this tunnel from now on; streams that are open go on.
    Standby {
        /// The tunnel's name.
        tunnel: TunnelName,
    },
    /// This client serves the tunnel again.
    Live {
        /// The tunnel's name.
        tunnel: TunnelName,
    },
    /// Sent every heartbeat interval; answered with [`FromClient::HeartbeatAck`].
    Heartbeat {
        /// Repeated in the answer.
        id: u64,
    },
    /// The answer to [`FromClient::Heartbeat`].
    HeartbeatAck {
        /// The number of the heartbeat that is answered.
        id: u64,
    },
    /// The relay is stopping: no new visitors come, the running ones may finish.
    Draining,
    /// The relay ends the session on purpose. Nothing follows.
    Goodbye {
        /// Why, for the log.
        reason: String,
    },
}

/// A client's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol version, [`VERSION`].
    pub version: u32,
    /// Program and version, for the log: `sallyport-client/0.1.0`.
    pub agent: String,
    /// Random for each client process.
    pub instance: InstanceId,
    /// Which of the client's connections this is, 0 the first, below [`MAX_CONNECTIONS`]. A
    /// connection that comes back replaces its own old session.
    #[serde(default, skip_serializing_if = "is_first")]
    pub connection: u16,
    /// The most streams that the client takes at a time.
    pub max_streams: u32,
    /// The tunnels it wants, at least one. All are opened, or the client is refused.
    pub tunnels: Vec<TunnelRequest>,
}

fn is_first(connection: &u16) -> bool {
    *connection == 0
}

/// One tunnel that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRequest {
    /// The tunnel's name, unique within the client.
    pub name: TunnelName,
    /// What the tunnel carries.
    pub kind: TunnelKind,
    /// The public port that the client insists on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The public port that the client had before and would like again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer: Option<u16>,
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelKind {
    /// Bytes of TCP connections, untouched.
    Tcp,
}

/// The relay's answer to a [`Hello`] that it accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The relay's number for this session, for the logs of both ends.
    pub session: u64,
    /// How often both ends send a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// The tunnels, in the order of the request.
    pub tunnels: Vec<OpenTunnel>,
}

/// One tunnel that the relay has opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTunnel {
    /// The tunnel's name.
    pub name: TunnelName,
    /// The port on the relay where visitors come in.
    pub port: u16,
}

/// Why a relay does not accept a client, and whether coming back can help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, for programs.
    pub code: RefusalCode,
    /// The reason, for people: what is wrong and what to do.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
}

/// The closed list of reasons for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The relay speaks another version of the protocol.
    Version,
    /// The request contradicts itself: no tunnel, or the same name twice.
    BadRequest,
    /// More tunnels than the relay allows in a session.
    TooManyTunnels,
    /// The port is outside the range that the relay gives out.
    PortNotAllowed,
    /// The port belongs to another tunnel or program.
    PortTaken,
    /// The tunnel exists and has another port.
    PortMismatch,
    /// No port of the relay's range is free.
    NoPortFree,
    /// The relay has as many clients as it takes.
    TooManyClients,
    /// The relay is stopping.
    ShuttingDown,
    /// The same connection has come again before this one was welcomed.
    Replaced,
    /// A reason that only newer relays know.
    #[serde(other)]
    Unknown,
}

impl Refusal {
    /// A refusal with the `retry` hint that belongs to its code.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let retry = match code {
            RefusalCode::Version
            | RefusalCode::BadRequest
            | RefusalCode::TooManyTunnels
            | RefusalCode::PortNotAllowed
            | RefusalCode::PortMismatch
            | RefusalCode::Unknown => false,
            RefusalCode::PortTaken
            | RefusalCode::NoPortFree
            | RefusalCode::TooManyClients
            | RefusalCode::ShuttingDown
            | RefusalCode::Replaced => true,
        };
        Self { code, message: message.into(), retry }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A random number that tells one client process from all others. It is a capability to replace
/// that client's session, so it is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(u128);

impl InstanceId {
    /// A new random id.
    pub fn random() -> Self {
        Self(u128::from(random()) << 64 | u128::from(random()))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstanceId(***)")
    }
}

impl TryFrom<String> for InstanceId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("an instance is 32 hexadecimal digits");
        }
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| "an instance is 32 hexadecimal digits")
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        format!("{:032x}", id.0)
    }
}

/// The name of a tunnel: 1 to 63 of `a`-`z`, `0`-`9` and `-`, neither first nor last a `-`.
///
/// The rule is that of a DNS label (RFC 1035, section 2.3.1, with the digits of RFC 1123), so that
/// a name can become part of a host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TunnelName(Box<str>);

/// The longest [`TunnelName`] in bytes.
pub const MAX_TUNNEL_NAME: usize = 63;

impl TunnelName {
    /// The tunnel that `--local` exposes and the relay's `--public` port leads to: `default`.
    pub fn default_tunnel() -> Self {
        Self("default".into())
    }

    /// Whether this is the tunnel `default`.
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TunnelName {
    type Err = BadTunnelName;

    fn from_str(text: &str) -> Result<Self, BadTunnelName> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let good = (1..=MAX_TUNNEL_NAME).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if good { Ok(Self(text.into())) } else { Err(BadTunnelName) }
    }
}

impl TryFrom<String> for TunnelName {
    type Error = BadTunnelName;

    fn try_from(text: String) -> Result<Self, BadTunnelName> {
        text.parse()
    }
}

impl From<TunnelName> for String {
    fn from(name: TunnelName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for TunnelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no [`TunnelName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTunnelName;

impl fmt::Display for BadTunnelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a tunnel's name is 1 to 63 characters of a-z, 0-9 and -, and does not begin or end with -",
        )
    }
}

impl std::error::Error for BadTunnelName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnel_names_are_dns_labels() {
        for good in ["a", "default", "my-app-2", &"x".repeat(63)] {
            assert_eq!(good.parse::<TunnelName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "ä", &"x".repeat(64)] {
            assert_eq!(bad.parse::<TunnelName>(), Err(BadTunnelName), "{bad:?}");
        }
    }

    #[test]
    fn an_instance_survives_the_wire_and_is_never_printed() {
        let id = InstanceId::random();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<InstanceId>(&json).unwrap(), id);
        assert!(!format!("{id:?}").contains(&json[1..9]));
        assert!(
            serde_json::from_str::<InstanceId>("\"+0000000000000000000000000000001\"").is_err()
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_messages_are_not() {
        let newer = r#"{"type":"heartbeat","id":7,"load":0.5}"#;
        assert_eq!(
            serde_json::from_str::<FromClient>(newer).unwrap(),
            FromClient::Heartbeat { id: 7 }
        );
        assert!(serde_json::from_str::<FromClient>(r#"{"type":"dance"}"#).is_err());
    }
}
