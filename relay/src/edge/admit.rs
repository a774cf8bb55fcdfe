//! Whether there is room for a visitor, and what it takes up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::limits::{Allowance, Limits, Part, Visitor};
use crate::metrics::Limit;
use crate::tunnel::{Present, Tunnel};

/// What a visitor takes up of everything that is limited, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    in_all: Visitor,
    _of_tunnel: Present,
    _of_accounts: Box<[Part]>,
}

impl Permit {
    /// Room for one more visitor of `tunnel`, under every limit that does not ask where it comes
    /// from.
    pub(super) fn new(
        limits: &Limits,
        tunnel: &Arc<Tunnel>,
        max_visitors: usize,
    ) -> Result<Self, Limit> {
        let often = limits.rules().new_visitors_per_tunnel;
        let of_tunnel = tunnel.visitor(max_visitors, often)?;
        let in_all = limits.visitor()?;
        let accounts = tunnel.accounts();
        let now = SystemTime::now();
        if !accounts.iter().all(|account| account.has_quota(now)) {
            return Err(Limit::Quota);
        }
        let parts = accounts.iter().filter_map(|account| account.visitor().transpose());
        let of_accounts = parts.collect::<Result<_, _>>()?;
        Ok(Self { in_all, _of_tunnel: of_tunnel, _of_accounts: of_accounts })
    }

    /// The same for one that comes from `visitor`.
    pub(super) fn for_visitor(
        mut self,
        limits: &Limits,
        visitor: SocketAddr,
    ) -> Result<Self, Limit> {
        limits.comes_from(&mut self.in_all, visitor)?;
        Ok(self)
    }
}

/// What a visit to `tunnel` may move, if that is limited.
pub(super) fn allowance(limits: &Limits, tunnel: &Tunnel) -> Option<Allowance> {
    Allowance::new(tunnel.bandwidth(limits.rules().rate_per_tunnel), &tunnel.accounts())
}
