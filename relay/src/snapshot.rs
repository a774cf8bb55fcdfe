//! What a relay is doing at one moment, as plain data for whoever looks at it from outside.
//!
//! A snapshot holds on to nothing of the relay. It is read piece by piece, each piece under its own
//! short lock, so a visit that begins meanwhile may be in one piece and not yet in another.

use std::net::SocketAddr;

use serde::Serialize;
use shared::control::protocol::TunnelName;
use utoipa::ToSchema;

use crate::entrance::Entrance;
use crate::metrics::Totals;

/// Everything there is to see.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Snapshot {
    /// In the order of their names.
    pub(crate) tunnels: Vec<TunnelNow>,
    /// In the order in which they came.
    pub(crate) sessions: Vec<SessionNow>,
}

/// A tunnel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TunnelNow {
    pub(crate) name: TunnelName,
    /// Whose it is.
    pub(crate) owner: String,
    /// By what visitors reach it, such as `port 20000`.
    pub(crate) entrances: Vec<String>,
    /// What comes in there.
    pub(crate) kind: Kind,
    /// The same as visitors write it, such as `tcp://relay.example:20000`.
    pub(crate) public: Vec<String>,
    /// The local service as the client that came last describes it.
    pub(crate) local: String,
    /// Those that claim it, the one that serves first.
    pub(crate) clients: Vec<ClientNow>,
    #[serde(flatten)]
    pub(crate) totals: Totals,
}

/// What comes in at a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Connections of TCP.
    Tcp,
    /// Requests of HTTP.
    Http,
    /// TLS connections that the relay does not open.
    Tls,
}

impl Kind {
    /// What comes in at an entrance.
    pub(crate) fn of(entrance: &Entrance) -> Self {
        match entrance {
            Entrance::Port(_) => Self::Tcp,
            Entrance::Web(_) => Self::Http,
            Entrance::ServerName(_) => Self::Tls,
        }
    }
}

/// A client that claims a tunnel.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ClientNow {
    pub(crate) standing: Standing,
    /// Whether its local service is, as it says itself.
    pub(crate) healthy: bool,
    /// The numbers of its sessions, one for each of its connections.
    pub(crate) sessions: Vec<u64>,
}

/// Whether new visitors come to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// They do.
    Live,
    /// They would, if those before it were not there.
    Standby,
    /// They would not: its local service is not healthy, and it does without visitors meanwhile.
    Withdrawn,
}

/// A session.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SessionNow {
    /// The relay's number for it, as in the log.
    pub(crate) id: u64,
    /// Whose it is.
    pub(crate) owner: String,
    /// The program at the other end and its version, as it says itself.
    pub(crate) agent: String,
    /// Where it comes from.
    #[schema(value_type = String)]
    pub(crate) address: SocketAddr,
    /// How long it has been there, in seconds.
    pub(crate) age_seconds: f64,
    /// Visits and connections for requests that it carries.
    pub(crate) streams: usize,
    /// Tunnels that it claims.
    pub(crate) tunnels: usize,
    /// The last heartbeat's round trip, in seconds. Missing before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round_trip_seconds: Option<f64>,
}

/// A visit that has reached a client.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct VisitNow {
    /// Its number, as in the logs of both ends.
    pub(crate) id: String,
    /// What it has come by: of HTTP, a connection that has changed to another protocol.
    pub(crate) kind: Kind,
    #[schema(value_type = String)]
    pub(crate) tunnel: TunnelName,
    /// Whose the tunnel is.
    pub(crate) owner: String,
    /// Where the visitor comes from.
    #[schema(value_type = String)]
    pub(crate) visitor: SocketAddr,
    /// The number of the session that serves it.
    pub(crate) session: u64,
    /// How long ago it has reached the client, in seconds.
    pub(crate) age_seconds: f64,
    /// From the visitor, and to it.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}
