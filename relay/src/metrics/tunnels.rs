//! The series of tunnels: which there are, and what moves them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use shared::control::protocol::TunnelName;

use super::Counted;
use super::list::Visits;
use super::moved::{Found, Looks};
use super::of_tunnels::Shown;
use super::outcome::Outcome;
use super::requests::{RequestTotals, Requests};

/// What tells the series of one tunnel from those of others. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels {
    pub(crate) tunnel: TunnelName,
    /// Whose it is; without one it is nobody's in particular.
    pub(crate) owner: Option<Arc<str>>,
}

/// So many tunnels that have gone are kept for the next look: about 6 MiB at most.
const MOST_DEPARTED: usize = 4096;

/// The series of all tunnels, by name and owner.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    table: Mutex<BTreeMap<Labels, Held>>,
    departed: Mutex<Departed>,
}

/// Series of tunnels that have gone since the last look.
#[derive(Debug, Default)]
struct Departed {
    /// Whether anybody looks.
    are_kept: bool,
    series: Vec<Arc<Series>>,
    /// Those that were too many.
    lost: u64,
}

/// Series, and how many [`TunnelMetrics`] move them. Two when a tunnel of that name is opened while
/// the last visits of a former one end: they go on counting where they are.
#[derive(Debug)]
struct Held {
    series: Arc<Series>,
    holders: usize,
}

/// The series of one tunnel. There is hardly anything before its first visit or request.
#[derive(Debug)]
pub(super) struct Series {
    labels: Labels,
    used: OnceLock<Box<Used>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// In nanoseconds; zero before the first heartbeat's.
    round_trip: AtomicU64,
    healthy: AtomicBool,
}

/// What there is from the first visit or request on.
#[derive(Debug)]
struct Used {
    visits: OnceLock<Box<Visits>>,
    requests: OnceLock<Box<Requests>>,
    looks: Looks,
}

impl Used {
    fn new() -> Self {
        Self { visits: OnceLock::new(), requests: OnceLock::new(), looks: Looks::new() }
    }
}

impl Series {
    fn used(&self) -> &Used {
        self.used.get_or_init(|| Box::new(Used::new()))
    }

    /// What moves with visits, from the first one on.
    pub(super) fn visits(&self) -> &Visits {
        self.used().visits.get_or_init(|| Box::new(Visits::new()))
    }

    /// What moves with requests, from the first one on.
    fn requests(&self) -> &Requests {
        self.used().requests.get_or_init(|| Box::new(Requests::new()))
    }

    fn visits_so_far(&self) -> Option<&Visits> {
        self.used.get()?.visits.get().map(|visits| &**visits)
    }

    fn requests_so_far(&self) -> Option<&Requests> {
        self.used.get()?.requests.get().map(|requests| &**requests)
    }

    /// What there is for whoever looks. None before the first visit or request.
    pub(super) fn looks(&self) -> Option<&Looks> {
        self.used.get().map(|used| &used.looks)
    }

    /// What a look finds now.
    pub(super) fn found(&self) -> Found {
        let (visits, requests) = (self.visits_so_far(), self.requests_so_far());
        Found {
            requests: requests.map_or(0, Requests::over),
            visits: visits.map_or(0, Visits::over),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            errors: visits.map_or(0, Visits::errors) + requests.map_or(0, Requests::errors),
        }
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What there is to show: nothing before the first visit or request.
    pub(super) fn shown(&self) -> Option<Shown<'_>> {
        let (visits, requests) = (self.visits_so_far(), self.requests_so_far());
        if visits.is_none() && requests.is_none() {
            return None;
        }
        let round_trip = Some(self.round_trip.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0);
        let round_trip = round_trip.map(Duration::from_nanos);
        let healthy = self.healthy.load(Ordering::Relaxed);
        let bytes_in = self.bytes_in.load(Ordering::Relaxed);
        let bytes_out = self.bytes_out.load(Ordering::Relaxed);
        Some(Shown { visits, requests, bytes_in, bytes_out, round_trip, healthy })
    }
}

impl Tunnels {
    /// The next series in the order of their names: up to `most` of those `after` one.
    pub(super) fn page(&self, after: Option<&Labels>, most: usize) -> Vec<Arc<Series>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tunnels = self.table.lock();
        let rest = tunnels.range::<Labels, _>((start, Bound::Unbounded));
        rest.take(most).map(|(_, held)| Arc::clone(&held.series)).collect()
    }

    /// Tunnels that go from now on are kept for the next look, or are not.
    pub(super) fn keep_departed(&self, keep: bool) {
        let mut departed = self.departed.lock();
        if departed.are_kept != keep {
            *departed = Departed { are_kept: keep, ..Departed::default() };
        }
    }

    /// Those that have gone since the last look, and how many more have.
    pub(super) fn take_departed(&self) -> (Vec<Arc<Series>>, u64) {
        let mut departed = self.departed.lock();
        (std::mem::take(&mut departed.series), std::mem::take(&mut departed.lost))
    }

    fn departs(&self, series: Arc<Series>) {
        // Of others there is nothing to find.
        if series.used.get().is_none() {
            return;
        }
        let mut departed = self.departed.lock();
        match departed.are_kept {
            true if departed.series.len() < MOST_DEPARTED => departed.series.push(series),
            true => departed.lost += 1,
            false => (),
        }
    }
}

/// What the visits and requests of a tunnel came to so far.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Totals {
    /// Those that are open.
    pub(crate) visitors: i64,
    /// Those that are over, by how they ended. What never happened is left out.
    pub(crate) visits: BTreeMap<&'static str, u64>,
    /// How long it took on average until a visitor had a first byte.
    #[serde(skip)]
    pub(crate) first_byte: Option<Duration>,
    /// Visits and requests that did not get what they came for, through no fault of their visitor.
    #[serde(skip)]
    pub(crate) errors: u64,
    /// What its requests came to. None has come: missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<RequestTotals>,
    /// Payload from visitors.
    pub(crate) bytes_in: u64,
    /// Payload to visitors.
    pub(crate) bytes_out: u64,
}

impl Totals {
    fn of(series: &Series) -> Self {
        let (visits, requests) = (series.visits_so_far(), series.requests_so_far());
        let ended = |outcome: Outcome| {
            let ended = visits?.ended[outcome as usize].load(Ordering::Relaxed);
            (ended > 0).then_some((outcome.label(), ended))
        };
        Self {
            visitors: visits.map_or(0, |visits| visits.open.load(Ordering::Relaxed)),
            visits: Outcome::ALL.into_iter().filter_map(ended).collect(),
            first_byte: visits.and_then(|visits| visits.first_byte.mean()),
            errors: series.found().errors,
            requests: requests.map(Requests::totals),
            bytes_in: series.bytes_in.load(Ordering::Relaxed),
            bytes_out: series.bytes_out.load(Ordering::Relaxed),
        }
    }
}

/// What moves the series of one tunnel. They go with the last holder of the name.
#[derive(Debug)]
pub(crate) struct TunnelMetrics {
    tunnels: Arc<Tunnels>,
    series: Arc<Series>,
}

impl TunnelMetrics {
    pub(super) fn new(tunnels: Arc<Tunnels>, labels: Labels) -> Self {
        let mut table = tunnels.table.lock();
        let held = table.entry(labels.clone()).or_insert_with(|| Held {
            series: Arc::new(Series {
                labels,
                used: OnceLock::new(),
                bytes_in: AtomicU64::new(0),
                bytes_out: AtomicU64::new(0),
                round_trip: AtomicU64::new(0),
                healthy: AtomicBool::new(true),
            }),
            holders: 0,
        });
        held.holders += 1;
        let series = Arc::clone(&held.series);
        drop(table);
        Self { tunnels, series }
    }

    /// Whose series they are.
    pub(crate) fn labels(&self) -> &Labels {
        self.series.labels()
    }

    /// Counts a visitor as present until the guard is dropped.
    pub(crate) fn visitor(&self) -> Counted {
        Counted::visitor(Arc::clone(&self.series))
    }

    /// Counts a visit that is over.
    pub(crate) fn ended(&self, outcome: Outcome, length: Duration) {
        let visits = self.series.visits();
        visits.ended[outcome as usize].fetch_add(1, Ordering::Relaxed);
        visits.length.observe(length);
    }

    /// Counts bytes from a visitor.
    pub(crate) fn bytes_in(&self, n: usize) {
        self.series.bytes_in.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Counts bytes to a visitor.
    pub(crate) fn bytes_out(&self, n: usize) {
        self.series.bytes_out.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The local service accepted the connection, so long after the visitor's arrival.
    pub(crate) fn connected(&self, after: Duration) {
        self.series.visits().connect.observe(after);
    }

    /// The first byte went back, so long after the visitor's arrival.
    pub(crate) fn first_byte(&self, after: Duration) {
        self.series.visits().first_byte.observe(after);
        self.looks().first_byte(after);
    }

    /// What there is for whoever looks.
    pub(super) fn looks(&self) -> &Looks {
        &self.series.used().looks
    }

    /// What moves with its requests.
    pub(super) fn requests(&self) -> &Requests {
        self.series.requests()
    }

    /// What its visits and requests came to so far.
    pub(crate) fn totals(&self) -> Totals {
        Totals::of(&self.series)
    }

    /// A client with a healthy local service claims the tunnel, or nobody says that its own is not.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.series.healthy.store(healthy, Ordering::Relaxed);
    }

    /// A heartbeat of the session that serves the tunnel came back.
    pub(crate) fn round_trip(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.series.round_trip.store(nanos, Ordering::Relaxed);
    }
}

impl Drop for TunnelMetrics {
    fn drop(&mut self) {
        let mut table = self.tunnels.table.lock();
        let mut gone = None;
        if let Entry::Occupied(mut entry) = table.entry(self.series.labels.clone()) {
            entry.get_mut().holders -= 1;
            if entry.get().holders == 0 {
                gone = Some(entry.remove());
            }
        }
        drop(table);
        if let Some(held) = gone {
            self.tunnels.departs(held.series);
        }
    }
}
