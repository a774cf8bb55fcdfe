//! A client that could serve a visitor, and whether it wants to.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::Conditions;
use super::claimant::Claimant;
use crate::limits::{Account, Source};
use crate::target::Target;

/// The clients that could serve a visitor, the one that serves first.
pub(crate) type Candidates = Arc<[Candidate]>;

/// A client that could serve a visitor.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) sessions: Box<[Target]>,
    conditions: Option<Arc<Conditions>>,
    claimant: Arc<Claimant>,
}

impl Candidate {
    /// The client with these sessions, one of which is the claimant's.
    pub(super) fn new(
        sessions: Box<[Target]>,
        conditions: Option<Arc<Conditions>>,
        claimant: Arc<Claimant>,
    ) -> Self {
        Self { sessions, conditions, claimant }
    }

    /// Whether the client and its token let a visitor from `ip` in.
    pub(crate) fn permits(&self, ip: IpAddr) -> bool {
        self.conditions.as_ref().is_none_or(|conditions| conditions.rules.permit(ip))
            && self.claimant.principal().rights().admit_visitor(ip)
    }

    /// What the client says of visitors.
    pub(crate) fn conditions(&self) -> Option<&Arc<Conditions>> {
        self.conditions.as_ref()
    }

    /// How many requests its local service has to do with.
    pub(crate) fn requests(&self) -> usize {
        self.sessions.iter().map(|session| session.pool().requests()).sum()
    }

    /// How much it is the one for visitors from there: the lowest is.
    pub(crate) fn rank_for(&self, source: Source) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.claimant.connection.instance, source).hash(&mut hasher);
        hasher.finish()
    }

    /// What its visitors are counted in.
    pub(crate) fn accounts(&self) -> &Arc<[Arc<Account>]> {
        self.claimant.principal().accounts()
    }
}
