//! The windows of connections by HTTP/2: so much of what comes is held while nobody takes it.
//!
//! Large ones are for long lines, on which a round trip brings no more than a window. All that are
//! given could be full at a time, so there is a supply of them. A connection whose windows are small
//! works as well, only slower over such a line. They stay as they are for as long as it is there:
//! hyper sets them once.

use super::Http;
use super::visitor::Visitor;
use crate::limits::{Source, Supplied, Supply};
use crate::metrics::{Limit, Metrics};

/// For all visitors together, in bytes.
const OF_VISITORS: usize = 128 * 1024 * 1024;

/// The same for those of one source.
const OF_SOURCE: usize = OF_VISITORS / 4;

/// For the bodies that come from one visitor, in bytes. A connection has it for as long as it is
/// there, whether anything is uploaded or not, and there is enough for some hundreds.
const OF_VISITOR: usize = 512 * 1024;

/// For those that come from a local service: what many visitors far away take in a round trip. The
/// stream below has windows of its own.
const OF_SERVICE: usize = 4 * 1024 * 1024;

/// So many streams of a visitor that nobody takes leave no room for others.
const STREAMS_OF_VISITOR: u32 = 2;

/// The same for a local service.
const STREAMS_OF_SERVICE: u32 = 4;

/// What a connection begins with (RFC 9113, section 6.9.2): it cannot have less.
const LEAST: u32 = 65_535;

/// What a stream has at least: a frame of the usual size.
const LEAST_OF_STREAM: u32 = 16 * 1024;

/// Less than this makes no difference, in bytes.
const LEAST_SUPPLIED: usize = 2 * LEAST as usize;

/// The windows of a connection, until it is over.
#[derive(Debug)]
pub(super) struct Windows {
    /// For the body of one request or answer, in bytes.
    pub(super) stream: u32,
    /// For all of them.
    pub(super) connection: u32,
    _supplied: Option<Supplied>,
}

/// What there is for all visitors.
pub(super) fn supply() -> Supply {
    Supply::new(OF_VISITORS, OF_SOURCE)
}

impl Windows {
    /// For what comes from a visitor.
    pub(super) fn of_visitor(visitor: &Visitor) -> Self {
        let Http { edge, windows, .. } = &*visitor.http;
        // A balancer is no source of its own.
        let source = visitor.is_from_somewhere().then(|| Source::from(visitor.peer));
        let supplied = windows.take_part(source, OF_VISITOR, LEAST_SUPPLIED);
        Self::new(supplied, STREAMS_OF_VISITOR, &edge.metrics)
    }

    /// For what comes from a local service, of what its session has.
    pub(super) fn of_service(session: &Supply, metrics: &Metrics) -> Self {
        let supplied = session.take_part(None, OF_SERVICE, LEAST_SUPPLIED);
        Self::new(supplied, STREAMS_OF_SERVICE, metrics)
    }

    fn new(supplied: Option<Supplied>, streams: u32, metrics: &Metrics) -> Self {
        if supplied.is_none() {
            metrics.limit(Limit::Windows);
        }
        let bytes = supplied.as_ref().map_or(0, Supplied::bytes);
        let connection = u32::try_from(bytes).unwrap_or(u32::MAX).max(LEAST);
        let stream = (connection / streams).max(LEAST_OF_STREAM);
        Self { stream, connection, _supplied: supplied }
    }
}
