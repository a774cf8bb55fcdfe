//! Whether there is room for a visitor, and what it takes up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::EdgeShared;
use crate::config::Config;
use crate::limits::{Account, Allowance, Limits, Part, Visitor};
use crate::metrics::Limit;
use crate::tunnel::{Candidate, Present, Tunnel};

/// What a visitor takes up of everything that is limited, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    in_all: Visitor,
    _of_tunnel: Present,
    of_accounts: Box<[Part]>,
}

impl Permit {
    /// Room for one more visitor of `tunnel`, wherever it comes from and goes to.
    fn new(limits: &Limits, tunnel: &Arc<Tunnel>, max_visitors: usize) -> Result<Self, Limit> {
        let of_tunnel = tunnel.visitor(max_visitors)?;
        Ok(Self { in_all: limits.visitor()?, _of_tunnel: of_tunnel, of_accounts: Box::default() })
    }

    /// The same for somebody who has a place among all visitors already.
    fn with(in_all: Visitor, tunnel: &Arc<Tunnel>, max_visitors: usize) -> Result<Self, Limit> {
        let of_tunnel = tunnel.visitor(max_visitors)?;
        Ok(Self { in_all, _of_tunnel: of_tunnel, of_accounts: Box::default() })
    }

    /// The visitor comes from `visitor`, and is counted in these accounts. Only now does it count as
    /// one that has come to `tunnel`: whoever is not let in must not keep others out.
    fn is_for(
        &mut self,
        limits: &Limits,
        tunnel: &Tunnel,
        visitor: SocketAddr,
        accounts: &[Arc<Account>],
    ) -> Result<(), Limit> {
        if !self.in_all.is_from_somewhere() {
            limits.comes_from(&mut self.in_all, visitor)?;
        }
        self.goes_to(accounts)?;
        tunnel.arrives(limits.rules().new_visitors_per_tunnel)
    }

    /// The visitor is counted in these accounts from now on, and in no others.
    fn goes_to(&mut self, accounts: &[Arc<Account>]) -> Result<(), Limit> {
        // Given back first: it may be taken once more.
        self.of_accounts = Box::default();
        self.of_accounts = parts(accounts)?;
        Ok(())
    }
}

/// A visitor's part in each of these accounts.
pub(super) fn parts(accounts: &[Arc<Account>]) -> Result<Box<[Part]>, Limit> {
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

    /// The same for somebody who has a place among all visitors already.
    pub(super) fn room_for(&self, visitor: Visitor) -> Result<Permit, NotAdmitted> {
        let room = Permit::with(visitor, self.tunnel, self.config.max_visitors);
        room.map_err(|limit| self.over(limit))
    }

    /// The same for one that comes from `visitor`. Returns what it is counted in.
    pub(super) fn admit(
        &self,
        permit: &mut Permit,
        visitor: SocketAddr,
    ) -> Result<Arc<[Arc<Account>]>, NotAdmitted> {
        let accounts = self.tunnel.accounts();
        match permit.is_for(&self.shared.limits, self.tunnel, visitor, &accounts) {
            Ok(()) => Ok(accounts),
            Err(limit) => {
                if limit.is_of_a_source() {
                    self.strike(visitor);
                }
                Err(self.over(limit))
            }
        }
    }

    /// Whether the client that the visitor is about to go to lets it in. It may not be the one that
    /// was there when the visitor came, nor may the relay's rules be the same. `accounts` are those
    /// that the visitor is counted in.
    pub(super) fn admit_to(
        &self,
        candidate: &Candidate,
        permit: &mut Permit,
        visitor: SocketAddr,
        accounts: &mut Arc<[Arc<Account>]>,
    ) -> Result<(), NotAdmitted> {
        let is_denied = !self.shared.config.now().rules.permit(visitor.ip())
            || self.shared.limits.is_banned(visitor)
            || !candidate.permits(visitor.ip());
        if is_denied {
            return Err(NotAdmitted::Denied);
        }
        if !Arc::ptr_eq(accounts, candidate.accounts()) {
            *accounts = Arc::clone(candidate.accounts());
            permit.goes_to(accounts).map_err(|limit| self.over(limit))?;
        }
        Ok(())
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
        self.shared.limits.refused(visitor, self.config.ban_rule(visitor.ip()));
    }
}

/// What a visit to `tunnel` may move that is counted in `accounts`, if that is limited.
pub(super) fn allowance(
    shared: &EdgeShared,
    tunnel: &Tunnel,
    accounts: &[Arc<Account>],
) -> Option<Allowance> {
    let buckets = tunnel.bandwidth(shared.limits.rules().rate_per_tunnel);
    Allowance::new(buckets, accounts, &shared.metrics)
}
