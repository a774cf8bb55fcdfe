//! The messages, one enum for each direction.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{
    Credential, HostName, HttpOptions, InstanceId, PathPrefix, PublicAddress, Refusal, TunnelName,
    WebHost,
};
use crate::kit::net::Rules;
use crate::token::{Nonce, Proof};

/// What a client says to a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// The first message: who is there and which tunnels it wants.
    Hello(Hello),
    /// The answer to [`FromRelay::Challenge`].
    Proof {
        /// The challenge, signed with the token.
        proof: Proof,
    },
    /// More tunnels, [`PAGE`](super::PAGE) at most. Each is answered in [`FromRelay::Answer`]: what
    /// is refused leaves the others alone.
    Open {
        /// Repeated in the answer.
        id: u64,
        /// The tunnels to open.
        tunnels: Vec<TunnelRequest>,
    },
    /// These tunnels lead elsewhere or have other options from now on, [`PAGE`](super::PAGE) at
    /// most. Where the public reaches them cannot change.
    Update {
        /// Repeated in the answer.
        id: u64,
        /// The tunnels as they are from now on.
        tunnels: Vec<TunnelRequest>,
    },
    /// The client gives these tunnels up, [`PAGE`](super::PAGE) at most. Visits that are open go
    /// on.
    Close {
        /// Repeated in the answer.
        id: u64,
        /// The tunnels to close.
        tunnels: Vec<TunnelName>,
    },
    /// The health of local services has changed.
    Health {
        /// The tunnels that lead to them, [`PAGE`](super::PAGE) at most.
        tunnels: Vec<TunnelHealth>,
    },
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
    /// The answer to a [`Hello`] that was not accepted; or, at any time, what has become of the
    /// right to be here. Nothing follows.
    Refused(Refusal),
    /// The client is to prove that it holds the token that it has shown.
    Challenge {
        /// What to sign.
        nonce: Nonce,
    },
    /// The answer to [`FromClient::Open`], [`FromClient::Update`] or [`FromClient::Close`].
    Answer {
        /// The number of the message that is answered.
        id: u64,
        /// What became of each tunnel, in the order of the message.
        tunnels: Vec<TunnelAnswer>,
    },
    /// Another client serves this tunnel from now on; streams that are open go on.
    Standby {
        /// The tunnel's name.
        tunnel: TunnelName,
    },
    /// The relay has closed this tunnel, which the client does not have any more.
    Closed {
        /// The tunnel's name.
        tunnel: TunnelName,
        /// Why.
        refusal: Refusal,
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

/// What either end says to keep a session going, or to end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Common {
    /// Are you there?
    Heartbeat(u64),
    /// Yes.
    HeartbeatAck(u64),
    /// The session ends on purpose, and the text says why. Nothing follows.
    Goodbye(String),
}

/// The messages of one direction.
pub trait Message: Serialize + DeserializeOwned + Sized {
    /// The message, if it is one that both ends say.
    ///
    /// # Errors
    ///
    /// The message itself, if it is one of its own direction.
    fn common(self) -> Result<Common, Self>;

    /// A message that both ends say, in this direction.
    fn from_common(common: Common) -> Self;
}

/// The two directions name what they have in common alike.
macro_rules! message {
    ($direction:ty) => {
        impl Message for $direction {
            fn common(self) -> Result<Common, Self> {
                match self {
                    Self::Heartbeat { id } => Ok(Common::Heartbeat(id)),
                    Self::HeartbeatAck { id } => Ok(Common::HeartbeatAck(id)),
                    Self::Goodbye { reason } => Ok(Common::Goodbye(reason)),
                    own => Err(own),
                }
            }

            fn from_common(common: Common) -> Self {
                match common {
                    Common::Heartbeat(id) => Self::Heartbeat { id },
                    Common::HeartbeatAck(id) => Self::HeartbeatAck { id },
                    Common::Goodbye(reason) => Self::Goodbye { reason },
                }
            }
        }
    };
}

message!(FromClient);
message!(FromRelay);

/// A client's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol version, [`VERSION`](super::VERSION).
    pub version: u32,
    /// Program and version, for the log: `sallyport-client/0.1.0`.
    pub agent: String,
    /// Random for each client process.
    pub instance: InstanceId,
    /// Which of the client's connections this is, 0 the first, below
    /// [`MAX_CONNECTIONS`](super::MAX_CONNECTIONS). A connection that comes back replaces its own
    /// old session.
    #[serde(default, skip_serializing_if = "is_first")]
    pub connection: u16,
    /// The most streams that the client takes at a time.
    pub max_streams: u32,
    /// The name by which the client reached the relay. A relay that was not told its own name goes
    /// by it, as a web server does by the `Host` of a request.
    pub server: HostName,
    /// Who the client is. Without one it is anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// The first page of the tunnels it wants. All are opened, or the client is refused; but those
    /// that only [wait](Refusal::waits_for_records) are refused alone.
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
    /// By what the public is to reach it: one at least, [`MAX_ENTRANCES`](super::MAX_ENTRANCES) at
    /// most.
    pub entrances: Vec<EntranceRequest>,
    /// The local service as the client writes it, for the operator of the relay to see.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub local: String,
    /// Whether another client serves the tunnel while the local service of this one is not healthy,
    /// and nobody if there is no other.
    #[serde(default, skip_serializing_if = "is_false")]
    pub withdraw: bool,
    /// Whether the local service is healthy, as far as the client knows.
    #[serde(default = "healthy", skip_serializing_if = "is_true")]
    pub healthy: bool,
    /// Whether the client wants to know where visitors have connected to.
    #[serde(default, skip_serializing_if = "is_false")]
    pub destination: bool,
    /// Who may visit it. [`MAX_NETWORKS`](crate::kit::net::MAX_NETWORKS) at most, both lists
    /// together.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
    /// What is done with its requests, if it is an HTTP tunnel.
    /// [`MAX_HTTP_OPTIONS`](super::MAX_HTTP_OPTIONS) bytes of JSON at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpOptions>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_true(value: &bool) -> bool {
    *value
}

fn healthy() -> bool {
    true
}

/// By what the public is to reach a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntranceRequest {
    /// A port, for bytes of TCP connections, untouched.
    Tcp {
        /// The port that the client insists on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// The port that the client had before and would like again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefer: Option<u16>,
    },
    /// A host and a path, for requests of HTTP.
    Http {
        /// The host.
        #[serde(flatten)]
        at: WebHost,
        /// What the paths begin with.
        #[serde(default, skip_serializing_if = "PathPrefix::is_root")]
        path: PathPrefix,
    },
    /// A host, for TLS connections that name it (SNI, RFC 6066, section 3), untouched.
    Tls {
        /// The host.
        #[serde(flatten)]
        at: WebHost,
    },
}

/// The relay's answer to a [`Hello`] that it accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The relay's number for this session, for the logs of both ends.
    pub session: u64,
    /// How often both ends send a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// What became of each tunnel, in the order of the request: it is open, or refused alone because
    /// it waits for somebody to make a record.
    pub tunnels: Vec<TunnelAnswer>,
}

/// What became of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelAnswer {
    /// The tunnel's name.
    pub name: TunnelName,
    /// What it is now.
    #[serde(flatten)]
    pub outcome: TunnelOutcome,
}

/// What a tunnel is after a message that concerned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum TunnelOutcome {
    /// It is open.
    Open {
        /// Where visitors reach it, as the relay knows it.
        public: Vec<PublicAddress>,
    },
    /// The client does not have it any more.
    Closed,
    /// It is as it was, and this is why.
    Refused(Refusal),
}

/// The health of the local service behind a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelHealth {
    /// The tunnel's name.
    pub name: TunnelName,
    /// Whether it is healthy.
    pub healthy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::RefusalCode;

    #[test]
    fn unknown_fields_are_ignored_and_unknown_messages_are_not() {
        let newer = r#"{"type":"heartbeat","id":7,"load":0.5}"#;
        assert_eq!(
            serde_json::from_str::<FromClient>(newer).unwrap(),
            FromClient::Heartbeat { id: 7 }
        );
        assert!(serde_json::from_str::<FromClient>(r#"{"type":"dance"}"#).is_err());
    }

    #[test]
    fn messages_look_as_documented() {
        let request = TunnelRequest {
            name: "ssh".parse().unwrap(),
            entrances: vec![EntranceRequest::Tcp { port: None, prefer: Some(20022) }],
            local: "127.0.0.1:22".into(),
            withdraw: false,
            healthy: true,
            destination: false,
            rules: Rules::default(),
            http: None,
        };
        let open = FromClient::Open { id: 1, tunnels: vec![request] };
        let json = r#"{"type":"open","id":1,"tunnels":[{"name":"ssh","entrances":[{"kind":"tcp","prefer":20022}],"local":"127.0.0.1:22"}]}"#;
        assert_eq!(serde_json::to_string(&open).unwrap(), json);
        assert_eq!(serde_json::from_str::<FromClient>(json).unwrap(), open);

        let entrance = EntranceRequest::Http {
            at: WebHost::Subdomain("app".parse().unwrap()),
            path: "/api".parse().unwrap(),
        };
        let json = r#"{"kind":"http","subdomain":"app","path":"/api"}"#;
        assert_eq!(serde_json::to_string(&entrance).unwrap(), json);
        assert_eq!(serde_json::from_str::<EntranceRequest>(json).unwrap(), entrance);

        let answer = |name: &str, outcome| TunnelAnswer { name: name.parse().unwrap(), outcome };
        let public = vec!["tcp://relay.example:20022".parse().unwrap()];
        let refusal = Refusal::new(RefusalCode::PortTaken, "no");
        let tunnels = vec![
            answer("ssh", TunnelOutcome::Open { public }),
            answer("web", TunnelOutcome::Closed),
            answer("db", TunnelOutcome::Refused(refusal)),
        ];
        let answer = FromRelay::Answer { id: 1, tunnels };
        let json = r#"{"type":"answer","id":1,"tunnels":[{"name":"ssh","is":"open","public":["tcp://relay.example:20022"]},{"name":"web","is":"closed"},{"name":"db","is":"refused","code":"port_taken","message":"no","retry":true}]}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        assert_eq!(serde_json::from_str::<FromRelay>(json).unwrap(), answer);
    }
}
