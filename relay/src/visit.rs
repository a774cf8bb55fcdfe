//! The account of one visit, whatever carries it: who came, from where, through which entrance, how
//! it ended, what moved, and its lines in the log.

mod cut;
mod list;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use shared::kit::logging::Rate;
use shared::visit::bridge::{Ended, Observer};
use shared::visit::id::VisitId;
use shared::visit::open::Open;
use shared::visit::record::{Abort, FailureReason};
use shared::visit::stream::Broken;
use tracing::info;

use crate::entrance::Entrance;
use crate::inspect::{self, CaptureTap, Speaker};
use crate::limits::Allowance;
use crate::metrics::{Counted, Limit, Outcome};
use crate::snapshot::Kind;
use crate::statistics::{History, VisitOver};
use crate::target::OpenError;
use crate::tunnel::Tunnel;

pub(crate) use self::list::{Ending, Listed, Placed, Visits};

/// Beginnings of visits that may come to be served: a stranger can have as many as it likes. Those
/// that are left out are logged later if they are served, else counted at their end.
static BEGUN: Rate = Rate::new(|_| ());

/// Ends of visits that never reached a local service.
static NOT_SERVED: Rate = Rate::new(|more| {
    info!(left_out = more.count, "visits over that were not served: {more}");
});

/// Visits that wait for a bandwidth.
static SLOWED: Rate = Rate::new(|more| info!(left_out = more.count, "visits slowed: {more}"));

/// A visit that is going on. It is counted and logged when dropped, so none is forgotten, not even
/// one that was cut off.
#[derive(Debug)]
pub(crate) struct Visit {
    tunnel: Arc<Tunnel>,
    entrance: Entrance,
    id: VisitId,
    visitor: SocketAddr,
    arrived: Instant,
    bytes_in: u64,
    bytes_out: u64,
    /// Its place in the list of visits, once it has reached a client.
    listed: Option<Listed>,
    /// Its beginning has been logged.
    begun: bool,
    /// The local service was reached.
    served: bool,
    /// How it ended, as soon as that is known.
    outcome: Outcome,
    reason: Cow<'static, str>,
    /// What it may move, if that is limited.
    allowance: Option<Box<Allowance>>,
    /// How long it took until the first byte went back, in microseconds. Zero before it.
    first_byte: u64,
    history: History,
    /// Takes it down for the tunnel's owner, if the tunnel is inspected.
    tap: Option<Box<CaptureTap>>,
    _present: Counted,
}

impl Visit {
    /// The visit number `id`, of `visitor` as far as is known yet, begins. It is to be
    /// [announced](Self::announce).
    pub(crate) fn begin(
        tunnel: Arc<Tunnel>,
        entrance: Entrance,
        id: VisitId,
        visitor: SocketAddr,
        history: History,
    ) -> Self {
        let on = tunnel.inspection().now();
        Self {
            tap: on.and_then(|on| on.capture(id, visitor)).map(Box::new),
            _present: tunnel.metrics().visitor(),
            tunnel,
            entrance,
            id,
            visitor,
            arrived: Instant::now(),
            bytes_in: 0,
            bytes_out: 0,
            listed: None,
            begun: false,
            served: false,
            outcome: Outcome::Reset,
            reason: "cut off: the relay is stopping".into(),
            allowance: None,
            first_byte: 0,
            history,
        }
    }

    /// Where the visitor comes from, as far as is known.
    pub(crate) fn visitor(&self) -> SocketAddr {
        self.visitor
    }

    /// Somebody else said where the visitor really comes from.
    pub(crate) fn comes_from(&mut self, visitor: SocketAddr) {
        self.visitor = visitor;
        if let Some(tap) = &self.tap {
            tap.comes_from(visitor);
        }
    }

    /// It is known where the visitor comes from: logs the beginning.
    pub(crate) fn announce(&mut self) {
        if BEGUN.allows() {
            self.log_begun();
        }
    }

    fn log_begun(&mut self) {
        self.begun = true;
        info!(
            visit = %self.id,
            tunnel = %self.tunnel.name(),
            addr = %self.visitor,
            entrance = %self.entrance,
            "visitor connected",
        );
    }

    /// What the client is told of it.
    pub(crate) fn open(&self) -> Open {
        Open::new(self.id, self.tunnel.name().clone(), self.visitor)
    }

    /// No target takes it.
    pub(crate) fn not_placed(&mut self, err: OpenError) {
        match err {
            OpenError::Gone => self.end(Outcome::NoClient, "no client serves the tunnel"),
            OpenError::Full | OpenError::FullForSource => {
                self.end(Outcome::Limit, "the session has no room for more streams");
            }
            OpenError::Unresponsive => {
                self.end(Outcome::Timeout, "the client does not take more streams");
            }
        }
    }

    /// A client has taken it, by the session of this number: others see it from now on, and can end
    /// it.
    pub(crate) fn placed(&mut self, visits: &Visits, session: u64) -> Ending {
        let (id, kind) = (self.id, Kind::of(&self.entrance));
        let (tunnel, visitor) = (Arc::clone(&self.tunnel), self.visitor);
        let listed = visits.list(Placed { id, kind, tunnel, visitor, session });
        self.listed.insert(listed).ending()
    }

    /// What it may move from now on.
    pub(crate) fn limit(&mut self, allowance: Option<Allowance>) {
        self.allowance = allowance.map(Box::new);
    }

    /// Each bandwidth that the visit has to wait for is logged, once.
    fn note_whether_slowed(&mut self, now: Poll<usize>) -> Poll<usize> {
        if now.is_pending()
            && let Some(limit) = self.allowance.as_mut().and_then(|all| all.newly_slowed_by())
            && SLOWED.allows()
        {
            let (id, tunnel) = (self.id, self.tunnel.name());
            info!(visit = %id, %tunnel, "visit slowed: too many {}", limit.of_what());
        }
        now
    }

    /// It comes up against a limit.
    pub(crate) fn over_limit(&mut self, limit: Limit) {
        self.end(Outcome::Limit, format!("too many {}", limit.of_what()));
    }

    /// Who visits has not been said as it must be.
    pub(crate) fn bad_header(&mut self, reason: String) {
        self.end(Outcome::BadHeader, reason);
    }

    /// Where the visitor comes from, nobody is let in.
    pub(crate) fn denied(&mut self) {
        self.end(Outcome::Denied, "the rules do not let the visitor in");
    }

    /// What carried it is over. `None`: somebody has cut it.
    pub(crate) fn carried(mut self, ended: Option<&Ended>) {
        let Some(ended) = ended else {
            return self.end(Outcome::Reset, "cut off by an operator");
        };
        if let Some(tap) = self.tap.take() {
            tap.over(ending(ended));
        }
        self.end(outcome(ended), ended.to_string());
    }

    fn end(&mut self, outcome: Outcome, reason: impl Into<Cow<'static, str>>) {
        (self.outcome, self.reason) = (outcome, reason.into());
    }
}

impl Observer for Visit {
    fn is_limiting(&self) -> bool {
        self.allowance.is_some()
    }

    fn poll_to_stream(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match &mut self.allowance {
            None => Poll::Ready(usize::MAX),
            Some(allowance) => {
                let now = allowance.poll_inward(cx);
                self.note_whether_slowed(now)
            }
        }
    }

    fn poll_to_socket(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match &mut self.allowance {
            None => Poll::Ready(usize::MAX),
            Some(allowance) => {
                let now = allowance.poll_outward(cx);
                self.note_whether_slowed(now)
            }
        }
    }

    fn pause_to_stream(&mut self) {
        if let Some(allowance) = &mut self.allowance {
            allowance.pause_inward();
        }
    }

    fn pause_to_socket(&mut self) {
        if let Some(allowance) = &mut self.allowance {
            allowance.pause_outward();
        }
    }

    fn to_stream(&mut self, data: &[u8]) {
        let bytes = data.len();
        if let Some(tap) = &self.tap {
            tap.passes(Speaker::Visitor, data);
        }
        if let Some(allowance) = &mut self.allowance {
            allowance.moved_inward(bytes);
        }
        self.bytes_in += bytes as u64;
        if let Some(listed) = &self.listed {
            listed.moved_in(bytes);
        }
        self.tunnel.metrics().bytes_in(bytes);
    }

    fn to_socket(&mut self, data: &[u8]) {
        let bytes = data.len();
        if let Some(tap) = &self.tap {
            tap.passes(Speaker::Service, data);
        }
        if let Some(allowance) = &mut self.allowance {
            allowance.moved_outward(bytes);
        }
        if self.bytes_out == 0 {
            let after = self.arrived.elapsed();
            self.first_byte = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
            self.tunnel.metrics().first_byte(after);
        }
        self.bytes_out += bytes as u64;
        if let Some(listed) = &self.listed {
            listed.moved_out(bytes);
        }
        self.tunnel.metrics().bytes_out(bytes);
    }

    fn connected(&mut self) {
        self.served = true;
        if let Some(tap) = &self.tap {
            tap.connected();
        }
        if !self.begun {
            self.log_begun();
        }
        self.tunnel.metrics().connected(self.arrived.elapsed());
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let length = self.arrived.elapsed();
        // Of what was carried it is known already how it ended.
        if let Some(tap) = self.tap.take() {
            tap.over(inspect::Ending::CutOff);
        }
        self.tunnel.metrics().ended(self.outcome, length);
        self.history.visit(self.tunnel.metrics(), || VisitOver {
            id: self.id.to_string(),
            visitor: self.visitor.ip(),
            outcome: self.outcome.label(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            length,
            first_byte: (self.first_byte > 0).then(|| Duration::from_micros(self.first_byte)),
        });
        if !self.served && !NOT_SERVED.allows() {
            return;
        }
        info!(
            visit = %self.id,
            tunnel = %self.tunnel.name(),
            addr = %self.visitor,
            outcome = self.outcome.label(),
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            seconds = length.as_secs_f64(),
            "visit over: {}",
            self.reason,
        );
    }
}

/// What an end of a bridge means to whoever looks at the visit.
fn ending(ended: &Ended) -> inspect::Ending {
    match ended {
        Ended::Completed => inspect::Ending::Ended,
        Ended::Socket(_) => inspect::Ending::ResetByVisitor,
        Ended::Stream(Broken::Aborted(Abort::Reset) | Broken::Failed(_)) => {
            inspect::Ending::ResetByService
        }
        Ended::Stream(_) | Ended::Stalled | Ended::HalfClosed | Ended::OverLimit => {
            inspect::Ending::CutOff
        }
    }
}

/// What an end of a bridge means to whoever reads the metrics.
fn outcome(ended: &Ended) -> Outcome {
    match ended {
        Ended::Completed => Outcome::Completed,
        Ended::Socket(_) => Outcome::Reset,
        Ended::Stalled | Ended::HalfClosed => Outcome::Timeout,
        Ended::OverLimit => Outcome::Limit,
        Ended::Stream(broken) => match broken {
            Broken::Aborted(Abort::TimedOut) => Outcome::Timeout,
            Broken::Aborted(Abort::Reset | Abort::Stopping) | Broken::Unwanted => Outcome::Reset,
            Broken::TinyFrames => Outcome::Limit,
            Broken::Lost | Broken::Bad(_) | Broken::OutOfOrder => Outcome::Lost,
            Broken::Failed(failure) => match failure.reason {
                FailureReason::Refused | FailureReason::UnknownTunnel => Outcome::LocalRefused,
                FailureReason::TimedOut => Outcome::LocalTimeout,
                FailureReason::Limit => Outcome::Limit,
            },
        },
    }
}
