//! How many visitors and handshakes the relay takes on, and the permits that say so.
//!
//! - `rules`: what an operator sets
//! - `places`: handshakes, of which one more always has a place
//! - `penalties`: who has failed to come in
//! - `source`, `sources`: where somebody comes from, and what comes from there
//! - `account`: what an owner has, and what is done with a token
//! - `bandwidth`: what may move in a time
//!
//! Every visitor costs a descriptor, and so does every client. A part of the process's descriptors
//! is kept from visitors, so that clients and the admin port get through while visitors flood the
//! public ports.

mod account;
mod allowance;
mod bandwidth;
mod penalties;
mod places;
mod rules;
mod source;
mod sources;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use shared::token::{Grant, Verifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Limit;

pub(crate) use self::account::{Account, Part};
pub(crate) use self::allowance::Allowance;
pub(crate) use self::bandwidth::Bucket;
pub(crate) use self::places::{Place, Places};
pub use self::rules::LimitRules;
pub(crate) use self::source::Source;
pub(crate) use self::sources::Pace;

use self::account::{AccountKey, Accounts, Terms};
use self::penalties::Penalties;
use self::sources::{FromSource, Sources};

/// At least so many descriptors are kept from visitors.
const SMALLEST_RESERVE: usize = 32;

/// So many handshakes at a time are plenty: an honest one takes milliseconds.
const MOST_HANDSHAKES: usize = 1024;

/// Descriptors for the listeners, the admin port, the log and the runtime.
const OWN: usize = 16;

/// The limits of the whole relay. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    visitors: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    handshakes: Places,
    sources: Sources,
    penalties: Penalties,
    /// How many visitors there is room for.
    most_visitors: usize,
    rules: Arc<RwLock<Arc<LimitRules>>>,
    accounts: Accounts,
}

/// A visitor's place among all, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visitor {
    _room: OwnedSemaphorePermit,
    _from_source: FromSource,
}

impl Limits {
    /// Limits for a process that may have `descriptors` files open: a quarter is for clients, those
    /// in the middle of a handshake included, an eighth for the listeners of tunnels, the rest for
    /// visitors and more listeners.
    pub(crate) fn new(descriptors: u64) -> Self {
        let descriptors =
            usize::try_from(descriptors).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let reserve = (descriptors / 4).max(SMALLEST_RESERVE);
        let handshakes = (reserve / 2).min(MOST_HANDSHAKES);
        let sessions = reserve.saturating_sub(handshakes + OWN).max(1);
        let listeners = descriptors / 8;
        let most_visitors = descriptors.saturating_sub(reserve + listeners);
        Self {
            visitors: Arc::new(Semaphore::new(most_visitors)),
            listeners: Arc::new(Semaphore::new(listeners)),
            sessions: Arc::new(Semaphore::new(sessions)),
            handshakes: Places::new(handshakes),
            sources: Sources::default(),
            penalties: Penalties::default(),
            most_visitors,
            rules: Arc::default(),
            accounts: Accounts::default(),
        }
    }

    /// The rules from now on.
    pub(crate) fn set_rules(&self, rules: LimitRules) {
        self.accounts.set_terms_of_owners(&Terms::of_owner(&rules));
        *self.rules.write() = Arc::new(rules);
    }

    /// The rules at this moment.
    pub(crate) fn rules(&self) -> Arc<LimitRules> {
        Arc::clone(&self.rules.read())
    }

    /// The account of an owner.
    pub(crate) fn owner(&self, owner: &str) -> Arc<Account> {
        let rules = self.rules();
        self.accounts.open(AccountKey::Owner(owner.into()), Terms::of_owner(&rules))
    }

    /// The account of whoever holds the key with this grant, if that limits anything that is
    /// counted.
    pub(crate) fn holder(&self, key: Verifier, grant: &Grant) -> Option<Arc<Account>> {
        let terms = Terms::of_grant(grant);
        let is_counted = terms != Terms::default();
        is_counted.then(|| self.accounts.open(AccountKey::Token(key.0), terms))
    }

    /// Room for one more visitor of any tunnel, who comes from `addr`.
    pub(crate) fn visitor(&self, addr: SocketAddr) -> Result<Visitor, Limit> {
        let rules = self.rules();
        let room = self.room().ok_or(Limit::Visitors)?;
        if let Some(most) = rules.max_visitors_in_all {
            let there = self.most_visitors - self.visitors.available_permits();
            if there > most as usize {
                return Err(Limit::Visitors);
            }
        }
        let most = rules.max_visitors_per_source.map(|most| most as usize);
        let most = most.unwrap_or(self.most_visitors / 2);
        let often = rules.new_visitors_per_source;
        let from = self.sources.visitor(Source::from(addr), Some(most), often, Instant::now())?;
        Ok(Visitor { _room: room, _from_source: from })
    }

    /// Room for one more descriptor of a visitor.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.visitors).try_acquire_owned().ok()
    }

    /// Room for one more listener, if there is: those beyond their own share take from that of
    /// visitors.
    pub(crate) fn listener(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.listeners).try_acquire_owned().ok().or_else(|| self.room())
    }

    /// Room for one more client, if there is.
    pub(crate) fn session(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sessions).try_acquire_owned().ok()
    }

    /// Whether somebody at `peer` may try to come in, having failed before.
    pub(crate) fn may_try(&self, peer: SocketAddr) -> bool {
        let free = self.rules().penalise_after;
        free.is_none_or(|free| self.penalties.may_try(peer.into(), free, Instant::now()))
    }

    /// Somebody at `peer` has failed to come in.
    pub(crate) fn failed(&self, peer: SocketAddr) {
        if self.rules().penalise_after.is_some() {
            self.penalties.failed(peer.into(), Instant::now());
        }
    }

    /// Somebody at `peer` has come in.
    pub(crate) fn succeeded(&self, peer: SocketAddr) {
        self.penalties.forgive(peer.into());
    }

    /// Room for one more handshake, with `peer`. An honest one takes milliseconds, so the one that
    /// makes room is a silent stranger's.
    pub(crate) fn handshake(&self, peer: SocketAddr) -> Place {
        self.handshakes.take(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_leave_descriptors_for_clients() {
        let limits = Limits::new(256);
        let visitors: Vec<_> = std::iter::from_fn(|| limits.room()).collect();
        assert_eq!(visitors.len(), 160);
        drop(visitors);
        assert!(limits.room().is_some());
    }

    #[test]
    fn listeners_have_a_share_and_take_the_rest_from_visitors() {
        let limits = Limits::new(256);
        let listeners: Vec<_> = (0..64).map(|_| limits.listener().unwrap()).collect();
        let visitors: Vec<_> = std::iter::from_fn(|| limits.room()).collect();
        assert_eq!((listeners.len(), visitors.len()), (64, 128));
        assert!(limits.listener().is_none());
        drop(listeners);
        assert!(limits.listener().is_some());
    }

    #[test]
    fn clients_leave_descriptors_for_handshakes() {
        let limits = Limits::new(256);
        let sessions: Vec<_> = std::iter::from_fn(|| limits.session()).collect();
        assert_eq!(sessions.len(), 16);
    }
}
