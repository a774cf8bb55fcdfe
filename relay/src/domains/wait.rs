//! Users whose clients ask for domains that they have not proven yet: they are told which record is
//! missing, and it is looked for as long as a client asks.

use std::convert::Infallible;

use shared::control::protocol::{DomainName, Refusal, RefusalCode, WebHost};
use shared::kit::logging::Rate;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::awaited::Awaiting;
use super::claims::Refused;
use super::{Domains, Verdict, audit, new_code};
use crate::access::Owner;
use crate::metrics::HostRefusal;
use crate::store::{DomainRecord, Name, Store, StoreError};

/// So many names one user may say are its own without having proven them: more than anybody sets up
/// at a time, and what a client adds stays in the store until an operator removes it.
const MOST_UNPROVEN: usize = 16;

/// Names that there is no room for: whoever asks for them goes on asking.
static NO_ROOM: Rate = Rate::new(|more| {
    info!(left_out = more.count, "host names that cannot be waited for: {more}");
});

/// What is found and cannot be written down, or read: a store that is away is so for all of them.
static NOT_KEPT: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "host names that are asked for are not kept: {more}");
});

impl Domains {
    /// As [`may_claim`](Self::may_claim), for a client that asks. A user who could have a domain by
    /// proving it is told by which record, and the record is looked for: whoever asks again gets the
    /// domain when it was there.
    ///
    /// # Errors
    ///
    /// As `may_claim`; or too many are waited for.
    pub(crate) async fn ask(&self, owner: &Owner, host: &WebHost) -> Result<(), Refusal> {
        let mut decided = self.decide(owner, host);
        if let Err((HostRefusal::NotProven, _)) = decided
            && let (Some(store), Owner::User(user)) = (&self.0.store, owner)
            && let WebHost::Host(name) = host
            && let Ok(user) = user.parse()
        {
            decided = match self.begin_to_wait(store, &user, name).await {
                Ok(()) => self.decide(owner, host),
                Err(refused) => Err(refused),
            };
        }
        self.count(decided)
    }

    /// Has the proof that `name` is the user's looked for.
    async fn begin_to_wait(
        &self,
        store: &Store,
        user: &Name,
        name: &DomainName,
    ) -> Result<(), Refused> {
        let host = WebHost::Host(name.clone());
        if self.table().said_by(user, &host).is_none() {
            let new = DomainRecord::new(host, user.clone(), new_code());
            match store.ask_for_domain(&new, MOST_UNPROVEN).await {
                Ok(true) => info!(domain = %name, owner = %user, "a client asks for the host name"),
                Ok(false) => {
                    return Err(no_room(
                        user,
                        name,
                        format!(
                            "{MOST_UNPROVEN} host names of {user} wait to be proven already: prove \
                             one of them, or ask the operator of the relay to take one away (`relay \
                             domain list --user {user}`, `relay domain remove NAME`)"
                        ),
                    ));
                }
                // Another connection was faster, or the user has just gone.
                Err(StoreError::Exists | StoreError::NotFound) => (),
                Err(err) => return Err(unavailable(&err)),
            }
            self.learn(store).await.map_err(|err| unavailable(&err))?;
        }
        let rest = self.rest(name, user);
        if !self.0.awaited.lock().ask(name, user, Instant::now(), rest) {
            let message = "the relay waits for as many proofs of host names as it can: try later";
            return Err(no_room(user, name, message.into()));
        }
        self.0.asked.notify_one();
        Ok(())
    }

    /// Looks for the proofs that clients wait for. Never returns: whoever polls it drops it in the
    /// end.
    pub(super) async fn look_for_awaited(&self) -> Infallible {
        let Some(store) = &self.0.store else { return std::future::pending().await };
        let mut looks = JoinSet::new();
        loop {
            let next = {
                let mut awaited = self.0.awaited.lock();
                while let Some(key) = awaited.begin(Instant::now()) {
                    let (domains, store) = (self.clone(), store.clone());
                    looks.spawn(async move {
                        let is_over = domains.look_for(&store, &key).await;
                        domains.0.awaited.lock().ended(&key, is_over, Instant::now());
                    });
                }
                awaited.next()
            };
            tokio::select! {
                Some(ended) = looks.join_next() => if let Err(err) = ended {
                    error!("a look for a proof panicked: {err}");
                },
                () = self.0.asked.notified() => (),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => (),
            }
        }
    }

    /// Looks for one proof, and gives the domain to whom it is for. Whether nobody has to look again.
    async fn look_for(&self, store: &Store, (name, owner): &Awaiting) -> bool {
        let host = WebHost::Host(name.clone());
        let table = self.table();
        let Some(record) = table.said_by(owner, &host) else { return true };
        if table.holder(&host).is_some() {
            return true;
        }
        match self.look(name, record).await {
            Verdict::Proven(_) if self.imitates(name, owner) => true,
            Verdict::Proven(by) => {
                let given = store.prove_domain(&host, owner, None).await;
                let given = match given {
                    Ok(()) => {
                        info!(domain = %name, %owner, "the host name is proven: {by}");
                        audit::proof(record, "proven");
                        self.learn(store).await
                    }
                    // Somebody else was faster, or an operator has thought otherwise.
                    Err(StoreError::Exists | StoreError::NotFound) => self.learn(store).await,
                    Err(err) => Err(err),
                };
                if let Err(err) = &given
                    && NOT_KEPT.allows()
                {
                    warn!(domain = %name, "the host name is proven, which is not kept: {err}");
                }
                given.is_ok()
            }
            Verdict::Missing(_) | Verdict::Unknown(_) => false,
        }
    }
}

fn no_room(user: &Name, name: &DomainName, message: String) -> Refused {
    if NO_ROOM.allows() {
        info!(domain = %name, owner = %user, "the host name cannot be waited for: {message}");
    }
    (HostRefusal::TooMany, Refusal::new(RefusalCode::OverLimit, message))
}

fn unavailable(err: &StoreError) -> Refused {
    if NOT_KEPT.allows() {
        warn!("what is asked for is not kept: {err}");
    }
    // The client waits, and gets the record when it asks again.
    let message =
        "the relay cannot write down right now who asks for the host name: it is asked again";
    (HostRefusal::NotProven, Refusal::new(RefusalCode::HostNotProven, message))
}
