//! What the log says of a visit.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Instant;

use shared::control::protocol::TunnelName;
use shared::kit::logging::Rate;
use shared::visit::bridge::{Ended, Observer};
use shared::visit::id::VisitId;
use shared::visit::open::Open;
use shared::visit::record::Failure;
use shared::visit::stream::{Broken, DataStream};
use tracing::{debug, info, warn};

use crate::tally::OpenVisit;

/// Local services that could not be reached: anybody can have them dialled as often as they like.
static UNREACHABLE: Rate =
    Rate::new(|more| warn!(left_out = more.count, "local services not reached: {more}"));

/// Beginnings of visits that may reach one. Those that are left out are logged later if they do,
/// else counted at their end.
static BEGUN: Rate = Rate::new(|_| ());

/// The ends of visits that never reached one.
static NOT_SERVED: Rate = Rate::new(|more| {
    info!(left_out = more.count, "visits over that were not served: {more}");
});

/// A visit that is going on. Logged when dropped, so none is forgotten.
pub(super) struct Visit {
    id: VisitId,
    tunnel: TunnelName,
    visitor: SocketAddr,
    /// It is a connection for requests of many visitors. Each of them is logged at the relay.
    pooled: bool,
    /// The relay's number for the session.
    session: u64,
    since: Instant,
    bytes_in: u64,
    bytes_out: u64,
    /// Its beginning has been logged.
    begun: bool,
    /// The local service was reached.
    served: bool,
    ended: Option<Ended>,
    /// Not of a tunnel that this client does not have.
    counted: Option<OpenVisit>,
}

impl Visit {
    pub(super) fn begin(open: &Open, session: u64, counted: Option<OpenVisit>) -> Self {
        let mut visit = Self {
            id: open.visit,
            tunnel: open.tunnel.clone(),
            visitor: open.visitor,
            pooled: open.pooled,
            session,
            since: Instant::now(),
            bytes_in: 0,
            bytes_out: 0,
            begun: false,
            served: false,
            ended: None,
            counted,
        };
        if visit.pooled || BEGUN.allows() {
            visit.log_begun();
        }
        visit
    }

    fn log_begun(&mut self) {
        self.begun = true;
        let Self { id, tunnel, visitor, session, .. } = self;
        if self.pooled {
            debug!(visit = %id, %tunnel, session, "a connection for requests has come");
        } else {
            info!(visit = %id, %tunnel, addr = %visitor, session, "visitor arrived");
        }
    }

    /// The local service was reached.
    pub(super) fn served(&mut self) {
        self.served = true;
        if !self.begun {
            self.log_begun();
        }
    }

    /// There is no connection to the local service: tells the relay.
    pub(super) async fn fail(self, mut stream: DataStream, failure: Failure) {
        if UNREACHABLE.allows() {
            let Self { id, tunnel, .. } = &self;
            warn!(visit = %id, %tunnel, session = self.session, "{failure}");
        }
        let told = stream.failed(failure.clone()).await;
        self.end(Ended::Stream(told.err().unwrap_or(Broken::Failed(failure))));
    }

    /// It is over.
    pub(super) fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Observer for Visit {
    fn to_stream(&mut self, data: &[u8]) {
        self.bytes_out += data.len() as u64;
        self.counted.iter().for_each(|counted| counted.went_out(data.len() as u64));
    }

    fn to_socket(&mut self, data: &[u8]) {
        self.bytes_in += data.len() as u64;
        self.counted.iter().for_each(|counted| counted.came_in(data.len() as u64));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.pooled && !self.served && !NOT_SERVED.allows() {
            return;
        }
        let reason: Cow<'_, str> = match &self.ended {
            Some(ended) => ended.to_string().into(),
            None => "cut off with the session".into(),
        };
        let Self { id, tunnel, visitor, session, bytes_in, bytes_out, .. } = self;
        let seconds = self.since.elapsed().as_secs_f64();
        if self.pooled {
            debug!(
                visit = %id, %tunnel, session, bytes_in, bytes_out, seconds,
                "a connection for requests is over: {reason}",
            );
        } else {
            info!(
                visit = %id, %tunnel, addr = %visitor, session, bytes_in, bytes_out, seconds,
                "visit over: {reason}",
            );
        }
    }
}
