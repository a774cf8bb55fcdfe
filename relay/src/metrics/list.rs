//! The one list of the relay's own metrics: what each is called, means, is labelled with and how
//! its values are told apart.
//!
//! What there is once in a relay is kept by the `prometheus` crate. What there is once in a tunnel
//! is kept as plain atomics: a relay has thousands of tunnels, and each chunk of each visit counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricType;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::histogram::{Bounds, Histogram};
use super::outcome::{
    BreachKind, CertificateOrder, DnsChange, Handshake, HostRefusal, Limit, Outcome, Proof, Reload,
    TlsHandshake,
};
use super::pulled::{Pulled, Value};
use super::text::Samples;

/// How long it takes to connect the local service: the client is near, it is far or its service
/// slow, a packet was lost on the way.
static CONNECT: Bounds<3> =
    [Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1)];

/// How long a visitor waits for the first byte: at once, not noticed by a person, a nuisance.
static FIRST_BYTE: Bounds<3> =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(2)];

/// How long a visit lasts: a request, a page with its keep-alive, a shell or a web socket.
static VISIT: Bounds<3> =
    [Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(3600)];

/// What there is once in a relay.
#[derive(Debug)]
pub(super) struct OfRelay {
    pub(super) registry: Registry,
    pub(super) sessions: IntGauge,
    pub(super) tunnels: IntGauge,
    pub(super) handshakes: [IntCounter; Handshake::ALL.len()],
    pub(super) limits: [IntCounter; Limit::ALL.len()],
    pub(super) breaches: [IntCounter; BreachKind::ALL.len()],
    pub(super) banned_connections: IntCounter,
    pub(super) reloads: [IntCounter; Reload::ALL.len()],
    pub(super) hosts_refused: [IntCounter; HostRefusal::ALL.len()],
    pub(super) proofs: [IntCounter; Proof::ALL.len()],
    pub(super) dns_updates: [IntCounter; DnsChange::ALL.len()],
    pub(super) tls_handshakes: [IntCounter; TlsHandshake::ALL.len()],
    /// In the registry only while there is a certificate.
    pub(super) certificate_expiry: IntGauge,
    pub(super) certificate_orders: [IntCounter; CertificateOrder::ALL.len()],
}

impl OfRelay {
    /// `log_lines_dropped` is asked at each scrape.
    ///
    /// # Errors
    ///
    /// Two metrics of one name: a mistake in this file.
    pub(super) fn new(log_lines_dropped: fn() -> u64) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let sessions =
            register(&registry, IntGauge::new("relay_sessions", "Connections of clients.")?)?;
        let tunnels =
            register(&registry, IntGauge::new("relay_tunnels", "Tunnels that a client serves.")?)?;
        let handshakes = register(
            &registry,
            IntCounterVec::new(
                Opts::new("relay_handshakes_total", "Handshakes of clients, by how they ended."),
                &["outcome"],
            )?,
        )?;
        let limits = register(
            &registry,
            IntCounterVec::new(
                Opts::new("relay_limits_total", "Visitors and clients turned away by a limit."),
                &["limit"],
            )?,
        )?;
        let breaches = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "relay_breaches_total",
                    "Connections to the control port that broke the protocol, by how.",
                ),
                &["kind"],
            )?,
        )?;
        let banned_connections = register(
            &registry,
            IntCounter::new(
                "relay_banned_connections_total",
                "Connections that were dropped because their source is banned.",
            )?,
        )?;
        let reloads = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "relay_config_reloads_total",
                    "Changes of the configuration file, by what came of them.",
                ),
                &["outcome"],
            )?,
        )?;
        let hosts_refused = counters(
            &registry,
            "relay_hosts_refused_total",
            "Host names that a client did not get, by why.",
            "reason",
        )?;
        let proofs = counters(
            &registry,
            "relay_host_proofs_total",
            "Looks at the proofs of host names, by what came of them.",
            "outcome",
        )?;
        let dns_updates = counters(
            &registry,
            "relay_dns_updates_total",
            "Changes of the relay's zone, by what came of them.",
            "outcome",
        )?;
        let tls_handshakes = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "relay_tls_handshakes_total",
                    "TLS handshakes at the control port, by how they ended.",
                ),
                &["outcome"],
            )?,
        )?;
        let certificate_expiry = IntGauge::new(
            "relay_tls_certificate_expiry_timestamp_seconds",
            "When the certificate of the control port expires, in seconds since 1970.",
        )?;
        let certificate_orders = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "relay_certificate_orders_total",
                    "Orders of certificates for visitors, by what came of them.",
                ),
                &["outcome"],
            )?,
        )?;
        register(
            &registry,
            Pulled::new(
                "relay_log_lines_dropped_total",
                "Lines left out of the log because nobody read it fast enough, or of the audit log.",
                MetricType::COUNTER,
                Arc::new(log_lines_dropped),
            )?,
        )?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let handshakes =
            Handshake::ALL.map(|outcome| handshakes.with_label_values(&[outcome.label()]));
        let limits = Limit::ALL.map(|limit| limits.with_label_values(&[limit.label()]));
        let breaches = BreachKind::ALL.map(|kind| breaches.with_label_values(&[kind.label()]));
        let reloads = Reload::ALL.map(|outcome| reloads.with_label_values(&[outcome.label()]));
        let hosts_refused =
            HostRefusal::ALL.map(|reason| hosts_refused.with_label_values(&[reason.label()]));
        let proofs = Proof::ALL.map(|outcome| proofs.with_label_values(&[outcome.label()]));
        let dns_updates =
            DnsChange::ALL.map(|outcome| dns_updates.with_label_values(&[outcome.label()]));
        let tls_handshakes =
            TlsHandshake::ALL.map(|outcome| tls_handshakes.with_label_values(&[outcome.label()]));
        let certificate_orders = CertificateOrder::ALL
            .map(|outcome| certificate_orders.with_label_values(&[outcome.label()]));
        Ok(Self {
            registry,
            sessions,
            tunnels,
            handshakes,
            limits,
            breaches,
            banned_connections,
            reloads,
            hosts_refused,
            proofs,
            dns_updates,
            tls_handshakes,
            certificate_expiry,
            certificate_orders,
        })
    }
}

impl OfRelay {
    /// Shows how many sources are banned, as `bans` says at each scrape.
    ///
    /// # Errors
    ///
    /// It is shown already.
    pub(super) fn show_bans(&self, bans: Value) -> prometheus::Result<()> {
        let (name, help) = ("relay_bans", "Sources that are banned.");
        register(&self.registry, Pulled::new(name, help, MetricType::GAUGE, bans)?).map(drop)
    }
}

/// Counters that one label tells apart.
fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// What there is once in a tunnel that somebody has visited.
#[derive(Debug)]
pub(super) struct Visits {
    pub(super) open: AtomicI64,
    pub(super) ended: [AtomicU64; Outcome::ALL.len()],
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) connect: Histogram<3>,
    pub(super) first_byte: Histogram<3>,
    pub(super) length: Histogram<3>,
}

impl Visits {
    pub(super) fn new() -> Self {
        Self {
            open: AtomicI64::new(0),
            ended: Outcome::ALL.map(|_| AtomicU64::new(0)),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            connect: Histogram::new(&CONNECT),
            first_byte: Histogram::new(&FIRST_BYTE),
            length: Histogram::new(&VISIT),
        }
    }
}

/// A metric that every visited tunnel has, labelled with the tunnel's name.
pub(super) struct OfTunnels {
    pub(super) name: &'static str,
    /// Prometheus's name for the type.
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    /// Writes the samples of one tunnel.
    pub(super) write: fn(&Shown<'_>, &mut Samples<'_>),
}

/// What a tunnel shows.
pub(super) struct Shown<'a> {
    pub(super) visits: &'a Visits,
    /// None before the first heartbeat's.
    pub(super) round_trip: Option<Duration>,
    pub(super) healthy: bool,
}

/// All metrics of tunnels, in the order in which they are shown.
pub(super) static OF_TUNNELS: [OfTunnels; 8] = [
    OfTunnels {
        name: "relay_visitors",
        kind: "gauge",
        help: "Open visits.",
        write: |shown, samples| samples.number(shown.visits.open.load(Ordering::Relaxed)),
    },
    OfTunnels {
        name: "relay_visitors_total",
        kind: "counter",
        help: "Visits that are over, by how they ended.",
        write: |shown, samples| {
            for outcome in Outcome::ALL {
                let visits = shown.visits.ended[outcome as usize].load(Ordering::Relaxed);
                // Of nine ways to fail most tunnels see one or two.
                if visits > 0 || outcome == Outcome::Completed {
                    samples.labelled("outcome", outcome.label(), visits);
                }
            }
        },
    },
    OfTunnels {
        name: "relay_bytes_total",
        kind: "counter",
        help: "Payload bytes: in from visitors, out to visitors.",
        write: |shown, samples| {
            samples.labelled("direction", "in", shown.visits.bytes_in.load(Ordering::Relaxed));
            samples.labelled("direction", "out", shown.visits.bytes_out.load(Ordering::Relaxed));
        },
    },
    OfTunnels {
        name: "relay_connect_seconds",
        kind: "histogram",
        help: "From a visitor's arrival to the connection of the local service.",
        write: |shown, samples| samples.histogram(&shown.visits.connect.read()),
    },
    OfTunnels {
        name: "relay_first_byte_seconds",
        kind: "histogram",
        help: "From a visitor's arrival to the first byte back.",
        write: |shown, samples| samples.histogram(&shown.visits.first_byte.read()),
    },
    OfTunnels {
        name: "relay_visit_seconds",
        kind: "histogram",
        help: "Length of visits.",
        write: |shown, samples| samples.histogram(&shown.visits.length.read()),
    },
    OfTunnels {
        name: "relay_tunnel_healthy",
        kind: "gauge",
        help: "Whether a client with a healthy local service claims the tunnel, if any claims it.",
        write: |shown, samples| samples.number(u8::from(shown.healthy)),
    },
    OfTunnels {
        name: "relay_session_rtt_seconds",
        kind: "gauge",
        help: "Last heartbeat's round trip of the session that serves the tunnel.",
        write: |shown, samples| {
            if let Some(round_trip) = shown.round_trip {
                samples.time(round_trip);
            }
        },
    },
];
