//! What is counted together: all that an owner has, and all that is done with a token.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;
use shared::control::protocol::TunnelName;
use shared::kit::amounts::{Bandwidth, Quota};
use shared::token::{Grant, LinkId};

use super::bandwidth::Bucket;
use super::rules::LimitRules;
use super::traffic::{Ledger, Meter, Unwritten};
use crate::metrics::Limit;

/// A month, in seconds.
const LONGEST_PERIOD: u64 = 31 * 24 * 3600;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AccountKey {
    /// All that an owner has.
    Owner(Arc<str>),
    /// All that is done with a token, or with what is narrowed from it.
    Token(LinkId),
    /// All that is done with what a holder of the token `root` has narrowed from it. There can be any
    /// number of them.
    Narrowed { root: LinkId, link: LinkId },
}

/// How much of everything there may be. What is not there is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) max_sessions: Option<u32>,
    pub(crate) max_tunnels: Option<u32>,
    pub(crate) max_visitors: Option<u32>,
    pub(crate) rate: Option<Bandwidth>,
    pub(crate) quota: Option<Quota>,
}

/// All accounts that anybody has a part in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    accounts: HashMap<AccountKey, Weak<Account>>,
    /// What moved in accounts that are gone and in periods that are over, and has not been written
    /// down yet.
    owed: Ledger,
}

/// What there is of everything. It is there for as long as anybody has a part in it.
#[derive(Debug)]
pub(crate) struct Account {
    key: AccountKey,
    accounts: Accounts,
    terms: Mutex<Terms>,
    sessions: AtomicUsize,
    visitors: AtomicUsize,
    tunnels: Mutex<Claimed>,
    inward: Arc<Bucket>,
    outward: Arc<Bucket>,
    traffic: Meter,
}

/// The tunnels that sessions claim.
#[derive(Debug, Default)]
struct Claimed {
    tunnels: HashMap<TunnelName, ClaimedTunnel>,
    /// Of all of them.
    ports: usize,
}

#[derive(Debug, Default)]
struct ClaimedTunnel {
    /// How many sessions claim it.
    claims: usize,
    ports: usize,
}

/// A part in an account, until it is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    account: Arc<Account>,
    what: What,
}

#[derive(Debug)]
enum What {
    Session,
    Visitor,
    Tunnel(TunnelName),
}

impl Terms {
    pub(super) fn of_owner(rules: &LimitRules) -> Self {
        Self {
            max_sessions: rules.max_sessions_per_owner,
            max_visitors: rules.max_visitors_per_owner,
            rate: rules.rate_per_owner,
            ..Self::default()
        }
    }

    pub(super) fn of_grant(grant: &Grant) -> Self {
        Self {
            max_sessions: None,
            max_tunnels: grant.max_tunnels,
            max_visitors: grant.max_visitors,
            rate: grant.rate,
            quota: grant.quota,
        }
    }
}

impl AccountKey {
    /// All that may be narrowed from the same token, if it is such a one: in order, here as in a
    /// store.
    pub(crate) fn siblings(&self) -> Option<RangeInclusive<Self>> {
        let Self::Narrowed { root, .. } = *self else { return None };
        let [first, last] =
            [0, u8::MAX].map(|byte| Self::Narrowed { root, link: LinkId([byte; 32]) });
        Some(first..=last)
    }
}

impl Accounts {
    /// The account, on these terms from now on.
    pub(crate) fn open(&self, key: AccountKey, terms: impl FnOnce() -> Terms) -> Arc<Account> {
        let mut table = self.0.lock();
        // Asked under the lock: whoever changes them changes those of all that are in the table
        // next.
        let terms = terms();
        if let Some(account) = table.accounts.get(&key).and_then(Weak::upgrade) {
            account.set_terms(terms);
            return account;
        }
        let limit = match key {
            AccountKey::Owner(_) => Limit::RatePerOwner,
            AccountKey::Token(_) | AccountKey::Narrowed { .. } => Limit::RatePerToken,
        };
        let account = Arc::new(Account {
            key: key.clone(),
            accounts: self.clone(),
            sessions: AtomicUsize::new(0),
            visitors: AtomicUsize::new(0),
            tunnels: Mutex::default(),
            inward: Arc::new(Bucket::new(limit, terms.rate)),
            outward: Arc::new(Bucket::new(limit, terms.rate)),
            traffic: Meter::default(),
            terms: Mutex::new(terms),
        });
        table.accounts.insert(key, Arc::downgrade(&account));
        account
    }

    /// The terms of all owners from now on.
    pub(super) fn set_terms_of_owners(&self, terms: &Terms) {
        let all = self.all().into_iter();
        for account in all.filter(|account| matches!(account.key, AccountKey::Owner(_))) {
            account.set_terms(terms.clone());
        }
    }

    /// What has moved since this was last asked, for whoever writes it down.
    pub(crate) fn take_moved(&self, now: SystemTime) -> Unwritten {
        for account in self.all() {
            account.turn(now);
            if let Some((period, bytes)) = account.traffic.take() {
                self.owe([((account.key.clone(), period), bytes)]);
            }
        }
        Unwritten::new(self.clone(), std::mem::take(&mut self.0.lock().owed))
    }

    /// Keeps what is to be written down.
    pub(super) fn owe(&self, moved: impl IntoIterator<Item = ((AccountKey, u64), u64)>) {
        let mut table = self.0.lock();
        for (account, bytes) in moved.into_iter().filter(|(_, bytes)| *bytes > 0) {
            *table.owed.entry(account).or_default() += bytes;
        }
    }

    /// How many of these have moved something in the period that began at `start`, and it is not
    /// written down.
    pub(crate) fn count_owed(&self, accounts: RangeInclusive<AccountKey>, start: u64) -> u64 {
        let (first, last) = accounts.into_inner();
        let table = self.0.lock();
        let owed = table.owed.range((first, 0)..=(last, u64::MAX));
        owed.filter(|((_, period), _)| *period == start).count() as u64
    }

    /// Forgets what has moved in periods that are over, and nobody has written down.
    pub(crate) fn forget(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = since.as_secs().saturating_sub(LONGEST_PERIOD);
        self.0.lock().owed.retain(|(_, period), _| *period >= before);
    }

    /// All of them.
    fn all(&self) -> Vec<Arc<Account>> {
        self.0.lock().accounts.values().filter_map(Weak::upgrade).collect()
    }
}

impl Account {
    pub(crate) fn key(&self) -> &AccountKey {
        &self.key
    }

    /// Its terms from now on. Whoever is there already stays.
    pub(crate) fn set_terms(&self, terms: Terms) {
        for bucket in [&self.inward, &self.outward] {
            bucket.set(terms.rate);
        }
        *self.terms.lock() = terms;
    }

    /// Room for one more session.
    pub(crate) fn session(self: &Arc<Self>) -> Result<Part, Limit> {
        let most = self.terms.lock().max_sessions;
        let before = self.sessions.fetch_add(1, Ordering::Relaxed);
        let part = Part { account: Arc::clone(self), what: What::Session };
        within(before, most).then_some(part).ok_or(Limit::SessionsPerOwner)
    }

    /// Room for one more visitor. `None`: there may be any number, and they are not counted.
    pub(crate) fn visitor(self: &Arc<Self>) -> Result<Option<Part>, Limit> {
        let most = self.terms.lock().max_visitors;
        if most.is_none() {
            return Ok(None);
        }
        let before = self.visitors.fetch_add(1, Ordering::Relaxed);
        let part = Part { account: Arc::clone(self), what: What::Visitor };
        within(before, most).then_some(Some(part)).ok_or(match self.key {
            AccountKey::Owner(_) => Limit::VisitorsPerOwner,
            AccountKey::Token(_) | AccountKey::Narrowed { .. } => Limit::VisitorsPerToken,
        })
    }

    /// Room for one more claim on a tunnel, which counts as often as it has ports. Several sessions
    /// may claim the same one. `None`: there may be any number, and they are not counted.
    pub(crate) fn tunnel(
        self: &Arc<Self>,
        name: &TunnelName,
        ports: usize,
    ) -> Result<Option<Part>, Limit> {
        let most = self.terms.lock().max_tunnels;
        if most.is_none() {
            return Ok(None);
        }
        let mut claimed = self.tunnels.lock();
        let Claimed { tunnels, ports: all } = &mut *claimed;
        let there = tunnels.get(name).map_or(0, |tunnel| tunnel.ports);
        let more = ports.saturating_sub(there);
        if more > 0 && most.is_some_and(|most| *all + more > most as usize) {
            return Err(Limit::TunnelsPerToken);
        }
        *all += more;
        let tunnel = tunnels.entry(name.clone()).or_default();
        tunnel.ports += more;
        tunnel.claims += 1;
        drop(claimed);
        Ok(Some(Part { account: Arc::clone(self), what: What::Tunnel(name.clone()) }))
    }

    /// What limits bytes from visitors, if anything does.
    pub(crate) fn inward(&self) -> Option<Arc<Bucket>> {
        self.terms.lock().rate.map(|_| Arc::clone(&self.inward))
    }

    /// What limits bytes to visitors, if anything does.
    pub(crate) fn outward(&self) -> Option<Arc<Bucket>> {
        self.terms.lock().rate.map(|_| Arc::clone(&self.outward))
    }

    /// Its quota, if it has one.
    pub(crate) fn quota(&self) -> Option<Quota> {
        self.terms.lock().quota
    }

    /// The start of the quota's period, in seconds since 1970, if it is not known yet what has moved
    /// in it.
    pub(crate) fn to_recall(&self, now: SystemTime) -> Option<u64> {
        self.turn(now);
        self.quota().and_then(|_| self.traffic.to_recall())
    }

    /// So much is written down of the period that began then, and nobody writes at this moment.
    pub(crate) fn recall(&self, start: u64, written: u64) {
        let owed = self.accounts.0.lock().owed.get(&(self.key.clone(), start)).copied();
        self.traffic.recall(start, written.saturating_add(owed.unwrap_or(0)));
    }

    /// So many bytes have moved. Whether more may.
    pub(crate) fn moved(&self, bytes: u64) -> bool {
        self.quota().is_none_or(|quota| self.traffic.moved(bytes, quota))
    }

    /// Whether some of the quota is left at `now`; a new period begins with all of it.
    pub(crate) fn has_quota(&self, now: SystemTime) -> bool {
        self.turn(now);
        self.quota().is_none_or(|quota| self.traffic.has_some(quota))
    }

    /// Begins a new period if it is time.
    fn turn(&self, now: SystemTime) {
        if let Some((period, bytes)) = self.quota().and_then(|quota| self.traffic.turn(quota, now))
        {
            self.accounts.owe([((self.key.clone(), period), bytes)]);
        }
    }
}

impl Claimed {
    /// One session less claims the tunnel.
    fn remove(&mut self, name: &TunnelName) {
        let Some(tunnel) = self.tunnels.get_mut(name) else { return };
        tunnel.claims -= 1;
        if tunnel.claims == 0 {
            self.ports -= tunnel.ports;
            self.tunnels.remove(name);
        }
    }
}

/// Whether there is room for one more beside `there`.
fn within(there: usize, most: Option<u32>) -> bool {
    most.is_none_or(|most| there < most as usize)
}

impl Drop for Part {
    fn drop(&mut self) {
        let counter = match &self.what {
            What::Session => &self.account.sessions,
            What::Visitor => &self.account.visitors,
            What::Tunnel(name) => {
                self.account.tunnels.lock().remove(name);
                return;
            }
        };
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some((period, bytes)) = self.traffic.take() {
            self.accounts.owe([((self.key.clone(), period), bytes)]);
        }
        let mut table = self.accounts.0.lock();
        // Another one may have taken its place meanwhile.
        if table.accounts.get(&self.key).is_some_and(|account| account.strong_count() == 0) {
            table.accounts.remove(&self.key);
        }
    }
}

/// As it stands in a store. Those of [`siblings`](AccountKey::siblings) are of one length and of
/// digits that come in the same order everywhere, whatever language a database sorts in.
impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |link: &LinkId| data_encoding::HEXLOWER.encode(&link.0);
        match self {
            Self::Owner(owner) => write!(f, "owner:{owner}"),
            Self::Token(link) => write!(f, "token:{}", hex(link)),
            Self::Narrowed { root, link } => write!(f, "token:{}{}", hex(root), hex(link)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn account(accounts: &Accounts, terms: Terms) -> Arc<Account> {
        accounts.open(AccountKey::Owner("ann".into()), || terms)
    }

    #[test]
    fn there_is_room_for_as_many_as_the_terms_say() {
        let accounts = Accounts::default();
        let two = Some(2);
        let terms = Terms { max_visitors: two, max_sessions: two, ..Terms::default() };
        let ann = account(&accounts, terms);
        let visitors = [ann.visitor().unwrap(), ann.visitor().unwrap()];
        assert_eq!(ann.visitor().unwrap_err(), Limit::VisitorsPerOwner);
        let _sessions = [ann.session().unwrap(), ann.session().unwrap()];
        assert_eq!(ann.session().unwrap_err(), Limit::SessionsPerOwner);
        drop(visitors);
        assert!(ann.visitor().is_ok());
        // The same account, for whoever comes with the same key.
        account(&accounts, Terms { max_visitors: Some(0), ..Terms::default() });
        assert!(ann.visitor().is_err());
    }

    #[test]
    fn a_tunnel_counts_once_however_many_sessions_claim_it() {
        let accounts = Accounts::default();
        let ann = account(&accounts, Terms { max_tunnels: Some(1), ..Terms::default() });
        let [web, db] = ["web", "db"].map(|name| name.parse().unwrap());
        let claims = [ann.tunnel(&web, 1).unwrap(), ann.tunnel(&web, 1).unwrap()];
        assert_eq!(ann.tunnel(&db, 1).unwrap_err(), Limit::TunnelsPerToken);
        drop(claims);
        assert!(ann.tunnel(&db, 1).is_ok());
    }

    #[test]
    fn a_tunnel_with_several_ports_counts_as_so_many_tunnels() {
        let accounts = Accounts::default();
        let ann = account(&accounts, Terms { max_tunnels: Some(9), ..Terms::default() });
        let [web, db, ssh] = ["web", "db", "ssh"].map(|name| name.parse().unwrap());
        let first = ann.tunnel(&web, 8).unwrap();
        assert_eq!(ann.tunnel(&db, 2).unwrap_err(), Limit::TunnelsPerToken);
        let _one = ann.tunnel(&db, 1).unwrap();
        // It is there already.
        let second = ann.tunnel(&web, 8).unwrap();
        drop(first);
        assert_eq!(ann.tunnel(&ssh, 1).unwrap_err(), Limit::TunnelsPerToken);
        drop(second);
        assert!(ann.tunnel(&ssh, 8).is_ok());
        assert!(ann.tunnel(&ssh, 9).is_err(), "one is in use");
    }

    #[test]
    fn an_account_is_gone_with_the_last_part_in_it() {
        let accounts = Accounts::default();
        let ann = account(&accounts, Terms::default());
        assert!(ann.visitor().unwrap().is_none(), "nobody counts them");
        let session = ann.session().unwrap();
        drop(ann);
        assert_eq!(accounts.all().len(), 1);
        drop(session);
        assert!(accounts.0.lock().accounts.is_empty());
    }

    #[test]
    fn a_quota_is_used_up_and_begins_anew_with_its_period() {
        let accounts = Accounts::default();
        let quota: Quota = "1kB/day".parse().unwrap();
        let ann = account(&accounts, Terms { quota: Some(quota), ..Terms::default() });
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert!(ann.has_quota(now) && ann.moved(600) && ann.moved(400));
        assert!(!ann.has_quota(now) && !ann.moved(1));
        let period = quota.period().start(now);
        let mut unwritten = accounts.take_moved(now);
        assert_eq!(unwritten.batch(), Some(vec![("owner:ann".into(), period, 1001)]));
        assert!(accounts.take_moved(now).batch().is_none(), "somebody is at it");
        // What could not be written is there the next time, together with what came to it.
        drop(unwritten);
        ann.moved(9);
        drop(ann);
        unwritten = accounts.take_moved(now);
        assert_eq!(unwritten.batch(), Some(vec![("owner:ann".into(), period, 1010)]));
        unwritten.written(1);
        drop(unwritten);
        assert!(accounts.take_moved(now).batch().is_none());
        let ann = account(&accounts, Terms { quota: Some(quota), ..Terms::default() });
        assert!(ann.has_quota(now + Duration::from_secs(24 * 3600)));
    }

    #[test]
    fn what_is_about_to_be_written_is_recalled_with_what_is() {
        let accounts = Accounts::default();
        let quota = "1kB/day".parse().unwrap();
        let open = || account(&accounts, Terms { quota: Some(quota), ..Terms::default() });
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let ann = open();
        assert!(ann.has_quota(now) && ann.moved(90));
        drop(ann);
        let ann = open();
        let start = ann.to_recall(now).expect("a period");
        ann.recall(start, 900);
        assert_eq!(ann.to_recall(now), None);
        assert!(ann.has_quota(now) && ann.moved(10) && !ann.moved(1));
    }
}
