//! How many visitors and handshakes the relay takes on, and the permits that say so.
//!
//! - `rules`: what an operator sets
//! - `places`: handshakes, of which one more always has a place
//! - `memory`: what is held for strangers, of which there is always more
//! - `supply`: what is held for many, and given out until there is none
//! - `shares`: places of which no source has more than half
//! - `penalties`: who has failed to come in
//! - `bans`, `policy`: who is kept out for a while, and for what
//! - `paces`: how often something happens, for each source
//! - `source`, `sources`: where somebody comes from, and what comes from there
//! - `account`: what an owner has, and what is done with a token
//! - `bandwidth`: what may move in a time
//! - `traffic`: what has moved under quotas
//!
//! Every visitor costs a descriptor, and so does every client. A part of the process's descriptors
//! is kept from visitors, so that clients and the admin port get through while visitors flood the
//! public ports.

mod account;
mod allowance;
mod bandwidth;
mod bans;
mod memory;
mod paces;
mod penalties;
mod places;
mod policy;
mod rules;
mod shares;
mod source;
mod sources;
mod supply;
mod traffic;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use shared::kit::args;
use shared::kit::logging::Rate;
use shared::token::{Grant, LinkId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::metrics::Limit;

pub(crate) use self::account::{Account, Accounts, Part, Terms};
pub(crate) use self::allowance::Allowance;
pub(crate) use self::bandwidth::Bucket;
pub(crate) use self::bans::BanNow;
pub(crate) use self::memory::{Loan, Memory};
pub(crate) use self::paces::Paces;
pub(crate) use self::places::{Place, Places};
pub use self::policy::{BadBanRule, BanPolicy, BanRule};
pub use self::rules::LimitRules;
pub(crate) use self::shares::{NoShare, Share, Shares};
pub(crate) use self::source::Source;
pub(crate) use self::sources::Pace;
pub(crate) use self::supply::{Supplied, Supply};

use self::account::AccountKey;
use self::bans::Bans;
use self::penalties::Penalties;
use self::sources::{FromSource, Sources};

/// Sources that are banned: a network has as many as it likes.
static BANNED: Rate = Rate::generous(|more| {
    warn!(left_out = more.count, "sources banned: {more}");
});

/// At least so many descriptors are kept from visitors.
const SMALLEST_RESERVE: usize = 32;

/// So many handshakes at a time are plenty, unless somebody says otherwise: an honest one takes
/// milliseconds.
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
    /// How many there is room for.
    most_handshakes: usize,
    sources: Sources,
    penalties: Penalties,
    bans: Bans,
    /// How many visitors there is room for.
    most_visitors: usize,
    /// How many clients.
    most_sessions: usize,
    rules: Arc<RwLock<Arc<LimitRules>>>,
    accounts: Accounts,
}

/// A visitor's place among all, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visitor {
    _room: OwnedSemaphorePermit,
    from_source: Option<FromSource>,
}

impl Visitor {
    /// Whether it is counted where it comes from.
    pub(crate) fn is_from_somewhere(&self) -> bool {
        self.from_source.is_some()
    }
}

impl Limits {
    /// Limits for a process that may have `descriptors` files open: a quarter is for clients, those
    /// in the middle of a handshake included, an eighth for the listeners of tunnels, the rest for
    /// visitors and more listeners.
    pub(crate) fn new(descriptors: u64) -> Self {
        let descriptors =
            usize::try_from(descriptors).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let reserve = (descriptors / 4).max(SMALLEST_RESERVE);
        let most_handshakes = reserve / 2;
        let handshakes = most_handshakes.min(MOST_HANDSHAKES);
        let sessions = reserve.saturating_sub(handshakes + OWN).max(1);
        let listeners = descriptors / 8;
        let most_visitors = descriptors.saturating_sub(reserve + listeners);
        Self {
            visitors: Arc::new(Semaphore::new(most_visitors)),
            listeners: Arc::new(Semaphore::new(listeners)),
            sessions: Arc::new(Semaphore::new(sessions)),
            handshakes: Places::new(handshakes),
            most_handshakes,
            sources: Sources::default(),
            penalties: Penalties::default(),
            bans: Bans::default(),
            most_visitors,
            most_sessions: sessions,
            rules: Arc::default(),
            accounts: Accounts::default(),
        }
    }

    /// The rules from now on.
    pub(crate) fn set_rules(&self, mut rules: LimitRules) {
        // One owner does not use up the relay, whatever its clients do.
        let share = u32::try_from(self.most_sessions / 2).unwrap_or(u32::MAX).max(1);
        rules.max_sessions_per_owner.get_or_insert(share);
        let terms = Terms::of_owner(&rules);
        let handshakes = rules.max_handshakes.map_or(MOST_HANDSHAKES, |most| most as usize);
        self.handshakes.set_most(handshakes.min(self.most_handshakes));
        *self.rules.write() = Arc::new(rules);
        self.accounts.set_terms_of_owners(&terms);
    }

    /// The rules at this moment.
    pub(crate) fn rules(&self) -> Arc<LimitRules> {
        Arc::clone(&self.rules.read())
    }

    /// All accounts that anybody has a part in.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The account of an owner.
    pub(crate) fn owner(&self, owner: &str) -> Arc<Account> {
        self.accounts.open(AccountKey::Owner(owner.into()), || Terms::of_owner(&self.rules()))
    }

    /// The account of whoever comes by this link with this grant, which may be narrowed from the
    /// token `root`, if that limits anything that is counted.
    pub(crate) fn holder(&self, root: LinkId, link: LinkId, grant: &Grant) -> Option<Arc<Account>> {
        let terms = Terms::of_grant(grant);
        let is_counted = terms != Terms::default();
        let key = if link == root {
            AccountKey::Token(link)
        } else {
            AccountKey::Narrowed { root, link }
        };
        is_counted.then(|| self.accounts.open(key, || terms))
    }

    /// Room for one more visitor of any tunnel, wherever it comes from.
    pub(crate) fn visitor(&self) -> Result<Visitor, Limit> {
        let room = self.room().ok_or(Limit::Visitors)?;
        let there = self.most_visitors - self.visitors.available_permits();
        match self.rules().max_visitors_in_all {
            Some(most) if there > most as usize => Err(Limit::Visitors),
            _ => Ok(Visitor { _room: room, from_source: None }),
        }
    }

    /// The visitor comes from `addr`: whether there is room for one more from there.
    pub(crate) fn comes_from(&self, visitor: &mut Visitor, addr: SocketAddr) -> Result<(), Limit> {
        let rules = self.rules();
        let most = rules.max_visitors_per_source.map(|most| most as usize);
        let in_all = rules.max_visitors_in_all.map_or(usize::MAX, |most| most as usize);
        let most = most.unwrap_or_else(|| (self.most_visitors.min(in_all) / 2).max(1));
        let often = rules.new_visitors_per_source;
        let from = self.sources.visitor(addr.into(), Some(most), often, Instant::now())?;
        visitor.from_source = Some(from);
        Ok(())
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

    /// The same for somebody who is about to try: of those who had to wait one at a time may.
    pub(crate) fn tries(&self, peer: SocketAddr) -> bool {
        let free = self.rules().penalise_after;
        free.is_none_or(|free| self.penalties.tries(peer.into(), free, Instant::now()))
    }

    /// Somebody at `peer` has failed to come in.
    pub(crate) fn failed(&self, peer: SocketAddr) {
        if self.rules().penalise_after.is_some() {
            self.penalties.failed(peer.into(), Instant::now());
        }
    }

    /// Somebody at `peer` has come in.
    pub(crate) fn succeeded(&self, peer: SocketAddr) {
        self.penalties.forgive(peer.into(), Instant::now());
    }

    /// Whether connections from `addr` are to be dropped, without a word.
    pub(crate) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.bans.are_any() && self.bans.is_banned(addr.into(), Instant::now())
    }

    /// Somebody at `addr` has been refused. So often within a while as `rule` says, and it is
    /// banned.
    pub(crate) fn refused(&self, addr: SocketAddr, rule: Option<&BanRule>) {
        let Some(rule) = rule else { return };
        let source = Source::from(addr);
        if self.bans.strike(source, rule, Instant::now()) && BANNED.allows() {
            // Programs that watch the log look for this sentence, whoever was refused.
            let (count, within, time) =
                (rule.count, args::time(rule.within), args::time(rule.time));
            warn!(parent: None, "banned {source} for {time}: {count} refused within {within}");
        }
    }

    /// The sources that are banned, those that were banned first in front.
    pub(crate) fn bans(&self) -> Vec<BanNow> {
        self.bans.look(Instant::now())
    }

    /// How many sources are banned.
    pub(crate) fn count_bans(&self) -> u64 {
        self.bans.count(Instant::now())
    }

    /// Lifts the ban of the source that `ip` belongs to. Whether there was one.
    pub(crate) fn lift_ban(&self, ip: IpAddr) -> bool {
        self.bans.lift(ip.into())
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
    fn one_source_has_half_of_what_there_may_be() {
        let limits = Limits::new(256);
        limits.set_rules(LimitRules { max_visitors_in_all: Some(20), ..LimitRules::default() });
        let addr = SocketAddr::from(([192, 0, 2, 1], 1));
        let visitors = std::iter::from_fn(|| {
            let mut visitor = limits.visitor().ok()?;
            limits.comes_from(&mut visitor, addr).ok().map(|()| visitor)
        });
        assert_eq!(visitors.collect::<Vec<_>>().len(), 10);
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
    fn one_owner_has_half_of_the_clients_there_may_be() {
        let limits = Limits::new(256);
        limits.set_rules(LimitRules::default());
        let ann = limits.owner("ann");
        let sessions: Vec<_> = std::iter::from_fn(|| ann.session().ok()).collect();
        assert_eq!(sessions.len(), 8);
        assert!(limits.owner("bob").session().is_ok());
    }

    #[test]
    fn clients_leave_descriptors_for_handshakes() {
        let limits = Limits::new(256);
        let sessions: Vec<_> = std::iter::from_fn(|| limits.session()).collect();
        assert_eq!(sessions.len(), 16);
    }
}
