//! What is told of a second, and to whom.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::summary::TunnelSummary;
use crate::snapshot::SessionNow;

/// Whom something is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::admin) enum Audience {
    /// Those who may see everything.
    All,
    /// This owner.
    Owner(String),
    /// Those who look at the tunnel with this id alone.
    Tunnel(String),
}

/// What has happened in about a second, for everybody. What an audience is told of it is put into
/// words once, however many watch.
#[derive(Debug)]
pub(in crate::admin) struct Tick {
    number: u64,
    at: SystemTime,
    /// Each with its owner, as all of these.
    events: Vec<(String, Event)>,
    figures: Vec<(String, String, Figures)>,
    sums: BTreeMap<String, Sums>,
    words: Mutex<HashMap<Audience, Option<Bytes>>>,
}

/// What is told of a tick.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tick)]
pub(in crate::admin) struct Told<'a> {
    /// It counts up while anybody watches. Where one is missing, something was.
    number: u64,
    /// When that was, in milliseconds since 1970.
    at_ms: u64,
    /// What has happened.
    events: Vec<&'a Event>,
    /// The figures of tunnels that have changed, by the tunnel's id, as they are now.
    figures: BTreeMap<&'a str, Figures>,
    /// What there is of the audience in all.
    sums: Sums,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(in crate::admin) enum Event {
    /// A client has connected.
    SessionJoined {
        session: u64,
        agent: String,
        #[schema(value_type = String)]
        address: SocketAddr,
    },
    /// A client's connection has ended.
    SessionLeft { session: u64 },
    /// There is a new tunnel.
    TunnelOpened { tunnel: String },
    /// A tunnel has gone for good.
    TunnelClosed { tunnel: String },
    /// A client serves the tunnel.
    TunnelLive { tunnel: String },
    /// No client serves it any more.
    TunnelWaiting { tunnel: String },
    /// Its local service is well again.
    TunnelHealthy { tunnel: String },
    /// No client has a local service for it that is well.
    TunnelUnhealthy { tunnel: String },
}

/// What a tunnel has served, from its beginning on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::admin) struct Figures {
    /// Visits and requests that are going on.
    pub(super) in_flight: i64,
    /// Those that are over.
    pub(super) requests: u64,
    /// Those that did not get what they came for.
    pub(super) errors: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// What there is in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::admin) struct Sums {
    /// Connections of clients.
    pub(super) sessions: u64,
    /// Tunnels that a client serves.
    pub(super) tunnels: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

impl Tick {
    pub(super) fn new(
        number: u64,
        at: SystemTime,
        events: Vec<(String, Event)>,
        figures: Vec<(String, String, Figures)>,
        sums: BTreeMap<String, Sums>,
    ) -> Self {
        Self { number, at, events, figures, sums, words: Mutex::default() }
    }

    /// What this audience is told, as JSON. `None`: nothing has happened that concerns it.
    pub(super) fn for_audience(&self, audience: &Audience) -> Option<Bytes> {
        let mut words = self.words.lock();
        if let Some(told) = words.get(audience) {
            return told.clone();
        }
        let told = self.put_into_words(audience);
        words.insert(audience.clone(), told.clone());
        told
    }

    fn put_into_words(&self, audience: &Audience) -> Option<Bytes> {
        let events = self.events.iter();
        let events = events.filter(|(owner, event)| audience.is_for(owner, event.tunnel()));
        let events: Vec<_> = events.map(|(_, event)| event).collect();
        let figures = self.figures.iter();
        let figures = figures.filter(|(owner, id, _)| audience.is_for(owner, Some(id)));
        let figures: BTreeMap<_, _> = figures.map(|(_, id, now)| (id.as_str(), *now)).collect();
        if events.is_empty() && figures.is_empty() {
            return None;
        }
        let mut sums = Sums::default();
        for (_, sum) in self.sums.iter().filter(|(owner, _)| audience.is_for(owner, None)) {
            sums.add(sum);
        }
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let told = Told { number: self.number, at_ms, events, figures, sums };
        // Text and numbers: there is nothing in it that does not encode.
        serde_json::to_vec(&told).ok().map(Bytes::from)
    }
}

impl Audience {
    /// Whether it is for what is somebody's, and about a tunnel if it is about one.
    fn is_for(&self, whose: &str, tunnel: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Owner(owner) => owner == whose,
            Self::Tunnel(wanted) => tunnel == Some(wanted.as_str()),
        }
    }
}

impl Event {
    /// The tunnel that it is about, if it is about one.
    fn tunnel(&self) -> Option<&str> {
        match self {
            Self::TunnelOpened { tunnel }
            | Self::TunnelClosed { tunnel }
            | Self::TunnelLive { tunnel }
            | Self::TunnelWaiting { tunnel }
            | Self::TunnelHealthy { tunnel }
            | Self::TunnelUnhealthy { tunnel } => Some(tunnel),
            Self::SessionJoined { .. } | Self::SessionLeft { .. } => None,
        }
    }

    pub(super) fn session_joined(session: &SessionNow) -> Self {
        let SessionNow { id, agent, address, .. } = session;
        Self::SessionJoined { session: *id, agent: agent.clone(), address: *address }
    }
}

impl Figures {
    pub(super) fn of(tunnel: &TunnelSummary) -> Self {
        let TunnelSummary { in_flight, requests, errors, bytes_in, bytes_out, .. } = tunnel;
        Self {
            in_flight: *in_flight,
            requests: *requests,
            errors: *errors,
            bytes_in: *bytes_in,
            bytes_out: *bytes_out,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.in_flight += other.in_flight;
        self.requests += other.requests;
        self.errors += other.errors;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.tunnels += other.tunnels;
        self.figures.add(&other.figures);
    }
}
