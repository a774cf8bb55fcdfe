//! What the relay counts and measures, for Prometheus.
//!
//! - `certificates`: those that visitors see
//! - `list`, `of_tunnels`: every metric, once
//! - `outcome`: values of labels
//! - `tls`: handshakes and the certificate of the control port
//! - `tunnels`: the series of tunnels, which visits move
//! - `requests`: what requests of HTTP move
//! - `scrape`, `text`: what Prometheus sees of it
//! - `moved`: the same for whoever looks from time to time, in finer `buckets`
//! - `histogram`, `pulled`: what the `prometheus` crate does not have, or not small enough
//!
//! Labels are names that the relay has admitted, never anything that a visitor sends. A tunnel's
//! series come with its first visit or request, and go when the tunnel has gone for good.

mod buckets;
mod certificates;
mod histogram;
mod list;
mod moved;
mod of_tunnels;
mod outcome;
mod pulled;
mod requests;
mod scrape;
mod text;
mod tls;
mod tunnels;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::{IntGauge, TextEncoder};
use shared::carry::wire::Breach;

pub(crate) use self::buckets::{BUCKETS, middle};
pub(crate) use self::moved::Moved;
pub(crate) use self::outcome::{
    CertificateOrder, Entries, FaultCode, Handshake, HostRefusal, Keeping, KeptAs, Limit, Outcome,
    Proof, Reload, TlsHandshake, WebVersion,
};
pub(crate) use self::requests::RequestOver;
pub(crate) use self::scrape::Scrape;
pub(crate) use self::tls::TlsAttempt;
pub(crate) use self::tunnels::{Labels, Totals, TunnelMetrics};

use self::list::OfRelay;
use self::outcome::{BreachKind, DnsChange};
use self::tunnels::{Series, Tunnels};

/// All metrics of a relay. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<All>);

#[derive(Debug)]
struct All {
    relay: OfRelay,
    tunnels: Arc<Tunnels>,
}

impl Metrics {
    /// Metrics of a relay that has just started. `log_lines_dropped` is asked at each scrape.
    ///
    /// # Errors
    ///
    /// Two metrics of one name: a mistake in the list.
    pub(crate) fn new(log_lines_dropped: fn() -> u64) -> prometheus::Result<Self> {
        let relay = OfRelay::new(log_lines_dropped)?;
        Ok(Self(Arc::new(All { relay, tunnels: Arc::default() })))
    }

    /// Everything in Prometheus's text format.
    ///
    /// # Errors
    ///
    /// A metric that does not encode: a mistake in the list.
    pub(crate) fn scrape(&self) -> prometheus::Result<Scrape> {
        let relay = TextEncoder::new().encode_to_string(&self.0.relay.registry.gather())?;
        Ok(Scrape::new(self.clone(), relay))
    }

    /// Counts a handshake that is over.
    pub(crate) fn handshake(&self, outcome: Handshake) {
        self.0.relay.handshakes[outcome as usize].inc();
    }

    /// Counts a connection of the control port that broke the protocol.
    pub(crate) fn breach(&self, breach: &Breach) {
        self.0.relay.breaches[BreachKind::from(breach) as usize].inc();
    }

    /// Counts a connection that was dropped because its source is banned.
    pub(crate) fn banned_connection(&self) {
        self.0.relay.banned_connections.inc();
    }

    /// Shows how many sources are banned, as `bans` says at each scrape.
    ///
    /// # Errors
    ///
    /// It is shown already.
    pub(crate) fn show_bans(
        &self,
        bans: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        self.0.relay.show_bans(Arc::new(bans))
    }

    /// Shows what is kept of tunnels that are inspected, as these say at each scrape: how many bytes,
    /// how many exchanges and captures, and how many have made room for others.
    ///
    /// # Errors
    ///
    /// It is shown already.
    pub(crate) fn show_inspected(
        &self,
        values: [impl Fn() -> u64 + Send + Sync + 'static; 3],
    ) -> prometheus::Result<()> {
        self.0.relay.show_inspected(values.map(|value| Arc::new(value) as pulled::Value))
    }

    /// Counts a change of the configuration file.
    pub(crate) fn reload(&self, outcome: Reload) {
        self.0.relay.reloads[outcome as usize].inc();
    }

    /// Counts somebody who has come up against a limit.
    pub(crate) fn limit(&self, limit: Limit) {
        self.0.relay.limits[limit as usize].inc();
    }

    /// Counts a host name that a client did not get.
    pub(crate) fn host_refused(&self, reason: HostRefusal) {
        self.0.relay.hosts_refused[reason as usize].inc();
    }

    /// Counts a look at the proof of a host name.
    pub(crate) fn proof(&self, outcome: Proof) {
        self.0.relay.proofs[outcome as usize].inc();
    }

    /// Counts a change of the relay's zone.
    pub(crate) fn dns_update(&self, is_done: bool) {
        let outcome = if is_done { DnsChange::Done } else { DnsChange::Failed };
        self.0.relay.dns_updates[outcome as usize].inc();
    }

    /// Counts rows of statistics.
    pub(crate) fn statistics_rows(&self, outcome: KeptAs, count: u64) {
        self.0.relay.statistics_rows[outcome as usize].inc_by(count);
    }

    /// Counts entries for the history of requests.
    pub(crate) fn history_entries(&self, outcome: Entries, count: u64) {
        self.0.relay.history_entries[outcome as usize].inc_by(count);
    }

    /// Counts an attempt to write to the store that failed.
    pub(crate) fn write_failed(&self, of: Keeping) {
        self.0.relay.failed_writes[of as usize].inc();
    }

    /// Counts a client as connected until the guard is dropped.
    pub(crate) fn session(&self) -> Counted {
        Counted::in_relay(self.0.relay.sessions.clone())
    }

    /// Counts a tunnel as served until the guard is dropped.
    pub(crate) fn served_tunnel(&self) -> Counted {
        Counted::in_relay(self.0.relay.tunnels.clone())
    }

    /// How many sessions there are, and tunnels that one serves.
    pub(crate) fn served(&self) -> (i64, i64) {
        (self.0.relay.sessions.get(), self.0.relay.tunnels.get())
    }

    /// The series of one tunnel. They go when this is dropped.
    pub(crate) fn tunnel(&self, labels: Labels) -> TunnelMetrics {
        TunnelMetrics::new(Arc::clone(&self.0.tunnels), labels)
    }
}

/// One more in a gauge, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

#[derive(Debug)]
enum Gauge {
    Relay(IntGauge),
    /// The open visits of a tunnel.
    Visits(Arc<Series>),
}

impl Counted {
    fn in_relay(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(Gauge::Relay(gauge))
    }

    fn visitor(series: Arc<Series>) -> Self {
        series.visits().open.fetch_add(1, Ordering::Relaxed);
        Self(Gauge::Visits(series))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        match &self.0 {
            Gauge::Relay(gauge) => gauge.dec(),
            Gauge::Visits(series) => drop(series.visits().open.fetch_sub(1, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests;
