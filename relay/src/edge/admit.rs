//! Whether a visitor is let in, and what it takes up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::limits::{Allowance, Limits, Part, Visitor};
use crate::metrics::Limit;
use crate::tunnel::{Present, Tunnel};

/// What a visitor takes up of everything that is limited, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _in_all: Visitor,
    _of_tunnel: Present,
    _of_accounts: Box<[Part]>,
}

/// Lets a visitor from `addr` in, if there is room under every limit: what it takes up, and what it
/// may move.
pub(super) fn admit(
    limits: &Limits,
    tunnel: &Arc<Tunnel>,
    addr: SocketAddr,
    max_visitors: usize,
) -> Result<(Permit, Option<Allowance>), Limit> {
    let rules = limits.rules();
    let of_tunnel = tunnel.visitor(max_visitors, rules.new_visitors_per_tunnel)?;
    let in_all = limits.visitor(addr)?;
    let accounts = tunnel.accounts();
    let now = SystemTime::now();
    if !accounts.iter().all(|account| account.has_quota(now)) {
        return Err(Limit::Quota);
    }
    let of_accounts = accounts.iter().map(|account| account.visitor()).collect::<Result<_, _>>()?;
    let allowance = Allowance::new(tunnel.bandwidth(rules.rate_per_tunnel), &accounts);
    let permit = Permit { _in_all: in_all, _of_tunnel: of_tunnel, _of_accounts: of_accounts };
    Ok((permit, allowance))
}
