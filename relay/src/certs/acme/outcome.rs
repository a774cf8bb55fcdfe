//! What comes of orders, and what is kept of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::RenewalInfo;
use shared::kit::args;
use shared::kit::logging::{Foreign, Rate};
use tokio::task::JoinError;
use tracing::{debug, error, info, warn};

use super::super::CertName;
use super::super::served::Served;
use super::super::table::{Ordered, Table};
use super::checks::Obstacle;
use super::job::{Done, What};
use super::order::Issued;
use super::orders::{Orders, STORE_AGAIN};
use super::ration::{Ration, WEEK};
use super::renewal;
use super::trouble::{Trouble, Whose};
use crate::metrics::CertificateOrder;
use crate::store::{KeptCertificate, OrderEnd};

/// What has expired is forgotten so often.
const TIDIED: Duration = Duration::from_secs(3600);

/// Orders that fail: of each name few, of all of them many.
static FAILED: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "orders of certificates have failed: {more}");
});

impl Orders {
    /// Takes note of what has come of a job.
    pub(super) async fn ended(&mut self, done: Result<Done, JoinError>) {
        let Done { name, what } = match done {
            Ok(done) => done,
            Err(err) => {
                error!("an order of a certificate panicked: {err}");
                // Whose it was is not known: each is as good as over.
                self.busy.clear();
                self.checks.broken_off();
                self.is_asking = false;
                return;
            }
        };
        match what {
            What::Checked(None) => self.checks.broken_off(),
            What::Checked(Some(Ok(()))) => self.checks.passed(name, SystemTime::now()),
            What::Checked(Some(Err(obstacle))) => self.not_placed(&name, obstacle),
            What::Ordered(began, result) => {
                self.busy.remove(&name);
                let (end, again) = match result {
                    None => (OrderEnd::NotReached, None),
                    Some(Ok(issued)) => self.issued(&name, *issued).await,
                    Some(Err(trouble)) => self.failed(&name, &trouble).await,
                };
                if end == OrderEnd::NotReached {
                    self.shares.uncount(&name, began);
                }
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
        let kept = KeptCertificate { name: name.to_string(), chain, key, expires, renew };
        self.unsaved.retain(|before| before.name != kept.name);
        self.unsaved.push(kept);
        self.save().await;
        (OrderEnd::Issued, None)
    }

    /// A name is not ordered, of which neither the authority nor the store hears.
    fn not_placed(&mut self, name: &CertName, obstacle: Obstacle) {
        let again = self.checks.failed(name.clone(), &obstacle, SystemTime::now());
        self.metrics.certificate_order(CertificateOrder::NotPlaced);
        if FAILED.allows() {
            let (what, advice) = match obstacle {
                Obstacle::Name(what, advice) => (what, advice),
                Obstacle::NameServers(what) => {
                    (what, "do the name servers answer that --resolver names?")
                }
            };
            let (what, wait) = (Foreign(&what), wait(again));
            warn!("no certificate for {name}: {what}: {advice} (tried again in {wait})");
        }
    }

    async fn failed(
        &mut self,
        name: &CertName,
        trouble: &Trouble,
    ) -> (OrderEnd, Option<SystemTime>) {
        let now = SystemTime::now();
        let not_sooner = |again| trouble.not_before.map_or(again, |at| at.max(again));
        let (end, metric, again) = match trouble.whose {
            Whose::Order => {
                let again = not_sooner(self.after_failure(name, now).await);
                self.again.reset();
                (OrderEnd::Failed, CertificateOrder::Failed, again)
            }
            Whose::All => {
                self.closed_until = not_sooner(now + self.again.next_delay());
                (OrderEnd::NotReached, CertificateOrder::NotReached, self.closed_until)
            }
        };
        self.metrics.certificate_order(metric);
        if FAILED.allows() {
            let advice = trouble.advice(self.authority.challenge.of(name));
            warn!(
                "no certificate for {name}: {trouble}: {advice} (tried again in {})",
                wait(again)
            );
        }
        // Only what is the name's own is held against it, also by a relay that starts again.
        (end, Some(again).filter(|_| trouble.whose == Whose::Order))
    }

    /// Before when a name is not ordered again to which the authority has said no at `now`.
    async fn after_failure(&self, name: &CertName, now: SystemTime) -> SystemTime {
        let (store, directory) = (&self.authority.store, self.authority.directory());
        let past = store.certificate_orders(directory, now - WEEK).await.unwrap_or_default();
        Ration::new(&past).after_failure(&name.to_string(), now)
    }

    async fn asked(
        &mut self,
        name: CertName,
        answer: Result<Option<(RenewalInfo, Duration)>, Trouble>,
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
                self.closed_until = SystemTime::now() + STORE_AGAIN;
                return;
            }
            self.unsaved.pop();
        }
    }

    /// Writes down what could not be, and forgets what is over.
    pub(super) async fn tidy(&mut self, now: SystemTime) {
        if now >= self.closed_until {
            self.save().await;
        }
        if now.duration_since(self.tidied).is_ok_and(|since| since < TIDIED) {
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
pub(super) fn wait(until: SystemTime) -> String {
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    args::time(Duration::from_secs(left.as_secs()))
}
