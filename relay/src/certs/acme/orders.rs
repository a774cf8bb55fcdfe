//! The task that orders what is wanted, and renews it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::kit::args;
use shared::kit::backoff::Backoff;
use shared::kit::logging::Rate;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::super::CertName;
use super::super::served::Served;
use super::super::table::{Ordered, Table};
use super::super::wanted::Hosts;
use super::account::Authority;
use super::due::{Due, due};
use super::job::{Done, What, ask, order};
use super::order::Issued;
use super::ration::{LONGEST_ORDER, Ration, Verdict, WEEK, Why};
use super::renewal;
use super::trouble::Trouble;
use crate::metrics::{CertificateOrder, Metrics};
use crate::store::{KeptCertificate, OrderEnd, StoreError};

/// So many orders are under way at a time: authorities answer within seconds, and nobody is in a
/// hurry.
const AT_ONCE: usize = 3;

/// Hosts that come one after another are thought of together.
const GAP: Duration = Duration::from_millis(100);

/// However little there is to do, the clock of the machine may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How long to wait with a store that cannot be reached.
const STORE_AGAIN: Duration = Duration::from_secs(10);

/// How long until it is looked what has come of an order of another relay with the same store.
const OTHERS_AGAIN: Duration = Duration::from_secs(60);

/// The waits for an authority that cannot be reached.
const AUTHORITY_AGAIN: Backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(3600));

/// Names that have to wait for a limit: there can be as many as there are tunnels.
static PUT_OFF: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "certificates are put off: {more}");
});

/// Orders that fail: of each name few, of all of them many.
static FAILED: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "orders of certificates have failed: {more}");
});

/// Orders what is wanted, and renews it.
#[derive(Debug)]
pub(in super::super) struct Orders {
    authority: Arc<Authority>,
    hosts: Hosts,
    table: Table,
    metrics: Metrics,
    running: JoinSet<Done>,
    /// The names of orders that run.
    busy: HashSet<CertName>,
    /// Names that wait for a limit, of which that was said.
    put_off: HashSet<CertName>,
    /// When the authority is asked about the renewal of a certificate: now, if it is not here.
    ask_at: HashMap<CertName, SystemTime>,
    is_asking: bool,
    /// The authority does not say when it wants certificates renewed.
    says_nothing: bool,
    /// Certificates that could not be written down.
    unsaved: Vec<KeptCertificate>,
    /// The authority, or the store, cannot be reached before then.
    closed_until: SystemTime,
    again: Backoff,
    /// When what has expired was last forgotten.
    tidied: SystemTime,
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

    /// Runs until it is to stop. What is under way then is broken off, and its traces in the DNS are
    /// removed.
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
                Some(done) = self.running.join_next() => self.ended(done).await,
                () = changed => (),
                () = sleep(wait.clamp(GAP, LONGEST_SLEEP)) => (),
            }
        }
        while let Some(done) = self.running.join_next().await {
            self.ended(done).await;
        }
    }

    /// Begins what is due. Returns when there may be more.
    async fn round(&mut self, now: SystemTime) -> SystemTime {
        self.tidy(now).await;
        let wildcard = self.authority.settings.wildcard.as_ref();
        let plan = due(self.hosts.all().into_iter(), wildcard, &self.table, now);
        let mut look_at = plan.next.unwrap_or(now + LONGEST_SLEEP);
        self.put_off.retain(|name| plan.due.iter().any(|due| due.name == *name));
        if now < self.closed_until {
            return look_at.min(self.closed_until);
        }
        look_at = look_at.min(self.ask(&plan.held, now));
        let mut due = plan.due.into_iter().filter(|due| !self.busy.contains(&due.name)).peekable();
        if due.peek().is_none() || self.busy.len() >= AT_ONCE {
            return look_at;
        }
        match self.begin_all(due.collect(), now).await {
            Ok(again) => look_at.min(again),
            Err(err) => {
                warn!("no certificate is ordered now: {err}");
                self.closed_until = now + STORE_AGAIN;
                self.closed_until
            }
        }
    }

    /// Begins those that may be ordered now. Returns when there may be more.
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
            match ration.look(&due.name.to_string(), due.is_renewal, now) {
                Verdict::Now if self.busy.len() >= places => break,
                Verdict::Now => {
                    if self.begin(&due.name, now).await? {
                        ration.count(now);
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
                    self.put_off(due.name, at, what);
                }
            }
        }
        Ok(look_at)
    }

    /// Begins one order, unless another relay with the same store has done so. Whether it has begun.
    async fn begin(&mut self, name: &CertName, now: SystemTime) -> Result<bool, StoreError> {
        let (store, directory) = (self.authority.store.clone(), self.authority.directory());
        let text = name.to_string();
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

    fn put_off(&mut self, name: CertName, until: SystemTime, what: &'static str) {
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
            self.running.spawn(ask(Arc::clone(&self.authority), name, certificate));
        }
        self.ask_at.values().min().copied().unwrap_or(now + LONGEST_SLEEP)
    }

    async fn ended(&mut self, done: Result<Done, JoinError>) {
        let Done { name, what } = match done {
            Ok(done) => done,
            Err(err) => {
                error!("an order of a certificate panicked: {err}");
                // Whose it was is not known: each is as good as over.
                self.busy.clear();
                self.is_asking = false;
                return;
            }
        };
        match what {
            What::Ordered(began, result) => {
                self.busy.remove(&name);
                let (end, again) = match result {
                    None => (OrderEnd::NotReached, None),
                    Some(Ok(issued)) => self.issued(&name, *issued).await,
                    Some(Err(trouble)) => self.failed(&name, &trouble).await,
                };
                let (store, directory) = (&self.authority.store, self.authority.directory());
                let text = name.to_string();
                let noted = store.end_order(directory, &text, began, end, again).await;
                if let Err(err) = noted {
                    warn!("how the order for {name} has ended is not written down: {err}");
                }
            }
            What::Asked(answer) => {
                self.is_asking = false;
                self.asked(name, answer).await;
            }
        }
    }

    async fn issued(&mut self, name: &CertName, issued: Issued) -> (OrderEnd, Option<SystemTime>) {
        let Issued { served, chain, key } = issued;
        let (expires, renew) = (served.expires, renewal::by_itself(&served));
        info!(
            "the certificate of {name} has been issued: it is good until {} and is renewed before",
            args::day(expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
        );
        self.table.set_ordered(name, Ordered { served: Arc::new(served), renew });
        self.metrics.certificate_order(CertificateOrder::Issued);
        self.again.reset();
        self.ask_at.remove(name);
        self.unsaved.push(KeptCertificate { name: name.to_string(), chain, key, expires, renew });
        self.save().await;
        (OrderEnd::Issued, None)
    }

    async fn failed(
        &mut self,
        name: &CertName,
        trouble: &Trouble,
    ) -> (OrderEnd, Option<SystemTime>) {
        let now = SystemTime::now();
        let (end, metric, again) = if trouble.is_counted {
            let (store, directory) = (&self.authority.store, self.authority.directory());
            let past = store.certificate_orders(directory, now - WEEK).await.unwrap_or_default();
            let again = Ration::new(&past).after_failure(&name.to_string(), now);
            let again = trouble.not_before.map_or(again, |not_before| again.max(not_before));
            self.again.reset();
            (OrderEnd::Failed, CertificateOrder::Failed, again)
        } else {
            let again = now + self.again.next_delay();
            self.closed_until = trouble.not_before.map_or(again, |at| again.max(at));
            (OrderEnd::NotReached, CertificateOrder::NotReached, self.closed_until)
        };
        self.metrics.certificate_order(metric);
        if FAILED.allows() {
            let advice = trouble.advice(self.authority.challenge.of(name));
            warn!(
                "no certificate for {name}: {trouble}: {advice} (tried again in {})",
                wait(again)
            );
        }
        (end, Some(again).filter(|_| trouble.is_counted))
    }

    async fn asked(
        &mut self,
        name: CertName,
        answer: Result<Option<(instant_acme::RenewalInfo, Duration)>, Trouble>,
    ) {
        let now = SystemTime::now();
        let wait = match answer {
            Ok(None) => {
                self.says_nothing = true;
                return;
            }
            Err(trouble) => {
                debug!("the authority does not say when to renew {name}: {trouble}");
                renewal::ASK_AGAIN
            }
            Ok(Some((info, after))) => {
                let before = self.table.ordered(&name).map_or(now, |ordered| ordered.renew);
                let renew = renewal::as_wanted(&info, now, before);
                if renew != before {
                    self.renew_at(&name, renew).await;
                }
                renewal::ask_again(after)
            }
        };
        self.ask_at.insert(name, now + wait);
    }

    async fn renew_at(&self, name: &CertName, renew: SystemTime) {
        self.table.renew_at(name, renew);
        let (store, directory) = (&self.authority.store, self.authority.directory());
        let set = store.renew_certificate_at(directory, &name.to_string(), renew).await;
        if let Err(err) = set {
            // The authority says so again.
            debug!("when {name} is to be renewed is not written down: {err}");
        }
    }

    /// Writes down what was issued. What cannot be stays for the next time.
    async fn save(&mut self) {
        while let Some(kept) = self.unsaved.last() {
            let (store, directory) = (&self.authority.store, self.authority.directory());
            if let Err(err) = store.keep_certificate(directory, kept).await {
                warn!(
                    "the certificate of {} cannot be kept, and is good until the relay ends: {err}",
                    kept.name
                );
                return;
            }
            self.unsaved.pop();
        }
    }

    /// Writes down what could not be, and forgets what is over.
    async fn tidy(&mut self, now: SystemTime) {
        self.save().await;
        if now.duration_since(self.tidied).is_ok_and(|since| since < LONGEST_SLEEP) {
            return;
        }
        self.tidied = now;
        self.table.forget_expired(now);
        if let Err(err) = self.authority.store.forget_certificates(now, now - WEEK).await {
            debug!("what has expired is still kept: {err}");
        }
    }
}

impl KeptCertificate {
    /// Has it shown to visitors.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub(in super::super) fn show(&self, table: &Table) -> anyhow::Result<()> {
        let name = self.name.parse().map_err(anyhow::Error::msg)?;
        let served = Arc::new(Served::from_pem(&self.chain, &self.key.0)?);
        table.set_ordered(&name, Ordered { served, renew: self.renew });
        Ok(())
    }
}

/// How long it is until then, for people.
fn wait(until: SystemTime) -> String {
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    args::time(Duration::from_secs(left.as_secs()))
}
