//! What the heads of requests take up while they are under way.
//!
//! A head is kept until its request is answered, for that may have to be sent again, and once more in
//! what is written to the local service. By HTTP/2 a visitor says a long field in one byte, again and
//! again: what it costs the relay is no measure of what it costs the visitor.

use std::net::IpAddr;

use shared::kit::logging::Rate;
use tracing::warn;

use super::Http;
use crate::config::Config;
use crate::limits::{Source, Supplied, Supply};
use crate::metrics::Limit;
use crate::web::Fault;

/// A head up to this size counts as nothing, in bytes: what there is besides for a request is more.
const SMALL: usize = 4 * 1024;

/// For all others together, in bytes. With what is written to local services they take about three
/// times as much.
const OF_ALL: usize = 32 * 1024 * 1024;

/// The same for those of one source, if there are no others: 256 of the largest.
const OF_SOURCE: usize = OF_ALL / 4;

/// Requests that are turned away for this.
static TURNED_AWAY: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "requests turned away for their large heads: {more}");
});

/// What there is for all heads.
pub(super) fn supply() -> Supply {
    Supply::new(OF_ALL, OF_SOURCE)
}

/// Room for the head of a request of that size from a visitor at `ip`, until the request is over or its
/// connection has changed to another protocol: until then the connection that it was written to may keep
/// as much.
///
/// # Errors
///
/// There is none. It has been counted and logged.
pub(super) fn hold(
    http: &Http,
    config: &Config,
    ip: IpAddr,
    size: usize,
) -> Result<Option<Box<Supplied>>, Fault> {
    if size <= SMALL {
        return Ok(None);
    }
    let held = http.heads.take(config.source(ip), size);
    if held.is_none() {
        http.edge.metrics.limit(Limit::RequestHeads);
        if TURNED_AWAY.allows() {
            let source = Source::from(ip);
            warn!(%source, size, "a request is turned away: other large heads take up the room");
        }
        return Err(Fault::OverLimit);
    }
    Ok(held.map(Box::new))
}
