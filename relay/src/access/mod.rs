//! Who a client is, and what it may do.
//!
//! - [`Access`] decides who may come in: whoever shows a token of the [`tokens`], a JSON Web Token,
//!   or nothing where [`Anonymous`] lets it
//! - [`Principal`] is whose session it is from then on: its [`Owner`], its [`Rights`], and when it
//!   ends

mod anonymous;
pub(crate) mod audit;
mod jwt;
mod owner;
mod principal;
mod rights;
mod standing;
#[cfg(test)]
mod tests;
mod tokens;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use shared::control::protocol::{Refusal, RefusalCode};
use shared::kit::logging::Rate;
use shared::token::{Challenge, Grant, LinkId, Nonce, Presented, Proof, Secret, TokenId};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::limits::{Account, Limits};
use crate::metrics::{Limit, Metrics};
use crate::store::{Store, StoreError};

use self::jwt::Jwt;
use self::standing::Standing;
use self::tokens::Tokens;

pub use self::anonymous::Anonymous;
pub(crate) use self::jwt::BadJwt;
pub use self::jwt::{BadJwtKeys, JwtKeys, JwtRules};
pub(crate) use self::owner::Owner;
pub(crate) use self::principal::Principal;
pub(crate) use self::rights::Rights;

/// How often it is written down what has been used. A crash loses no more than this.
const FLUSH: Duration = Duration::from_secs(5);

/// How long it may take to write it down.
const LONGEST_FLUSH: Duration = Duration::from_secs(5);

/// How long a client may have to wait for it: it has to be told in time.
const LONGEST_RECALL: Duration = Duration::from_secs(2);

/// How often periods that are long over are forgotten.
const CLEAR: Duration = Duration::from_secs(24 * 3600);

/// Traffic that cannot be written down, again and again.
static NOT_WRITTEN: Rate = Rate::rare(|more| {
    warn!(left_out = more.count, "traffic was not written down: {more}");
});

/// Changes that cannot be read, again and again.
static UNHEARD: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "what has changed cannot be read: {more}");
});

/// So many tokens that were narrowed from one may move something under quotas of their own in a day
/// or a month. It stays in the store for two months, and whoever holds a token can narrow it without
/// end.
const MOST_QUOTAS: u64 = 1000;

/// What a client has shown.
#[derive(Debug)]
pub(crate) enum Shown {
    Nothing,
    /// A token, and what proves for this connection that the client holds it.
    Token {
        token: Presented,
        proof: Proof,
        challenge: Challenge,
    },
    /// A token, without a proof for the channel.
    Unproven,
    Jwt(String),
}

impl Shown {
    /// Whether it is something to be let in with.
    pub(crate) fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// Whom a relay lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// Who may come without a token. Without it: whoever is near, until there is a token.
    pub anonymous: Option<Anonymous>,
    /// The secret that the relay shares with its clients.
    pub token: Option<Secret>,
    /// Which JSON Web Tokens are good.
    pub jwt: Option<JwtRules>,
}

/// Decides who may come in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rules: RwLock<Arc<AccessRules>>,
    tokens: Tokens,
    jwt: Jwt,
    limits: Limits,
    metrics: Metrics,
    /// Held by whoever writes down or reads what has moved under quotas.
    writing: AsyncMutex<()>,
}

/// Somebody whom a token or somebody else vouches for.
#[derive(Debug)]
struct Admitted {
    owner: Owner,
    token: Option<TokenId>,
    standing: Standing,
    /// What each link of the chain allows, with what it is known by.
    grants: Vec<(Option<LinkId>, Grant)>,
}

impl Access {
    /// Lets in those of whom `rules` and `store` tell, and counts what they have in `limits`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) async fn new(
        rules: &AccessRules,
        limits: Limits,
        metrics: Metrics,
        store: Option<Store>,
    ) -> Result<Self, StoreError> {
        let (tokens, jwt) = (Tokens::new(store).await?, Jwt::default());
        let shared = Shared {
            rules: RwLock::default(),
            tokens,
            jwt,
            limits,
            metrics,
            writing: AsyncMutex::default(),
        };
        let access = Self(Arc::new(shared));
        access.set_rules(rules);
        Ok(access)
    }

    /// Follows what others change in the store, and writes down what has been used, until `stop`.
    pub(crate) async fn follow(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(store) = self.0.tokens.store() else {
            tokio::select! {
                never = self.forget() => match never {},
                () = stop.cancelled() => return Ok(()),
            }
        };
        tokio::select! {
            never = self.hear(store) => match never {},
            () = self.write_down(store, stop) => Ok(()),
        }
    }

    /// Follows what others change.
    async fn hear(&self, store: &Store) -> Infallible {
        let mut changes = store.changes("tokens");
        // Whatever was missed because the store went away in the middle.
        let mut owed = Vec::new();
        loop {
            changes.add_to(&mut owed).await;
            match self.0.tokens.changed(&owed).await {
                Ok(()) => {
                    owed.drain(..).for_each(|change| audit::changed(&change));
                }
                Err(err) => {
                    if UNHEARD.allows() {
                        warn!("what has changed cannot be read: {err}");
                    }
                }
            }
        }
    }

    /// Without a store what has moved under quotas is remembered, but not for ever.
    async fn forget(&self) -> Infallible {
        let mut clear = interval(CLEAR);
        loop {
            clear.tick().await;
            self.0.limits.accounts().forget(SystemTime::now());
        }
    }

    /// Writes down what has been used from time to time, and once more when it is to stop: a
    /// transaction that is broken off may have come through.
    async fn write_down(&self, store: &Store, stop: CancellationToken) {
        let mut flush = interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut clear = interval(CLEAR);
        while !stop.is_cancelled() {
            tokio::select! {
                _ = flush.tick() => (),
                _ = clear.tick() => {
                    if let Err(err) = soon(store.forget_traffic(SystemTime::now())).await {
                        debug!("old traffic is not forgotten yet: {err}");
                    }
                }
                () = stop.cancelled() => (),
            }
            self.flush(store).await;
        }
    }

    /// Writes down which tokens were used, and what has moved under quotas. What cannot be written
    /// now is kept for later.
    async fn flush(&self, store: &Store) {
        if let Err(err) = self.0.tokens.note_use().await {
            debug!("the use of tokens is not written down yet: {err}");
        }
        let _nobody_recalls = self.0.writing.lock().await;
        let mut unwritten = self.0.limits.accounts().take_moved(SystemTime::now());
        while let Some(rows) = unwritten.batch() {
            if let Err(err) = soon(store.add_traffic(&rows)).await {
                if NOT_WRITTEN.allows() {
                    warn!(
                        "traffic under quotas is not written down, and a restart would forget it: {err}"
                    );
                }
                return;
            }
            unwritten.written(rows.len());
        }
    }

    /// The rules are others from now on: whom they do not let in any more has to go.
    pub(crate) fn set_rules(&self, rules: &AccessRules) {
        *self.0.rules.write() = Arc::new(rules.clone());
        self.0.tokens.strangers().set_rules(rules);
        self.0.tokens.set_shared(rules.token.as_ref());
        self.0.jwt.set_rules(rules.jwt.as_ref());
    }

    /// Whose session it is that begins at `peer`, who has shown this.
    ///
    /// Called within the deadline of the handshake. Whoever is unauthorized is to learn that at the
    /// same time, whatever is wrong with what it has shown.
    ///
    /// # Errors
    ///
    /// The refusal that the client gets.
    pub(crate) async fn authorise(
        &self,
        shown: Shown,
        peer: SocketAddr,
    ) -> Result<Principal, Refusal> {
        let admitted = match shown {
            Shown::Nothing => return self.anonymous(peer),
            Shown::Token { token, proof, challenge } => {
                self.0.tokens.admit(&token, &proof, &challenge, SystemTime::now()).await
            }
            Shown::Unproven => Err(unauthorized(
                "no proof for this TLS connection came with the token: let nothing between client \
                 and relay end TLS, or let both ends speak TLS 1.3",
            )),
            Shown::Jwt(jwt) => self.0.jwt.admit(&jwt, self.rules().jwt.as_ref()),
        };
        self.principal(admitted?).await
    }

    /// Who has sent this secret itself, as programs do that ask the API. Nothing of what they do is
    /// counted in accounts.
    ///
    /// # Errors
    ///
    /// The refusal that says why it is not good.
    pub(crate) async fn holder(&self, secret: &str) -> Result<Principal, Refusal> {
        let secret = secret.parse::<Secret>();
        let secret = secret.map_err(|_| unauthorized("that is no token of this relay"))?;
        let admitted = match secret {
            Secret::Token(token) => {
                // Whoever has sent it holds it, and so does the relay for this moment.
                let challenge = Challenge::Nonce(Nonce::random());
                let proof = token.prove(&challenge);
                let (presented, now) = (token.presented(), SystemTime::now());
                self.0.tokens.admit(presented, &proof, &challenge, now).await?
            }
            Secret::Jwt(jwt) => self.0.jwt.admit(&jwt, self.rules().jwt.as_ref())?,
        };
        let Admitted { owner, token, standing, grants } = admitted;
        let rights = Rights::new(grants.into_iter().map(|(_, grant)| grant).collect());
        Ok(Principal::new(owner, rights, token, standing, Vec::new()))
    }

    /// Whose session it is of somebody who has been let in.
    async fn principal(&self, admitted: Admitted) -> Result<Principal, Refusal> {
        let Admitted { owner, token, standing, grants } = admitted;
        let limits = &self.0.limits;
        let mut accounts = vec![limits.owner(&owner.to_string())];
        // The first is the token itself; the others are narrowed from it.
        let mut root = None;
        for (link, grant) in &grants {
            let Some(link) = *link else { continue };
            accounts.extend(limits.holder(*root.get_or_insert(link), link, grant));
        }
        for account in &accounts {
            self.recall_traffic(account).await?;
        }
        let rights = Rights::new(grants.into_iter().map(|(_, grant)| grant).collect());
        Ok(Principal::new(owner, rights, token, standing, accounts))
    }

    /// Learns what had moved under a quota before anybody counted here.
    async fn recall_traffic(&self, account: &Account) -> Result<(), Refusal> {
        let Some(start) = account.to_recall(SystemTime::now()) else { return Ok(()) };
        let Some(store) = self.0.tokens.store() else {
            return self.recall_unwritten(account, start);
        };
        // Whatever has moved is either written down or not, and nothing in between.
        let recall = async {
            let _nobody_writes = self.0.writing.lock().await;
            let written = store.traffic(&account.key().to_string(), start).await?;
            let new = account.key().siblings().filter(|_| written.is_none());
            if let Some(siblings) = new {
                let (first, last) = siblings.into_inner();
                let siblings = first.to_string()..=last.to_string();
                if store.count_traffic(siblings, start).await? >= MOST_QUOTAS {
                    return Ok(false);
                }
            }
            account.recall(start, written.unwrap_or(0));
            Ok(true)
        };
        match timeout(LONGEST_RECALL, recall).await.unwrap_or_else(|_| Err(away())) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.too_many_quotas()),
            Err(_) => {
                let message = "the relay cannot look up the quota right now: try again later";
                Err(Refusal::new(RefusalCode::Unavailable, message))
            }
        }
    }

    /// The same without a store, where whatever has moved is still to be written down.
    fn recall_unwritten(&self, account: &Account, start: u64) -> Result<(), Refusal> {
        let (key, accounts) = (account.key(), self.0.limits.accounts());
        let is_new = accounts.count_owed(key.clone()..=key.clone(), start) == 0;
        let siblings = key.siblings().filter(|_| is_new);
        if siblings.is_some_and(|all| accounts.count_owed(all, start) >= MOST_QUOTAS) {
            return Err(self.too_many_quotas());
        }
        account.recall(start, 0);
        Ok(())
    }

    fn too_many_quotas(&self) -> Refusal {
        self.0.metrics.limit(Limit::QuotasPerToken);
        let message = format!(
            "{MOST_QUOTAS} tokens narrowed from the same one have used quotas of their own in this \
             day or month: narrow it without a quota, or use one of those"
        );
        Refusal::new(RefusalCode::OverLimit, message)
    }

    fn rules(&self) -> Arc<AccessRules> {
        Arc::clone(&self.0.rules.read())
    }

    fn anonymous(&self, peer: SocketAddr) -> Result<Principal, Refusal> {
        let standing = self.0.tokens.strangers().admit(peer.ip())?;
        let account = self.0.limits.owner(&Owner::Anybody.to_string());
        Ok(Principal::anybody(account, standing))
    }
}

/// A store that takes longer is as good as away: it is tried again later.
async fn soon<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(LONGEST_FLUSH, answer).await.unwrap_or_else(|_| Err(away()))
}

fn away() -> StoreError {
    StoreError::Unavailable("it does not answer".into())
}

fn unauthorized(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Unauthorized, message)
}
