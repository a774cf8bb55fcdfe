//! Whether there is room for a visitor, and what it takes up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::EdgeShared;
use crate::config::Config;
use crate::limits::{Allowance, Limits, Part, Visitor};
use crate::metrics::{Limit, Metrics};
use crate::tunnel::{Present, Tunnel};

/// What a visitor takes up of everything that is limited, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    in_all: Visitor,
    _of_tunnel: Present,
    of_accounts: Box<[Part]>,
}

impl Permit {
    /// Room for one more visitor of `tunnel`, wherever it comes from.
    fn new(limits: &Limits, tunnel: &Arc<Tunnel>, max_visitors: usize) -> Result<Self, Limit> {
        let of_tunnel = tunnel.visitor(max_visitors)?;
        let in_all = limits.visitor()?;
        Ok(Self { in_all, _of_tunnel: of_tunnel, of_accounts: parts(tunnel)? })
    }

    /// It is another client that serves by now, perhaps: the visitor is counted there.
    fn renew(&mut self, tunnel: &Tunnel) -> Result<(), Limit> {
        // Before others are taken, which may be the same.
        self.of_accounts = Box::default();
        self.of_accounts = parts(tunnel)?;
        Ok(())
    }

    /// The same for one that comes from `visitor`. Only now does it count as one that has come to
    /// `tunnel`: whoever is not let in must not keep others out.
    fn for_visitor(
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

/// What one more visitor takes up in the accounts of whoever has `tunnel`.
fn parts(tunnel: &Tunnel) -> Result<Box<[Part]>, Limit> {
    let accounts = tunnel.accounts();
    let now = SystemTime::now();
    if !accounts.iter().all(|account| account.has_quota(now)) {
        return Err(Limit::Quota);
    }
    accounts.iter().filter_map(|account| account.visitor().transpose()).collect()
}

/// What decides whether a visitor of a tunnel is let in.
pub(super) struct Gate<'a> {
    pub(super) shared: &'a EdgeShared,
    pub(super) config: &'a Config,
    pub(super) tunnel: &'a Arc<Tunnel>,
}

/// Why a visitor is not let in.
pub(super) enum NotAdmitted {
    /// By the rules.
    Denied,
    OverLimit(Limit),
}

impl Gate<'_> {
    /// Room for one more visitor, wherever it comes from.
    pub(super) fn room(&self) -> Result<Permit, NotAdmitted> {
        let room = Permit::new(&self.shared.limits, self.tunnel, self.config.max_visitors);
        room.map_err(|limit| self.over(limit))
    }

    /// The same for one that comes from `visitor`.
    pub(super) fn admit(&self, permit: Permit, visitor: SocketAddr) -> Result<Permit, NotAdmitted> {
        permit.for_visitor(&self.shared.limits, self.tunnel, visitor).map_err(|limit| {
            if limit.is_of_a_source() {
                self.strike(visitor);
            }
            self.over(limit)
        })
    }

    /// Whether a visitor that has waited for a client is let in by the one that is there now.
    pub(super) fn admit_again(
        &self,
        permit: &mut Permit,
        visitor: SocketAddr,
    ) -> Result<(), NotAdmitted> {
        self.permits(visitor)?;
        permit.renew(self.tunnel).map_err(|limit| self.over(limit))
    }

    /// Whether the rules of relay and tunnel let a visitor in.
    pub(super) fn permits(&self, visitor: SocketAddr) -> Result<(), NotAdmitted> {
        if !self.config.rules.permit(visitor.ip()) {
            self.strike(visitor);
            return Err(NotAdmitted::Denied);
        }
        self.tunnel.permits(visitor.ip()).then_some(()).ok_or(NotAdmitted::Denied)
    }

    fn over(&self, limit: Limit) -> NotAdmitted {
        self.shared.metrics.limit(limit);
        NotAdmitted::OverLimit(limit)
    }

    /// Somebody has done what the relay itself does not want. What a client does not want is no
    /// matter of the relay, or each could have whom it likes banned from all tunnels.
    fn strike(&self, visitor: SocketAddr) {
        if !self.config.trust_proxy.contain(visitor.ip()) {
            self.shared.limits.refused(visitor, &self.config.bans);
        }
    }
}

/// What a visit to `tunnel` may move, if that is limited.
pub(super) fn allowance(limits: &Limits, tunnel: &Tunnel, metrics: &Metrics) -> Option<Allowance> {
    let buckets = tunnel.bandwidth(limits.rules().rate_per_tunnel);
    Allowance::new(buckets, &tunnel.accounts(), metrics)
}
