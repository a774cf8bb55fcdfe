//! Whose host names are.
//!
//! A label in front of the relay's domain is for whoever comes first, unless it misleads
//! ([`reserved`]) or is kept for somebody. A domain of somebody else's is for the first user who
//! has proven in DNS that it is theirs ([`proof`]), as long as the proof is there.
//!
//! - [`Domains`] answers whether somebody may have a host name, from what it knows; it never waits
//! - [`follow`] keeps what it knows up to date: it hears of what others change in the store, which
//!   is [learned](learn) anew, and looks whether proofs are still there
//! - [`wait`] writes down what clients ask for, and looks for the proofs that they wait for; which
//!   those are, and when it is time, [`awaited`] says
//! - [`Prover`] looks proofs up, with the [`resolver`]; the tools do so too
//! - [`addresses`] keeps the records that lead all subdomains to the relay
//! - [`writer`] makes records: in a zone that takes changes ([`update`], RFC 2136), or by the
//!   operator's program ([`hook`])
//!
//! # Invariants
//!
//! - A domain has one owner. The store sees to it, whoever proves what at the same time.
//! - What nobody can say, because a name server is silent, takes a domain from nobody; nor does it
//!   give one to anybody.
//! - The relay's own names, and all below its domain, are nobody's but as subdomains.

mod addresses;
mod audit;
mod awaited;
mod claims;
mod follow;
mod hook;
mod learn;
mod lookalike;
mod own;
mod proof;
mod prover;
mod reserved;
mod resolver;
#[cfg(test)]
mod tests;
mod update;
mod wait;
mod words;
mod writer;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use shared::control::protocol::{DomainName, Refusal, WebHost};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use crate::access::Owner;
use crate::config::CurrentConfig;
use crate::metrics::{HostRefusal, Metrics};
use crate::store::{Store, StoreError};

pub(crate) use self::claims::{Refused, own};
pub(crate) use self::lookalike::Looks;
pub(crate) use self::proof::{Records, Verdict, new_code};
pub(crate) use self::prover::Prover;
pub(crate) use self::reserved::{Reserved, Why};
pub(crate) use self::wait::Patience;
pub(crate) use self::writer::{Passing, Writer};

use self::awaited::Awaited;
use self::claims::{Claims, Table};
use self::learn::Learning;
use self::prover::own_names;

/// Whose host names are. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Domains(Arc<Shared>);

/// Why it cannot be relied on that a domain is whose the relay takes it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// What proves it is not there.
    Missing,
    /// Nobody can say right now, and why.
    Unknown(String),
}

#[derive(Debug)]
struct Shared {
    config: CurrentConfig,
    store: Option<Store>,
    /// Everything that the store knows: operators add what is in it, and clients a few names each.
    /// So the store is asked nothing while a client waits, and told of a new name alone.
    table: RwLock<Arc<Table>>,
    learning: Learning,
    /// Held while the store keeps that a client asks for a name: one at a time, so that each knows
    /// how many there are.
    keeping: AsyncMutex<()>,
    changed: watch::Sender<()>,
    /// What clients wait for.
    awaited: Mutex<Awaited>,
    /// One of them has just asked.
    asked: Notify,
    metrics: Metrics,
}

impl Domains {
    /// Those of this store, if there is one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) async fn new(
        config: CurrentConfig,
        store: Option<Store>,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let records = match &store {
            Some(store) => store.domains().await?,
            None => Vec::new(),
        };
        let table = RwLock::new(Arc::new(Table::new(records)));
        let changed = watch::Sender::default();
        Ok(Self(Arc::new(Shared {
            config,
            store,
            table,
            learning: Learning::default(),
            keeping: AsyncMutex::default(),
            changed,
            awaited: Mutex::default(),
            asked: Notify::new(),
            metrics,
        })))
    }

    /// Whether `owner` may have `host`, as far as anybody else who has it, or has had it, goes by
    /// the store. Who of several may that nobody keeps it for, is for the registry to say.
    ///
    /// It answers from what it knows, which is as new as the store's last change.
    ///
    /// # Errors
    ///
    /// The refusal that the client gets. It says which record or command helps.
    pub(crate) fn may_claim(&self, owner: &Owner, host: &WebHost) -> Result<(), Refusal> {
        self.decide(owner, host).map_err(|(reason, refusal)| {
            self.count_refusal(reason);
            refusal
        })
    }

    /// Somebody does not get a host name.
    pub(crate) fn count_refusal(&self, reason: HostRefusal) {
        self.0.metrics.host_refused(reason);
    }

    fn decide(&self, owner: &Owner, host: &WebHost) -> Result<(), Refused> {
        let config = self.0.config.now();
        let claims = Claims {
            own: &own_names(&config),
            settings: &config.domains,
            table: &self.table(),
            has_users: self.0.store.is_some(),
        };
        claims.check(owner, host)
    }

    /// Looks again whether what proves whose `domain` is, is there. Also that nothing has to be
    /// proven: below the relay's own domain, and with `--any-host` where no user has it.
    ///
    /// For whoever is about to order a certificate.
    ///
    /// # Errors
    ///
    /// It is nobody's, or nobody can say.
    pub(crate) async fn recheck(&self, domain: &DomainName) -> Result<(), Unproven> {
        let config = self.0.config.now();
        if own(&own_names(&config), domain).is_some() {
            return Ok(());
        }
        let holder = self.table().holder(&WebHost::Host(domain.clone())).cloned();
        let Some(holder) = holder else {
            return if config.domains.any_host { Ok(()) } else { Err(Unproven::Missing) };
        };
        match self.look_again(&holder).await {
            Some(Verdict::Proven(_)) => Ok(()),
            Some(Verdict::Unknown(why)) => Err(Unproven::Unknown(why)),
            Some(Verdict::Missing(_)) | None => Err(Unproven::Missing),
        }
    }

    /// What makes records of `name` now.
    ///
    /// # Errors
    ///
    /// Why nothing does.
    pub(crate) fn writer(&self, name: &str) -> anyhow::Result<Writer> {
        Writer::of(&self.0.config.now().domains, name)
    }

    /// What may make a difference to [`may_claim`](Self::may_claim): host names that are somebody's
    /// now, or nobody's any more. Whoever has given tunnels host names asks again.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.table.read())
    }
}
