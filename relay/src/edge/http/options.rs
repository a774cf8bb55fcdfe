//! What counts for a request of what the clients of its tunnel say.
//!
//! Of the client that a request goes to count its longest body, its time limit, its compression and
//! what browsers are told of TLS. Which one that is is decided last, so before that counts what the
//! one says that serves, and the longest body that any of them takes.

use std::time::Duration;

use hyper::http::HeaderValue;
use shared::control::protocol::{Balance, HttpVersion};

use crate::tunnel::{Conditions, Tunnel};
use crate::web::{Arrival, Policy};

/// What the local service behind a client speaks.
pub(super) fn version(conditions: Option<&Conditions>) -> HttpVersion {
    policy(conditions).map_or(HttpVersion::Http1, |policy| policy.version)
}

/// How a tunnel shares requests among its clients.
pub(super) fn balance(tunnel: &Tunnel) -> Balance {
    policy(tunnel.conditions().as_deref()).map_or(Balance::Newest, |policy| policy.balance)
}

/// How long the local service behind a client may take to begin its answer, if the client says so.
pub(super) fn timeout(conditions: Option<&Conditions>) -> Option<Duration> {
    policy(conditions)?.timeout
}

/// The longest body that goes to a client, in bytes. `None`: any does.
pub(super) fn max_body(conditions: Option<&Conditions>) -> Option<u64> {
    policy(conditions)?.max_body
}

/// The longest body that goes to any client of a tunnel. While nobody is there, to the one that was.
pub(super) fn max_body_of_any(tunnel: &Tunnel) -> Option<u64> {
    let candidates = tunnel.candidates();
    let longest = candidates.iter().map(|client| max_body(client.conditions().map(|c| &**c)));
    // In this order: no limit is more than any.
    longest
        .map(|most| most.unwrap_or(u64::MAX))
        .max()
        .map_or_else(|| max_body(tunnel.conditions().as_deref()), Some)
}

/// What a client wants browsers to be told of TLS with an answer, if it is for all of their host.
pub(super) fn hsts(conditions: Option<&Conditions>, arrival: &Arrival) -> Option<HeaderValue> {
    let is_for_host = arrival.is_tls && arrival.prefix.is_none();
    policy(conditions).filter(|_| is_for_host)?.hsts().cloned()
}

fn policy(conditions: Option<&Conditions>) -> Option<&Policy> {
    conditions?.policy.as_ref()
}
