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
    /// Room for one more visitor of `tunnel`, wherever it comes from.
    pub(super) fn new(
        limits: &Limits,
        tunnel: &Arc<Tunnel>,
        max_visitors: usize,
    ) -> Result<Self, Limit> {
        let of_tunnel = tunnel.visitor(max_visitors)?;
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

    /// The same for one that comes from `visitor`. Only now does it count as one that has come to
    /// `tunnel`: whoever is not let in must not keep others out.
    pub(super) fn for_visitor(
        mut self,
        limits: &Limits,
        tunnel: &Tunnel,
        visitor: SocketAddr,
    ) -> Result<Self, Limit> {
        limits.comes_from(&mut self.in_all, visitor)?;
        tunnel.arrives(limits.rules().new_visitors_per_tunnel)?;
        Ok(self)
    }
}

/// What a visit to `tunnel` may move, if that is limited.
pub(super) fn allowance(limits: &Limits, tunnel: &Tunnel) -> Option<Allowance> {
    Allowance::new(tunnel.bandwidth(limits.rules().rate_per_tunnel), &tunnel.accounts())
}
