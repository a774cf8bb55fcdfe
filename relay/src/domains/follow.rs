//! Keeps what is known of host names up to date, for as long as the relay runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::control::protocol::{DomainName, WebHost};
use shared::kit::logging::Rate;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::claims::Table;
use super::prover::Prover;
use super::update::Zone;
use super::{Domains, Verdict, audit};
use crate::config::DnsUpdate;
use crate::metrics::Proof;
use crate::store::{Change, DomainRecord, Store, StoreError};

/// How often it is looked whether the zone's settings have changed, and when a change of the zone is
/// tried again that has failed.
const LOOK: Duration = Duration::from_secs(5);

/// How often the records of a zone are made again: somebody may have put an older zone in place.
const RENEW: Duration = Duration::from_secs(3600);

/// Changes that cannot be read, again and again.
static UNHEARD: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "what has changed of host names cannot be read: {more}");
});

/// Proofs that nobody can say anything of: a name server that is away is so for all of them.
static UNKNOWN: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "nobody can say whether proofs are there: {more}");
});

/// Records that cannot be made, again and again.
static NOT_MADE: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "records are not made: {more}");
});

impl Domains {
    /// Follows what others change in the store, looks proofs up again, and keeps the records of the
    /// relay's zone as they are to be, until `stop`.
    pub(crate) async fn follow(&self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            never = self.hear() => match never {},
            never = self.look_at_all() => match never {},
            never = self.keep_zone() => match never {},
            never = self.look_for_awaited() => match never {},
            () = stop.cancelled() => Ok(()),
        }
    }

    /// Follows what others change.
    async fn hear(&self) -> Infallible {
        let Some(store) = &self.0.store else { return std::future::pending().await };
        let mut changes = store.changes("host names");
        // Whatever was missed because the store went away in the middle.
        let mut owed = Vec::new();
        loop {
            changes.add_to(&mut owed).await;
            if owed.iter().all(|change| matches!(change, Change::Token(_))) {
                owed.clear();
                continue;
            }
            match self.learn(store).await {
                Ok(()) => owed.drain(..).for_each(|change| audit::changed(&change)),
                Err(err) => {
                    if UNHEARD.allows() {
                        warn!("what has changed of host names cannot be read: {err}");
                    }
                }
            }
        }
    }

    /// Learns everything anew.
    pub(super) async fn learn(&self, store: &Store) -> Result<(), StoreError> {
        let table = Table::new(store.domains().await?);
        *self.0.table.write() = Arc::new(table);
        self.0.changed.send_replace(());
        Ok(())
    }

    /// Looks all proofs up from time to time, one after the other.
    async fn look_at_all(&self) -> Infallible {
        if self.0.store.is_none() {
            return std::future::pending().await;
        }
        loop {
            let table = self.table();
            for record in table.all().filter(|record| record.proven.is_some()) {
                self.look_again(record).await;
            }
            drop(table);
            sleep(self.0.config.now().domains.recheck).await;
        }
    }

    /// Looks whether the proof of what is somebody's is still there, and keeps in the store what
    /// follows from it. `None`: it is no domain.
    pub(super) async fn look_again(&self, record: &DomainRecord) -> Option<Verdict> {
        let WebHost::Host(name) = &record.host else { return None };
        let store = self.0.store.as_ref()?;
        let verdict = self.look(name, record).await;
        let grace = self.0.config.now().domains.grace;
        if let Err(err) = note(store, record, &verdict, grace).await
            && UNHEARD.allows()
        {
            warn!(domain = %name, "what was found is not written down: {err}");
        }
        Some(verdict)
    }

    /// Looks for the proof that `name` is the owner's of this record.
    pub(super) async fn look(&self, name: &DomainName, record: &DomainRecord) -> Verdict {
        let prover = Prover::new(&self.0.config.now());
        let table = self.table();
        let records = prover.records(name, &record.owner, &record.code, table.all());
        let verdict = prover.look(name, &records).await;
        self.0.metrics.proof(match &verdict {
            Verdict::Proven(_) => Proof::Found,
            Verdict::Missing(_) => Proof::Missing,
            Verdict::Unknown(_) => Proof::Unknown,
        });
        if let Verdict::Unknown(why) = &verdict
            && UNKNOWN.allows()
        {
            warn!(domain = %name, "nobody can say whether the proof is there: {why}");
        }
        verdict
    }

    /// Lets all subdomains lead to where the settings say, as long as they do.
    async fn keep_zone(&self) -> Infallible {
        let mut kept: Option<(DnsUpdate, String, Instant)> = None;
        loop {
            let config = self.0.config.now();
            let (update, domain) = (config.domains.update.clone(), config.web.domain_name());
            if let (Some(update), Some(domain)) = (update, domain)
                && !update.addresses.is_empty()
            {
                let name = format!("*.{domain}");
                let is_kept = kept.as_ref().is_some_and(|(rules, made, since)| {
                    *rules == update && *made == name && since.elapsed() < RENEW
                });
                if !is_kept && self.make_records(&update, &name).await {
                    kept = Some((update, name, Instant::now()));
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn make_records(&self, update: &DnsUpdate, name: &str) -> bool {
        let done = Zone::new(update).point(name, &update.addresses).await;
        self.0.metrics.dns_update(done.is_ok());
        match &done {
            Ok(()) => info!(name, "the name leads to --dns-address"),
            Err(err) if NOT_MADE.allows() => {
                warn!(name, "the name does not lead to --dns-address: {err:#}");
            }
            Err(_) => (),
        }
        done.is_ok()
    }
}

/// Keeps in the store what follows from a look at a proof.
async fn note(
    store: &Store,
    record: &DomainRecord,
    verdict: &Verdict,
    grace: Duration,
) -> Result<(), StoreError> {
    let DomainRecord { host, owner, .. } = record;
    let domain = host.as_str();
    match verdict {
        Verdict::Unknown(_) => Ok(()),
        Verdict::Proven(_) => {
            if record.missing.is_some() && store.note_missing(host, owner, false).await? {
                info!(domain, %owner, "the proof of the host name is there again");
                audit::proof(record, "found");
            }
            Ok(())
        }
        Verdict::Missing(found) => {
            if record.missing.is_none() && store.note_missing(host, owner, true).await? {
                warn!(
                    domain, %owner,
                    "the proof of the host name is gone, and in {} so is the name: {found}. \
                     `relay domain add {domain} --user {owner}` says which record is needed",
                    shared::kit::args::time(grace)
                );
                audit::proof(record, "missing");
            }
            let Some(long_ago) = SystemTime::now().checked_sub(grace) else { return Ok(()) };
            if store.lose_domain(host, owner, long_ago).await? {
                warn!(domain, %owner, "the host name is its owner's no longer: its proof is gone");
                audit::proof(record, "lost");
            }
            Ok(())
        }
    }
}
