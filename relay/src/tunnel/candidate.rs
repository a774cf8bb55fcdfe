//! A client that could serve a visitor, and whether it wants to.

use std::net::IpAddr;
use std::sync::Arc;

use shared::kit::net::Rules;

use super::claimant::Claimant;
use crate::limits::Account;
use crate::target::Target;

/// The clients that could serve a visitor, the one that serves first.
pub(crate) type Candidates = Arc<[Candidate]>;

/// A client that could serve a visitor.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) sessions: Box<[Target]>,
    rules: Option<Arc<Rules>>,
    claimant: Arc<Claimant>,
}

impl Candidate {
    /// The client with these sessions, one of which is the claimant's.
    pub(super) fn new(
        sessions: Box<[Target]>,
        rules: Option<Arc<Rules>>,
        claimant: Arc<Claimant>,
    ) -> Self {
        Self { sessions, rules, claimant }
    }

    /// Whether the client and its token let a visitor from `ip` in.
    pub(crate) fn permits(&self, ip: IpAddr) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.permit(ip))
            && self.claimant.principal().rights().admit_visitor(ip)
    }

    /// What its visitors are counted in.
    pub(crate) fn accounts(&self) -> &Arc<[Arc<Account>]> {
        self.claimant.principal().accounts()
    }
}
