//! What the relay counts and measures, for Prometheus.
//!
//! Labels are names that the relay has admitted, never anything that a visitor sends. A tunnel's
//! series exist from the moment it opens, at zero, and go when the tunnel has gone for good.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use shared::control::protocol::TunnelName;

/// Buckets of the histograms of latencies, in seconds: from a loopback to a lost packet or two.
const LATENCY: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Buckets of the length of a visit, in seconds: from one request to a day.
const VISIT: [f64; 11] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 86400.0];

/// How a visit ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Both directions came to their end.
    Completed,
    /// One of the two TCP connections was reset, or the relay cut it when it stopped.
    Reset,
    /// No client serves the tunnel.
    NoClient,
    /// The local service could not be reached.
    LocalRefused,
    /// The local service did not answer the connection in time.
    LocalTimeout,
    /// A limit of the relay or the client was reached.
    Limit,
    /// The session was lost.
    Lost,
    /// Nothing moved for too long.
    Timeout,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Completed,
        Self::Reset,
        Self::NoClient,
        Self::LocalRefused,
        Self::LocalTimeout,
        Self::Limit,
        Self::Lost,
        Self::Timeout,
    ];

    /// The value of the label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Reset => "reset",
            Self::NoClient => "no_client",
            Self::LocalRefused => "local_refused",
            Self::LocalTimeout => "local_timeout",
            Self::Limit => "limit",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
        }
    }
}

/// How a client's handshake ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Accepted,
    Refused,
    /// Not a client, or a broken one.
    Invalid,
    /// The connection ended too early.
    Lost,
    Timeout,
    /// It had to make room for newer ones.
    Evicted,
}

impl Handshake {
    const ALL: [Self; 6] =
        [Self::Accepted, Self::Refused, Self::Invalid, Self::Lost, Self::Timeout, Self::Evicted];

    fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Evicted => "evicted",
        }
    }
}

/// All metrics of a relay. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    sessions: IntGauge,
    tunnels: IntGauge,
    handshakes: [IntCounter; Handshake::ALL.len()],
    visitors: IntGaugeVec,
    visitors_total: IntCounterVec,
    bytes: IntCounterVec,
    connect: HistogramVec,
    first_byte: HistogramVec,
    visit: HistogramVec,
    rtt: GaugeVec,
    /// How many [`TunnelMetrics`] there are of each name. Two when a tunnel of that name is opened
    /// while the last visits of a former one end: the series go with the last of them.
    tunnels_alive: Mutex<HashMap<String, usize>>,
}

impl Metrics {
    /// Metrics of a relay that has just started.
    ///
    /// # Errors
    ///
    /// Two metrics of one name: a mistake in this file.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let handshakes = register(
            &registry,
            IntCounterVec::new(
                Opts::new("relay_handshakes_total", "Handshakes of clients, by how they ended."),
                &["outcome"],
            )?,
        )?;
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(opts, &["tunnel"])?)
        };
        let families = Families {
            sessions: register(
                &registry,
                IntGauge::new("relay_sessions", "Connections of clients.")?,
            )?,
            tunnels: register(
                &registry,
                IntGauge::new("relay_tunnels", "Tunnels that a client serves.")?,
            )?,
            handshakes: Handshake::ALL
                .map(|outcome| handshakes.with_label_values(&[outcome.label()])),
            visitors: register(
                &registry,
                IntGaugeVec::new(Opts::new("relay_visitors", "Open visits."), &["tunnel"])?,
            )?,
            visitors_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("relay_visitors_total", "Visits that are over, by how they ended."),
                    &["tunnel", "outcome"],
                )?,
            )?,
            bytes: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "relay_bytes_total",
                        "Payload bytes: in from visitors, out to visitors.",
                    ),
                    &["tunnel", "direction"],
                )?,
            )?,
            connect: histogram(
                "relay_connect_seconds",
                "From a visitor's arrival to the connection of the local service.",
                &LATENCY,
            )?,
            first_byte: histogram(
                "relay_first_byte_seconds",
                "From a visitor's arrival to the first byte back.",
                &LATENCY,
            )?,
            visit: histogram("relay_visit_seconds", "Length of visits.", &VISIT)?,
            rtt: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "relay_session_rtt_seconds",
                        "Last heartbeat's round trip of the session that serves the tunnel.",
                    ),
                    &["tunnel"],
                )?,
            )?,
            registry,
            tunnels_alive: Mutex::default(),
        };
        Ok(Self(Arc::new(families)))
    }

    /// Everything in Prometheus's text format.
    ///
    /// # Errors
    ///
    /// A metric that does not encode: a mistake in this file.
    pub(crate) fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }

    /// Counts a handshake that is over.
    pub(crate) fn handshake(&self, outcome: Handshake) {
        self.0.handshakes[outcome as usize].inc();
    }

    /// Counts a client as connected until the guard is dropped.
    pub(crate) fn session(&self) -> Counted {
        Counted::new(self.0.sessions.clone())
    }

    /// Counts a tunnel as served until the guard is dropped.
    pub(crate) fn served_tunnel(&self) -> Counted {
        Counted::new(self.0.tunnels.clone())
    }

    /// The series of one tunnel. They go when this is dropped.
    pub(crate) fn tunnel(&self, name: &TunnelName) -> TunnelMetrics {
        let name = name.as_str();
        let families = &*self.0;
        let mut alive = families.tunnels_alive.lock();
        *alive.entry(name.to_owned()).or_default() += 1;
        TunnelMetrics {
            metrics: self.clone(),
            name: name.to_owned(),
            visitors: families.visitors.with_label_values(&[name]),
            outcomes: Outcome::ALL
                .map(|outcome| families.visitors_total.with_label_values(&[name, outcome.label()])),
            bytes_in: families.bytes.with_label_values(&[name, "in"]),
            bytes_out: families.bytes.with_label_values(&[name, "out"]),
            connect: families.connect.with_label_values(&[name]),
            first_byte: families.first_byte.with_label_values(&[name]),
            visit: families.visit.with_label_values(&[name]),
            rtt: families.rtt.with_label_values(&[name]),
        }
    }
}

/// The series of one tunnel, ready to be moved.
#[derive(Debug)]
pub(crate) struct TunnelMetrics {
    metrics: Metrics,
    name: String,
    visitors: IntGauge,
    outcomes: [IntCounter; Outcome::ALL.len()],
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    connect: Histogram,
    first_byte: Histogram,
    visit: Histogram,
    rtt: Gauge,
}

impl TunnelMetrics {
    /// Counts a visitor as present until the guard is dropped.
    pub(crate) fn visitor(&self) -> Counted {
        Counted::new(self.visitors.clone())
    }

    /// Counts a visit that is over.
    pub(crate) fn ended(&self, outcome: Outcome, length: Duration) {
        self.outcomes[outcome as usize].inc();
        self.visit.observe(length.as_secs_f64());
    }

    /// Counts bytes from a visitor.
    pub(crate) fn bytes_in(&self, n: usize) {
        self.bytes_in.inc_by(n as u64);
    }

    /// Counts bytes to a visitor.
    pub(crate) fn bytes_out(&self, n: usize) {
        self.bytes_out.inc_by(n as u64);
    }

    /// The local service accepted the connection, so long after the visitor's arrival.
    pub(crate) fn connected(&self, after: Duration) {
        self.connect.observe(after.as_secs_f64());
    }

    /// The first byte went back, so long after the visitor's arrival.
    pub(crate) fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
    }

    /// A heartbeat of the session that serves the tunnel came back.
    pub(crate) fn round_trip(&self, time: Duration) {
        self.rtt.set(time.as_secs_f64());
    }
}

impl Drop for TunnelMetrics {
    fn drop(&mut self) {
        let (families, name) = (&*self.metrics.0, [self.name.as_str()]);
        let mut alive = families.tunnels_alive.lock();
        if let Some(others) = alive.get_mut(&self.name)
            && *others > 1
        {
            *others -= 1;
            return;
        }
        alive.remove(&self.name);
        // Each was created with this object, so there is nothing to fail on.
        drop(families.visitors.remove_label_values(&name));
        drop(families.connect.remove_label_values(&name));
        drop(families.first_byte.remove_label_values(&name));
        drop(families.visit.remove_label_values(&name));
        drop(families.rtt.remove_label_values(&name));
        for direction in ["in", "out"] {
            drop(families.bytes.remove_label_values(&[self.name.as_str(), direction]));
        }
        for outcome in Outcome::ALL {
            let labels = [self.name.as_str(), outcome.label()];
            drop(families.visitors_total.remove_label_values(&labels));
        }
    }
}

/// One more in a gauge, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(IntGauge);

impl Counted {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
