//! What is told of the relay and its tunnels at a glance. Unlike `/snapshot` it keeps its form: fields
//! come, and none goes or means something else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use shared::control::protocol::TunnelName;
use utoipa::ToSchema;

use crate::config::CurrentConfig;
use crate::metrics::{Metrics, Totals};
use crate::snapshot::{ClientNow, Kind, TunnelNow};

/// What is said of a relay that its parts do not know.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) config: CurrentConfig,
    pub(crate) listeners: Listeners,
    pub(crate) started: Instant,
}

/// Where the relay listens. What it does without is missing.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Listeners {
    #[schema(value_type = String)]
    pub(crate) control: SocketAddr,
    #[schema(value_type = String)]
    pub(crate) public: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) http: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) https: Option<SocketAddr>,
}

/// The answer of `/api/health`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    status: Status,
    version: &'static str,
    uptime_seconds: f64,
    /// Connections of clients.
    sessions: i64,
    /// Tunnels that a client serves.
    tunnels: i64,
    transport: Transport,
}

/// How the relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It takes visitors.
    Ok,
    /// It takes no more; those that are there may finish.
    Stopping,
}

/// The way between the relay and its clients.
#[derive(Debug, Serialize, ToSchema)]
struct Transport {
    state: TransportState,
    /// Whether clients can use TLS, and whether they have to.
    tls: bool,
    tls_required: bool,
    listeners: Listeners,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TransportState {
    /// At least one client has a connection.
    Connected,
    /// None has, and all can.
    Waiting,
    /// No more can.
    Closing,
}

/// The answer of `/api/tunnels`.
#[derive(Debug, Serialize)]
pub(super) struct Tunnels {
    tunnels: Vec<TunnelSummary>,
}

/// One tunnel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TunnelSummary {
    #[schema(value_type = String)]
    pub(super) name: TunnelName,
    pub(super) owner: String,
    kind: Kind,
    /// How visitors write its addresses.
    pub(super) public: Vec<String>,
    /// Those that claim it, the one that serves first.
    clients: Vec<ClientNow>,
    /// Visits and requests that are over.
    pub(super) requests: u64,
    /// Requests that are over, by the kind of their status.
    by_status: BTreeMap<&'static str, u64>,
    /// Visits that are over, by how they ended.
    by_outcome: BTreeMap<&'static str, u64>,
    /// Requests that the relay answered itself, by the reason.
    faults: BTreeMap<&'static str, u64>,
    /// Visits and requests that did not get what they came for, through no fault of their visitor.
    pub(super) errors: u64,
    /// Visits and requests that are going on.
    pub(super) in_flight: i64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// How long visitors waited on average for the first byte back; `null` before the first.
    average_latency_seconds: Option<f64>,
    /// That of the last answer; `null` before the first.
    last_status: Option<u16>,
}

impl Health {
    pub(super) fn of(about: &About, metrics: &Metrics, is_stopping: bool) -> Self {
        let (sessions, tunnels) = metrics.served();
        let config = about.config.now();
        Self {
            status: if is_stopping { Status::Stopping } else { Status::Ok },
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: about.started.elapsed().as_secs_f64(),
            sessions,
            tunnels,
            transport: Transport {
                state: match (is_stopping, sessions) {
                    (true, _) => TransportState::Closing,
                    (false, 0) => TransportState::Waiting,
                    (false, _) => TransportState::Connected,
                },
                tls: config.tls.source.is_some(),
                tls_required: config.tls.is_required(),
                listeners: about.listeners,
            },
        }
    }
}

impl Tunnels {
    pub(super) fn of(tunnels: Vec<TunnelNow>) -> Self {
        Self { tunnels: tunnels.into_iter().map(TunnelSummary::from).collect() }
    }
}

impl From<TunnelNow> for TunnelSummary {
    fn from(now: TunnelNow) -> Self {
        let TunnelNow { name, owner, kind, public, clients, totals, .. } = now;
        let Totals { visitors, visits, first_byte, errors, requests, bytes_in, bytes_out } = totals;
        let requests = requests.unwrap_or_default();
        Self {
            name,
            owner,
            kind,
            public,
            clients,
            requests: visits.values().chain(requests.ended.values()).sum(),
            errors,
            in_flight: visitors + requests.in_flight,
            bytes_in,
            bytes_out,
            average_latency_seconds: requests
                .latency
                .or(first_byte)
                .as_ref()
                .map(Duration::as_secs_f64),
            last_status: requests.last_status,
            by_status: requests.ended,
            by_outcome: visits,
            faults: requests.faults,
        }
    }
}
