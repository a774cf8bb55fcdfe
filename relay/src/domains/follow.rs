//! Keeps what is known of host names up to date, for as long as the relay runs.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::control::protocol::{DomainName, WebHost};
use shared::kit::backoff::Backoff;
use shared::kit::logging::Rate;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::claims::Table;
use super::prover::Prover;
use super::writer::Writer;
use super::{Domains, Verdict, audit};
use crate::config::{DnsUpdate, DomainSettings};
use crate::metrics::Proof;
use crate::store::{Change, DomainRecord, Store, StoreError};

/// How often it is looked whether the settings of records have changed.
const LOOK: Duration = Duration::from_secs(5);

/// The pauses before records are made again that could not be: a name server comes back soon, and a
/// program that is wrong is not run all the time.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

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
        let mut kept: Option<Kept> = None;
        let (mut again, mut pauses) = (Instant::now(), AGAIN);
        let mut failed = None;
        loop {
            let config = self.0.config.now();
            let wildcard = config.web.domain_name().map(|domain| format!("*.{domain}"));
            let settings = &config.domains;
            if let Some(name) = wildcard.filter(|_| !settings.addresses.is_empty())
                && let Some(writer) = Writer::of(settings, &name)
            {
                let wanted = Kept { settings: Records::of(settings, &name), since: Instant::now() };
                let is_kept = kept.as_ref().is_some_and(|kept| {
                    let is_new = !writer.is_renewed() || kept.since.elapsed() < RENEW;
                    kept.settings == wanted.settings && is_new
                });
                // Other settings are tried at once.
                if failed.as_ref().is_some_and(|failed| *failed != wanted.settings) {
                    (again, pauses) = (Instant::now(), AGAIN);
                }
                if !is_kept && Instant::now() >= again {
                    let before = kept.as_ref().map(|kept| &kept.settings);
                    let before = before.filter(|before| before.name == name);
                    let before = before.map_or(&[][..], |before| &before.addresses);
                    if self.make_records(&writer, &name, &settings.addresses, before).await {
                        (kept, failed, pauses) = (Some(wanted), None, AGAIN);
                    } else {
                        failed = Some(wanted.settings);
                        again = Instant::now() + pauses.next_delay();
                    }
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn make_records(
        &self,
        writer: &Writer,
        name: &str,
        addresses: &[IpAddr],
        before: &[IpAddr],
    ) -> bool {
        let done = writer.point(name, addresses, before).await;
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

/// What all subdomains lead to, and who was to see to it.
#[derive(PartialEq)]
struct Records {
    update: Option<DnsUpdate>,
    hook: Option<PathBuf>,
    addresses: Vec<IpAddr>,
    name: String,
}

/// What was made.
struct Kept {
    settings: Records,
    since: Instant,
}

impl Records {
    fn of(settings: &DomainSettings, name: &str) -> Self {
        let DomainSettings { update, hook, addresses, .. } = settings.clone();
        Self { update, hook, addresses, name: name.to_owned() }
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
