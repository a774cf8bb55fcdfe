//! The task that orders what is wanted, and renews it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::kit::backoff::Backoff;
use shared::kit::logging::Rate;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::CertName;
use super::super::table::Table;
use super::super::wanted::Hosts;
use super::account::Authority;
use super::checks::{Checks, Standing};
use super::due::{Due, due};
use super::job::{Done, ask, check, order};
use super::outcome::wait;
use super::ration::{LONGEST_ORDER, Ration, Verdict, WEEK, Why};
use super::share::{SHARE, Shares};
use crate::access::Owner;
use crate::metrics::{CertificateOrder, Metrics};
use crate::store::{KeptCertificate, StoreError};

/// So many orders are under way at a time: authorities answer within seconds, and nobody is in a
/// hurry.
const AT_ONCE: usize = 3;

/// Hosts that come one after another are thought of together.
const GAP: Duration = Duration::from_millis(100);

/// However little there is to do, the clock of the machine may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How long to wait with a store that cannot be reached.
pub(super) const STORE_AGAIN: Duration = Duration::from_secs(10);

/// How long until it is looked what has come of an order of another relay with the same store.
const OTHERS_AGAIN: Duration = Duration::from_secs(60);

/// The waits for an authority that cannot be reached.
const AUTHORITY_AGAIN: Backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(3600));

/// Names that have to wait for a limit: there can be as many as there are tunnels.
static PUT_OFF: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "certificates are put off: {more}");
});

/// Orders what is wanted, and renews it.
#[derive(Debug)]
pub(in super::super) struct Orders {
    pub(super) authority: Arc<Authority>,
    hosts: Hosts,
    pub(super) table: Table,
    pub(super) metrics: Metrics,
    pub(super) running: JoinSet<Done>,
    /// The names of orders that run.
    pub(super) busy: HashSet<CertName>,
    /// Names that wait for a limit, of which that was said.
    put_off: HashSet<CertName>,
    pub(super) shares: Shares,
    /// What is looked at before an order is placed.
    pub(super) checks: Checks,
    /// When the authority is asked about the renewal of a certificate: now, if it is not here.
    pub(super) ask_at: HashMap<CertName, SystemTime>,
    pub(super) is_asking: bool,
    /// The authority does not say when it wants certificates renewed.
    pub(super) says_nothing: bool,
    /// Certificates that could not be written down.
    pub(super) unsaved: Vec<KeptCertificate>,
    /// The authority, or the store, cannot be reached before then.
    pub(super) closed_until: SystemTime,
    pub(super) again: Backoff,
    /// When what has expired was last forgotten.
    pub(super) tidied: SystemTime,
    stop: CancellationToken,
}

impl Orders {
    /// Those at this authority, until `stop`.
    pub(in super::super) fn new(
        authority: Arc<Authority>,
        hosts: Hosts,
        table: Table,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        Self {
            authority,
            hosts,
            table,
            metrics,
            running: JoinSet::new(),
            busy: HashSet::new(),
            put_off: HashSet::new(),
            shares: Shares::default(),
            checks: Checks::default(),
            ask_at: HashMap::new(),
            is_asking: false,
            says_nothing: false,
            unsaved: Vec::new(),
            closed_until: SystemTime::UNIX_EPOCH,
            again: AUTHORITY_AGAIN,
            tidied: SystemTime::UNIX_EPOCH,
            stop,
        }
    }

    /// Runs until it is to stop. What is under way then is broken off, and its traces in the DNS
    /// are removed.
    pub(in super::super) async fn run(mut self) {
        while !self.stop.is_cancelled() {
            let now = SystemTime::now();
            let wait = self.round(now).await.duration_since(now).unwrap_or_default();
            let hosts = self.hosts.clone();
            let changed = async {
                hosts.changed().await;
                sleep(GAP).await;
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(done) = self.running.join_next() => self.have_ended(done).await,
                () = changed => (),
                () = sleep(wait.clamp(GAP, LONGEST_SLEEP)) => (),
            }
        }
        while let Some(done) = self.running.join_next().await {
            self.ended(done).await;
        }
    }

    /// Takes note of what has come of a job, and of all others that have ended meanwhile: one round
    /// for all of them, for each asks the store about whatever is due.
    pub(super) async fn have_ended(&mut self, first: Result<Done, JoinError>) {
        let mut next = Some(first);
        while let Some(done) = next {
            self.ended(done).await;
            next = self.running.try_join_next();
        }
    }

    /// Begins what is due. Returns when there may be more.
    async fn round(&mut self, now: SystemTime) -> SystemTime {
        self.tidy(now).await;
        let wildcard = self.authority.settings.wildcard.as_ref();
        let plan = due(self.hosts.all().into_iter(), wildcard, &self.table, now);
        let mut look_at = plan.next.unwrap_or(now + LONGEST_SLEEP);
        let names: HashSet<_> = plan.due.iter().map(|due| &due.name).collect();
        self.put_off.retain(|name| names.contains(name));
        self.checks.tidy(&names, now);
        if now < self.closed_until {
            return look_at.min(self.closed_until);
        }
        look_at = look_at.min(self.ask(&plan.held, now));
        let mut due = Vec::new();
        for one in plan.due {
            match self.checks.of(&one.name, now) {
                Standing::Waits(until) => look_at = look_at.min(until),
                Standing::UnderWay => (),
                Standing::Unseen | Standing::Ready if self.busy.contains(&one.name) => (),
                Standing::Unseen | Standing::Ready => due.push(one),
            }
        }
        if due.is_empty() || self.busy.len() >= AT_ONCE {
            return look_at;
        }
        due.sort_by_key(|due| self.checks.turn(&due.name));
        match self.begin_all(due, now).await {
            Ok(again) => look_at.min(again),
            Err(err) => {
                warn!("no certificate is ordered now: {err}");
                self.closed_until = now + STORE_AGAIN;
                self.closed_until
            }
        }
    }

    /// Begins those that may be ordered now, and looks at some that may be the next. Returns when
    /// there may be more.
    async fn begin_all(
        &mut self,
        due: Vec<Due>,
        now: SystemTime,
    ) -> Result<SystemTime, StoreError> {
        let (store, directory) = (self.authority.store.clone(), self.authority.directory());
        let past = store.certificate_orders(directory, now - WEEK).await?;
        // An account is opened by one order alone.
        let has_account = store.acme_account(directory).await?.is_some();
        let places = if has_account { AT_ONCE } else { 1 };
        let mut ration = Ration::new(&past);
        let mut look_at = now + LONGEST_SLEEP;
        for due in due {
            let whose = match &due.name {
                CertName::Host(host) => self.hosts.owner(host),
                CertName::Below(_) => None,
            };
            let owner = whose.clone().filter(|_| !due.is_renewal);
            let full = owner.as_ref().and_then(|owner| self.shares.full_until(owner, now));
            let verdict = match (ration.look(&due.name.to_string(), due.is_renewal, now), full) {
                (Verdict::Now, Some(at)) => Verdict::At(at, Why::Limit(SHARE)),
                (verdict, _) => verdict,
            };
            let is_ready = self.checks.of(&due.name, now) == Standing::Ready;
            match verdict {
                Verdict::Now if !is_ready => {
                    if self.checks.has_room(whose.as_ref())
                        && !self.look(&due.name, whose, now).await?
                    {
                        look_at = look_at.min(now + OTHERS_AGAIN);
                    }
                }
                Verdict::Now if self.busy.len() >= places => (),
                Verdict::Now => {
                    if self.begin(&due.name, now).await? {
                        ration.count(now);
                        if let Some(owner) = owner {
                            self.shares.count(owner, &due.name, now);
                        }
                    } else {
                        look_at = look_at.min(now + OTHERS_AGAIN);
                    }
                }
                Verdict::At(_, Why::Running) => {
                    if !self.take_over(&due.name, now).await? {
                        look_at = look_at.min(now + OTHERS_AGAIN);
                    }
                }
                Verdict::At(at, Why::Failed) => look_at = look_at.min(at),
                Verdict::At(at, Why::Limit(what)) => {
                    look_at = look_at.min(at);
                    self.checks.forget(&due.name);
                    self.put_off(&due.name, at, what);
                }
            }
        }
        Ok(look_at)
    }

    /// Looks whether one could be ordered, unless another relay with the same store has its
    /// certificate. Whether it looks.
    async fn look(
        &mut self,
        name: &CertName,
        owner: Option<Owner>,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        if self.take_over(name, now).await? {
            return Ok(false);
        }
        self.checks.begin(name.clone(), owner);
        let (authority, stop) = (Arc::clone(&self.authority), self.stop.clone());
        self.running.spawn(check(authority, name.clone(), stop));
        Ok(true)
    }

    /// Begins one order, unless another relay with the same store has done so. Whether it has
    /// begun.
    async fn begin(&mut self, name: &CertName, now: SystemTime) -> Result<bool, StoreError> {
        let (store, directory) = (self.authority.store.clone(), self.authority.directory());
        let text = name.to_string();
        self.checks.forget(name);
        if self.take_over(name, now).await? {
            return Ok(false);
        }
        match store.begin_order(directory, &text, now, now - LONGEST_ORDER).await {
            Ok(()) => (),
            Err(StoreError::Exists) => return Ok(false),
            Err(err) => return Err(err),
        }
        info!("a certificate for {name} is ordered by {}", self.authority.challenge.of(name));
        let old = self.table.ordered(name);
        let old = old.and_then(|old| old.served.key.cert.first().cloned());
        let (authority, table) = (Arc::clone(&self.authority), self.table.clone());
        let stop = self.stop.clone();
        self.busy.insert(name.clone());
        self.put_off.remove(name);
        self.running.spawn(order(authority, table, name.clone(), old, now, stop));
        Ok(true)
    }

    /// Shows what another relay with the same store has ordered, if it has.
    async fn take_over(&self, name: &CertName, now: SystemTime) -> Result<bool, StoreError> {
        let (store, directory) = (&self.authority.store, self.authority.directory());
        let kept = store.certificate(directory, &name.to_string()).await?;
        let has = kept.is_some_and(|kept| kept.renew > now && kept.show(&self.table).is_ok());
        if has {
            info!("the certificate of {name} is one that another relay has ordered");
        }
        Ok(has)
    }

    fn put_off(&mut self, name: &CertName, until: SystemTime, what: &'static str) {
        if !self.put_off.insert(name.clone()) {
            return;
        }
        self.metrics.certificate_order(CertificateOrder::PutOff);
        if PUT_OFF.allows() {
            let wait = wait(until);
            warn!(
                "the certificate of {name} is put off for {wait}: the relay's own limit of {what}; \
                 a wildcard (--acme-wildcard) needs fewer"
            );
        }
    }

    /// Asks the authority about one of these at a time. Returns when there is more to ask.
    fn ask(&mut self, held: &[CertName], now: SystemTime) -> SystemTime {
        if self.says_nothing || self.is_asking {
            return now + LONGEST_SLEEP;
        }
        self.ask_at.retain(|name, _| held.contains(name));
        let due = |name: &&CertName| self.ask_at.get(*name).is_none_or(|at| *at <= now);
        if let Some(name) = held.iter().find(due).cloned()
            && let Some(ordered) = self.table.ordered(&name)
            && let Some(certificate) = ordered.served.key.cert.first().cloned()
        {
            self.is_asking = true;
            let (authority, stop) = (Arc::clone(&self.authority), self.stop.clone());
            self.running.spawn(ask(authority, name, certificate, stop));
        }
        self.ask_at.values().min().copied().unwrap_or(now + LONGEST_SLEEP)
    }
}
