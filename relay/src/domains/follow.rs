//! Keeps what is known of host names up to date, for as long as the relay runs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use shared::control::protocol::{DomainName, WebHost};
use shared::kit::logging::Rate;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::claims::Table;
use super::prover::Prover;
use super::wait::NOT_KEPT;
use super::{Domains, Verdict, audit};
use crate::metrics::Proof;
use crate::store::{Change, DomainRecord, Name, Store, StoreError};

/// So many proofs are looked up again at a time: each may take as long as a name server is silent.
const AT_ONCE: usize = 8;

/// So long after a client has last asked for it a name that is not proven is forgotten. Whoever
/// asks again gets another code, so it is longer than anybody takes to have a record made.
const UNASKED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Changes that cannot be read, again and again.
static UNHEARD: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "what has changed of host names cannot be read: {more}");
});

/// Proofs that nobody can say anything of: a name server that is away is so for all of them.
static UNKNOWN: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "nobody can say whether proofs are there: {more}");
});

impl Domains {
    /// Follows what others change in the store, looks proofs up again, and lets subdomains lead to
    /// the relay, until `stop`.
    pub(crate) async fn follow(&self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            never = self.hear() => match never {},
            never = self.look_at_all() => match never {},
            never = self.keep_addresses() => match never {},
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

    /// Looks all proofs up from time to time, a few at once, and forgets what nobody asks for.
    async fn look_at_all(&self) -> Infallible {
        let Some(store) = &self.0.store else { return std::future::pending().await };
        loop {
            let table = self.table();
            let mut looks = JoinSet::new();
            for record in in_turn(table.all().filter(|record| record.proven.is_some())) {
                if looks.len() >= AT_ONCE {
                    looks.join_next().await.into_iter().for_each(report);
                }
                let (domains, record) = (self.clone(), record.clone());
                looks.spawn(async move { drop(domains.look_again(&record).await) });
            }
            while let Some(ended) = looks.join_next().await {
                report(ended);
            }
            self.forget_unasked(store, &table).await;
            drop(table);
            sleep(self.0.config.now().domains.recheck).await;
        }
    }

    /// Forgets names that are not proven, and that no client has asked for in a long time.
    async fn forget_unasked(&self, store: &Store, table: &Table) {
        let Some(before) = SystemTime::now().checked_sub(UNASKED) else { return };
        let is_over = |record: &DomainRecord| {
            record.proven.is_none() && record.asked.is_some_and(|asked| asked < before)
        };
        // Most times there are none, and nothing has to be written.
        if !table.all().any(is_over) {
            return;
        }
        match store.forget_unasked(before).await {
            Ok(0) => (),
            Ok(count) => info!(count, "host names that no client asks for any more are forgotten"),
            Err(err) if NOT_KEPT.allows() => {
                warn!("host names that no client asks for are not forgotten: {err}");
            }
            Err(_) => (),
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
            && NOT_KEPT.allows()
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
}

/// A look has ended. One that panics has found nothing.
pub(super) fn report(ended: Result<(), JoinError>) {
    if let Err(err) = ended {
        error!("a look for a proof panicked: {err}");
    }
}

/// These records in an order in which no owner has to wait for all that another one has: the first
/// of each, then the second of each.
fn in_turn<'a>(records: impl Iterator<Item = &'a DomainRecord>) -> Vec<&'a DomainRecord> {
    let mut seen: HashMap<&Name, usize> = HashMap::new();
    let numbered = records.map(|record| {
        let number = seen.entry(&record.owner).or_default();
        *number += 1;
        (*number, record)
    });
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, record)| record).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_few_names_does_not_wait_for_whoever_has_many() {
        let record = |owner: &str, name: &str| {
            let host = WebHost::Host(name.parse().unwrap());
            DomainRecord::new(host, owner.parse().unwrap(), "code".into())
        };
        let eves = (0..50).map(|n| record("eve", &format!("n{n}.example.test")));
        let all: Vec<_> = eves.chain([record("ann", "app.example.test")]).collect();
        let order = in_turn(all.iter());
        assert_eq!((order.len(), order[1].owner.as_str()), (51, "ann"));
    }
}
