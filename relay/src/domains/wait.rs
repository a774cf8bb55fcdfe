//! Users whose clients ask for domains that they have not proven yet: they are told which record is
//! missing, and it is looked for as long as a client asks.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use shared::control::protocol::{DomainName, Refusal, RefusalCode, WebHost};
use shared::kit::logging::Rate;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};

use super::awaited::{Awaiting, Full};
use super::claims::Refused;
use super::follow::report;
use super::prover::own_names;
use super::{Domains, Verdict, audit, new_code};
use crate::access::Owner;
use crate::metrics::HostRefusal;
use crate::store::{Asked, DomainRecord, Name, Store, StoreError};

/// So many names one user may say are its own without having proven them, by its clients: more than
/// anybody sets up at a time, and what a client adds stays in the store for weeks.
const MOST_UNPROVEN: usize = 16;

/// So long one message of a client may wait for the store to keep what it asks for. A handshake has
/// five seconds in all.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is written down at most that a client still asks for a name.
const ASKED_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What is found or asked for and cannot be written down: a store that is away is so for all of it.
pub(super) static NOT_KEPT: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "what becomes of host names is not kept: {more}");
});

/// How long one message of a client may still wait for the store, whatever it asks for. It ends at
/// once when the store fails: it would do so for the rest as well.
#[derive(Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    /// That of a message that has just come.
    pub(crate) fn new() -> Self {
        Self::of(PATIENCE)
    }

    /// One of this length.
    pub(super) fn of(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What comes of `keeping`, if it comes in time.
    async fn during<T>(
        &mut self,
        keeping: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let late = |_| Err(StoreError::Unavailable("it does not answer in time".into()));
        if Instant::now() >= self.0 {
            return late(());
        }
        let kept = timeout_at(self.0, keeping).await.unwrap_or_else(|_| late(()));
        if kept.is_err() {
            self.0 = Instant::now();
        }
        kept
    }
}

/// What came of writing down that a client asks for a name.
enum Kept {
    /// It is known.
    Yes,
    /// The owner's clients have asked for as many as they may.
    NoRoom,
}

impl Domains {
    /// As [`may_claim`](Self::may_claim), for a client that asks. A user who could have a domain by
    /// proving it is told by which record, and the record is looked for: whoever asks again gets
    /// the domain when it was there. What is too much is waited for as well.
    ///
    /// # Errors
    ///
    /// As `may_claim`, with what it is to be [counted](Self::count_refusal) as.
    pub(crate) async fn ask(
        &self,
        owner: &Owner,
        host: &WebHost,
        patience: &mut Patience,
    ) -> Result<(), Refused> {
        let decided = self.decide(owner, host);
        if let Err((HostRefusal::NotProven, _)) = decided
            && let (Some(store), Owner::User(user)) = (&self.0.store, owner)
            && let WebHost::Host(name) = host
            && let Ok(user) = user.parse()
        {
            self.begin_to_wait(store, &user, name, patience).await?;
            let decided = self.decide(owner, host);
            if let Err((HostRefusal::NotProven, refusal)) = decided {
                return Err(self.look_soon(&user, name, refusal));
            }
            return decided;
        }
        decided
    }

    /// Sees to it that the store knows that the user says that `name` is its own.
    async fn begin_to_wait(
        &self,
        store: &Store,
        user: &Name,
        name: &DomainName,
        patience: &mut Patience,
    ) -> Result<(), Refused> {
        let host = WebHost::Host(name.clone());
        let known = self.table().said_by(user.as_str(), &host).map(|record| record.asked);
        match known {
            None => {
                // Without a word to the store: whoever has asked for too much goes on asking.
                self.check_room(user)?;
                match patience.during(self.keep(store, user, &host)).await {
                    Ok(Kept::Yes) => Ok(()),
                    Ok(Kept::NoRoom) => self.check_room(user).and_then(|()| Err(busy())),
                    Err(err) => Err(unavailable(&err)),
                }
            }
            Some(Some(asked)) if asked.elapsed().is_ok_and(|time| time >= ASKED_AGAIN) => {
                // The client has what it came for without it, and so does whoever follows the
                // store.
                if let Err(err) = patience.during(store.asked_again(&host, user)).await
                    && NOT_KEPT.allows()
                {
                    warn!(domain = %name, "it is not kept that the host name is asked for: {err}");
                }
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether the clients of `user` may ask for one more name.
    fn check_room(&self, user: &Name) -> Result<(), Refused> {
        let (asked, most) = (self.table().asked_by(user), self.most_asked());
        if asked.all >= most.all {
            return Err(no_room(format_args!(
                "clients of {user} have asked for {} host names, which is as many as they may: the \
                 relay's operator can take one away, or add this one (`relay domain add`)",
                asked.all
            )));
        }
        if asked.unproven >= most.unproven {
            return Err(no_room(format_args!(
                "{MOST_UNPROVEN} host names of {user} wait to be proven already: prove one of them, \
                 or ask the relay's operator to take one away (`relay domain remove`)"
            )));
        }
        Ok(())
    }

    fn most_asked(&self) -> Asked {
        let all = self.0.config.now().domains.max_per_owner;
        Asked { unproven: MOST_UNPROVEN, all: usize::try_from(all).unwrap_or(usize::MAX) }
    }

    /// Writes down that a client asks for a name of which nothing is known.
    async fn keep(&self, store: &Store, user: &Name, host: &WebHost) -> Result<Kept, StoreError> {
        let _alone = self.0.keeping.lock().await;
        if self.table().said_by(user.as_str(), host).is_some() {
            return Ok(Kept::Yes);
        }
        // Others may have taken the room meanwhile.
        if self.check_room(user).is_err() {
            return Ok(Kept::NoRoom);
        }
        let mut new = DomainRecord::new(host.clone(), user.clone(), new_code());
        new.asked = Some(new.created);
        let kept = match store.ask_for_domain(&new, self.most_asked()).await {
            Ok(true) => {
                let domain = host.as_str();
                info!(domain, owner = %user, "a client asks for the host name");
                Kept::Yes
            }
            Ok(false) => Kept::NoRoom,
            // Another relay was faster, or the user has just gone.
            Err(StoreError::Exists | StoreError::NotFound) => Kept::Yes,
            Err(err) => return Err(err),
        };
        self.learn(store).await?;
        Ok(kept)
    }

    /// Has the proof that `name` is the user's looked for. Returns what is said of it meanwhile.
    fn look_soon(&self, user: &Name, name: &DomainName, refusal: Refusal) -> Refused {
        let rest = self.rest(name, user);
        let asked = self.0.awaited.lock().ask(name, user, Instant::now(), rest);
        let (reason, full) = match asked {
            Ok(()) => {
                self.0.asked.notify_one();
                return (HostRefusal::NotProven, refusal);
            }
            Err(Full::OfAll) => {
                no_room(format_args!("the relay waits for as many proofs as it can"))
            }
            Err(Full::OfOwner) => {
                no_room(format_args!("the relay waits for as many proofs of {user} as it can"))
            }
        };
        (reason, Refusal { records: refusal.records, ..full })
    }

    /// How long the code of `owner` for `name` is not looked for yet, as it is so new that nobody
    /// can have made the record: what a name server has not found it may remember for an hour.
    pub(super) fn rest(&self, name: &DomainName, owner: &Name) -> Duration {
        let table = self.table();
        let record = table.said_by(owner.as_str(), &WebHost::Host(name.clone()));
        let age = record.and_then(|record| record.created.elapsed().ok()).unwrap_or_default();
        self.0.config.now().domains.first_look.saturating_sub(age)
    }

    /// Whether `owner` may not have `name` because of whom it looks like, by what is known now:
    /// when it was asked for, the other may not have been there.
    fn imitates(&self, name: &DomainName, owner: &Name) -> bool {
        let own = own_names(&self.0.config.now());
        self.table().looks().imitated(&own, name, Some(owner.as_str())).is_some()
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
                    looks.spawn(Look { domains, key, is_over: false }.finish(store));
                }
                awaited.next()
            };
            tokio::select! {
                Some(ended) = looks.join_next() => report(ended),
                () = self.0.asked.notified() => (),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => (),
            }
        }
    }

    /// Looks for one proof, and gives the domain to whom it is for. Whether nobody has to look
    /// again.
    async fn look_for(&self, store: &Store, (name, owner): &Awaiting) -> bool {
        let host = WebHost::Host(name.clone());
        let table = self.table();
        let Some(record) = table.said_by(owner.as_str(), &host) else { return true };
        if table.holder(&host).is_some() {
            return true;
        }
        match self.look(name, record).await {
            Verdict::Proven(by) => {
                let given = self.give(store, name, record, &by).await;
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

    /// Gives a domain to whose it is proven to be, unless somebody has come in between.
    async fn give(
        &self,
        store: &Store,
        name: &DomainName,
        record: &DomainRecord,
        by: &impl fmt::Display,
    ) -> Result<(), StoreError> {
        // The other one may have come a moment ago.
        self.learn(store).await?;
        let owner = &record.owner;
        if self.imitates(name, owner) {
            return Ok(());
        }
        match store.prove_domain(&record.host, owner, None).await {
            Ok(()) => {
                info!(domain = %name, %owner, "the host name is proven: {by}");
                audit::proof(record, "proven");
            }
            // Somebody else was faster, or an operator has thought otherwise.
            Err(StoreError::Exists | StoreError::NotFound) => (),
            Err(err) => return Err(err),
        }
        self.learn(store).await
    }
}

/// A look at a proof. It ends with it, also when it ends in a panic: its owner's other names are
/// looked for.
pub(super) struct Look {
    pub(super) domains: Domains,
    pub(super) key: Awaiting,
    /// Nobody has to look again.
    pub(super) is_over: bool,
}

impl Look {
    async fn finish(mut self, store: Store) {
        self.is_over = self.domains.look_for(&store, &self.key).await;
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.domains.0.awaited.lock().ended(&self.key, self.is_over, Instant::now());
    }
}

/// There is no room for one more name. It may be made, so the tunnel waits for it.
fn no_room(message: fmt::Arguments<'_>) -> Refused {
    (HostRefusal::TooMany, Refusal::new(RefusalCode::HostNotProven, message.to_string()))
}

/// Another relay knows that there is no room, and this one is about to.
fn busy() -> Refused {
    no_room(format_args!("as many host names are asked for as may be: it is asked again"))
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
