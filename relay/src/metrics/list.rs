//! The one list of the relay's own metrics: what each is called, means, is labelled with and how
//! its values are told apart. Those that tunnels have are in `of_tunnels`.
//!
//! What there is once in a relay is kept by the `prometheus` crate. What there is once in a tunnel
//! is kept as plain atomics: a relay has thousands of tunnels, and each chunk of each visit counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricType;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::histogram::{Bounds, Histogram};
use super::outcome::{
    BreachKind, CertificateOrder, DnsChange, Entries, FaultCode, Handshake, HostRefusal, Keeping,
    KeptAs, Limit, Outcome, Proof, Reload, TlsHandshake, WebVersion,
};
use super::pulled::{Pulled, Value};

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
    pub(super) http_connections: [IntGauge; WebVersion::ALL.len()],
    pub(super) unrouted_requests: [IntCounter; FaultCode::ALL.len()],
    /// In the registry only while there is a certificate.
    pub(super) certificate_expiry: IntGauge,
    pub(super) certificate_orders: [IntCounter; CertificateOrder::ALL.len()],
    pub(super) statistics_rows: [IntCounter; KeptAs::ALL.len()],
    pub(super) history_entries: [IntCounter; Entries::ALL.len()],
    pub(super) failed_writes: [IntCounter; Keeping::ALL.len()],
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
            "Changes of where all subdomains lead, by what came of them.",
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
        let http_connections = register(
            &registry,
            IntGaugeVec::new(
                Opts::new("relay_http_connections", "Connections of HTTP, by its version."),
                &["version"],
            )?,
        )?;
        let unrouted_requests = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "relay_unrouted_requests_total",
                    "Requests that are for no tunnel, by the fault they were answered with.",
                ),
                &["code"],
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
        let statistics_rows = counters(
            &registry,
            "relay_statistics_rows_total",
            "Rows of statistics, by what became of them.",
            "outcome",
        )?;
        let history_entries = counters(
            &registry,
            "relay_history_entries_total",
            "Entries for the history of requests, by what became of them.",
            "outcome",
        )?;
        let failed_writes = counters(
            &registry,
            "relay_failed_writes_total",
            "Attempts to write to the store that failed and are made again, by what was written.",
            "of",
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
        let http_connections =
            WebVersion::ALL.map(|version| http_connections.with_label_values(&[version.label()]));
        let unrouted_requests =
            FaultCode::ALL.map(|code| unrouted_requests.with_label_values(&[code.label()]));
        let statistics_rows =
            KeptAs::ALL.map(|outcome| statistics_rows.with_label_values(&[outcome.label()]));
        let history_entries =
            Entries::ALL.map(|outcome| history_entries.with_label_values(&[outcome.label()]));
        let failed_writes = Keeping::ALL.map(|of| failed_writes.with_label_values(&[of.label()]));
        Ok(Self {
            registry,
            statistics_rows,
            history_entries,
            failed_writes,
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
            http_connections,
            unrouted_requests,
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

impl OfRelay {
    /// Shows what is kept of tunnels that are inspected, as these say at each scrape.
    ///
    /// # Errors
    ///
    /// It is shown already.
    pub(super) fn show_inspected(
        &self,
        [bytes, kept, pushed_out]: [Value; 3],
    ) -> prometheus::Result<()> {
        let all = [
            (
                "relay_inspected_bytes",
                "Memory that exchanges and captures take up.",
                MetricType::GAUGE,
                bytes,
            ),
            ("relay_inspected", "Exchanges and captures that are kept.", MetricType::GAUGE, kept),
            (
                "relay_inspected_pushed_out_total",
                "Exchanges and captures that made room for others.",
                MetricType::COUNTER,
                pushed_out,
            ),
        ];
        for (name, help, kind, value) in all {
            register(&self.registry, Pulled::new(name, help, kind, value)?)?;
        }
        Ok(())
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
    pub(super) connect: Histogram<3>,
    pub(super) first_byte: Histogram<3>,
    pub(super) length: Histogram<3>,
}

impl Visits {
    pub(super) fn new() -> Self {
        Self {
            open: AtomicI64::new(0),
            ended: Outcome::ALL.map(|_| AtomicU64::new(0)),
            connect: Histogram::new(&CONNECT),
            first_byte: Histogram::new(&FIRST_BYTE),
            length: Histogram::new(&VISIT),
        }
    }

    /// How many are over.
    pub(super) fn over(&self) -> u64 {
        self.ended.iter().map(|ended| ended.load(Ordering::Relaxed)).sum()
    }

    /// How many did not get what they came for, through no fault of their visitor.
    pub(super) fn errors(&self) -> u64 {
        let failed = Outcome::ALL.into_iter().filter(|outcome| outcome.is_error());
        failed.map(|outcome| self.ended[outcome as usize].load(Ordering::Relaxed)).sum()
    }
}
