//! What requests of HTTP move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::Metrics;
use super::histogram::{Bounds, Histogram};
use super::outcome::{FaultCode, StatusClass, WebVersion};
use super::tunnels::TunnelMetrics;

/// How long a visitor waits for an answer to begin: at once, not noticed by a person, a nuisance.
static FIRST_BYTE: Bounds<3> =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(2)];

/// How long a request lasts: a page, a report or an upload, a large file or a stream of events.
static REQUEST: Bounds<3> =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10)];

/// What there is once in a tunnel that a request has come to.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) open: AtomicI64,
    pub(super) ended: [AtomicU64; StatusClass::ALL.len()],
    /// Of those the ones that the relay answered itself.
    pub(super) faults: [AtomicU64; FaultCode::ALL.len()],
    /// Of those the ones whose answer did not come to its end.
    pub(super) aborted: AtomicU64,
    /// Of those the ones of which something waited for too long to be taken.
    pub(super) timed_out: AtomicU64,
    /// Zero before the first answer.
    last_status: AtomicU16,
    pub(super) first_byte: Histogram<3>,
    pub(super) length: Histogram<3>,
}

/// A request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestOver {
    /// Zero: it was not answered.
    pub(crate) status: u16,
    /// Why the relay answered it itself, if it did.
    pub(crate) fault: Option<FaultCode>,
    /// Its answer began, and did not come to its end.
    pub(crate) aborted: bool,
    /// The same because something of it waited for too long to be taken.
    pub(crate) timed_out: bool,
    pub(crate) length: Duration,
}

/// What the requests of a tunnel came to so far.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RequestTotals {
    /// Those that are going on.
    pub(crate) in_flight: i64,
    /// Those that are over, by the kind of their status. What never happened is left out.
    pub(crate) ended: BTreeMap<&'static str, u64>,
    /// Those that the relay answered itself, by the reason.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Those whose answer did not come to its end.
    pub(crate) aborted: u64,
    /// Missing before the first answer.
    pub(crate) last_status: Option<u16>,
    /// How long it took on average until an answer began.
    #[serde(skip)]
    pub(crate) latency: Option<Duration>,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            open: AtomicI64::new(0),
            ended: StatusClass::ALL.map(|_| AtomicU64::new(0)),
            faults: FaultCode::ALL.map(|_| AtomicU64::new(0)),
            aborted: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            last_status: AtomicU16::new(0),
            first_byte: Histogram::new(&FIRST_BYTE),
            length: Histogram::new(&REQUEST),
        }
    }

    /// How many are over.
    pub(super) fn over(&self) -> u64 {
        self.ended.iter().map(|ended| ended.load(Ordering::Relaxed)).sum()
    }

    /// How many did not get what they came for, through no fault of their visitor.
    pub(super) fn errors(&self) -> u64 {
        let failed = &self.ended[StatusClass::OfServer as usize];
        failed.load(Ordering::Relaxed) + self.aborted.load(Ordering::Relaxed)
    }

    pub(super) fn totals(&self) -> RequestTotals {
        let happened = |counter: &AtomicU64, label| {
            let count = counter.load(Ordering::Relaxed);
            (count > 0).then_some((label, count))
        };
        let ended = StatusClass::ALL.into_iter();
        let faults = FaultCode::ALL.into_iter();
        let last_status = self.last_status.load(Ordering::Relaxed);
        RequestTotals {
            in_flight: self.open.load(Ordering::Relaxed),
            ended: ended
                .filter_map(|class| happened(&self.ended[class as usize], class.label()))
                .collect(),
            faults: faults
                .filter_map(|code| happened(&self.faults[code as usize], code.label()))
                .collect(),
            aborted: self.aborted.load(Ordering::Relaxed),
            last_status: (last_status > 0).then_some(last_status),
            latency: self.first_byte.mean(),
        }
    }
}

impl TunnelMetrics {
    /// Counts a request as going on, until [it is over](Self::request_over).
    pub(crate) fn request_begins(&self) {
        self.requests().open.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer begins, so long after the request's arrival.
    pub(crate) fn request_answered(&self, status: u16, after: Duration) {
        let requests = self.requests();
        requests.last_status.store(status, Ordering::Relaxed);
        requests.first_byte.observe(after);
        self.looks().first_byte(after);
    }

    /// Counts a request that [has begun](Self::request_begins).
    pub(crate) fn request_over(&self, over: &RequestOver) {
        let requests = self.requests();
        requests.open.fetch_sub(1, Ordering::Relaxed);
        let class = StatusClass::of(over.status);
        requests.ended[class as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = over.fault {
            requests.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
        }
        if over.aborted {
            requests.aborted.fetch_add(1, Ordering::Relaxed);
        }
        if over.timed_out {
            requests.timed_out.fetch_add(1, Ordering::Relaxed);
        }
        requests.length.observe(over.length);
    }
}

impl Metrics {
    /// Counts a request that is for no tunnel.
    pub(crate) fn unrouted_request(&self, fault: FaultCode) {
        self.0.relay.unrouted_requests[fault as usize].inc();
    }

    /// Counts a visitor's connection of HTTP until the guard is dropped.
    pub(crate) fn http_connection(&self, version: WebVersion) -> super::Counted {
        super::Counted::in_relay(self.0.relay.http_connections[version as usize].clone())
    }
}
