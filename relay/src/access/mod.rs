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
mod tokens;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use shared::control::protocol::{Refusal, RefusalCode};
use shared::token::{Challenge, Grant, Presented, Proof, Secret, TokenId, Verifier};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::debug;

use crate::limits::{Account, Limits};
use crate::store::{Change, Store, StoreError};

use self::jwt::Jwt;
use self::standing::Standing;
use self::tokens::Tokens;

pub use self::anonymous::Anonymous;
pub use self::jwt::{BadJwtKeys, JwtKeys, JwtRules};
pub(crate) use self::owner::Owner;
pub(crate) use self::principal::Principal;
pub(crate) use self::rights::Rights;

/// Whoever shows something that is not good learns that after so long, whatever is wrong with it:
/// the time tells nothing, and guessing takes a while.
const REFUSED_AFTER: Duration = Duration::from_millis(250);

/// How often it is written down what has been used. A crash loses no more than this.
const FLUSH: Duration = Duration::from_secs(5);

/// How long it may take to write it down.
const LONGEST_FLUSH: Duration = Duration::from_secs(5);

/// So many changes are remembered one by one while the store cannot be asked about them.
const MOST_OWED: usize = 1024;

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
}

/// Somebody whom a token or somebody else vouches for.
#[derive(Debug)]
struct Admitted {
    owner: Owner,
    token: Option<TokenId>,
    standing: Standing,
    /// What each link of the chain allows, with the key that it goes by.
    grants: Vec<(Option<Verifier>, Grant)>,
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
        store: Option<Store>,
    ) -> Result<Self, StoreError> {
        let (tokens, jwt) = (Tokens::new(store).await?, Jwt::default());
        let access = Self(Arc::new(Shared { rules: RwLock::default(), tokens, jwt, limits }));
        access.set_rules(rules);
        Ok(access)
    }

    /// Follows what others change in the store, and writes down what has been used. Never returns:
    /// whoever polls it drops it in the end, and calls [`flush`](Self::flush).
    pub(crate) async fn follow(&self) -> anyhow::Result<()> {
        let Some(store) = self.0.tokens.store() else { return pending().await };
        let mut changes = store.changes();
        let mut flush = interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Whatever was missed because the store went away in the middle.
        let mut owed = Vec::new();
        loop {
            tokio::select! {
                new = changes.next() => owed.extend(new),
                _ = flush.tick() => self.flush().await,
            }
            if owed.len() > MOST_OWED {
                owed = vec![Change::Everything];
            }
            if !owed.is_empty() && self.0.tokens.changed(&owed).await.is_ok() {
                for change in owed.drain(..) {
                    audit::changed(&change);
                }
            }
        }
    }

    /// Writes down which tokens were used, and what has moved under quotas. What cannot be written
    /// now is kept for later.
    pub(crate) async fn flush(&self) {
        let Some(store) = self.0.tokens.store() else { return };
        if let Err(err) = self.0.tokens.note_use().await {
            debug!("the use of tokens is not written down yet: {err}");
        }
        let accounts = self.0.limits.accounts();
        let moved = accounts.take_moved();
        if moved.is_empty() {
            return;
        }
        let rows: Vec<_> = moved.iter().map(|m| (m.key.to_string(), m.period, m.bytes)).collect();
        if let Err(err) = soon(store.add_traffic(&rows)).await {
            debug!("traffic is not written down yet: {err}");
            accounts.give_back(moved);
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
    /// Called within the deadline of the handshake.
    ///
    /// # Errors
    ///
    /// The refusal that the client gets. All that concern something shown come at the same time.
    pub(crate) async fn authorise(
        &self,
        shown: Shown,
        peer: SocketAddr,
    ) -> Result<Principal, Refusal> {
        let refuse_at = Instant::now() + REFUSED_AFTER;
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
        match admitted {
            Ok(admitted) => self.principal(admitted).await,
            Err(refusal) => {
                sleep_until(refuse_at).await;
                Err(refusal)
            }
        }
    }

    /// Whose session it is of somebody who has been let in.
    async fn principal(&self, admitted: Admitted) -> Result<Principal, Refusal> {
        let Admitted { owner, token, standing, grants } = admitted;
        let limits = &self.0.limits;
        let mut accounts = vec![limits.owner(&owner.to_string())];
        for (key, grant) in &grants {
            accounts.extend(key.and_then(|key| limits.holder(key, grant)));
        }
        for account in &accounts {
            self.recall_traffic(account).await?;
        }
        let rights = Rights::new(grants.into_iter().map(|(_, grant)| grant).collect());
        Ok(Principal::new(owner, rights, token, standing, accounts))
    }

    /// Learns what had moved under a quota before the relay was started.
    async fn recall_traffic(&self, account: &Account) -> Result<(), Refusal> {
        let (Some(quota), Some(store)) = (account.quota(), self.0.tokens.store()) else {
            return Ok(());
        };
        if !account.is_new() {
            return Ok(());
        }
        // What has moved lately may not be written down yet.
        self.flush().await;
        let start = quota.period().start(SystemTime::now());
        let used = store.traffic(&account.key().to_string(), start).await.map_err(|_| {
            let message = "the relay cannot look up the quota right now: try again later";
            Refusal::new(RefusalCode::Unavailable, message)
        })?;
        account.begin_period(start, used);
        Ok(())
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

/// A store that takes longer is as good as away: revocations have to be heard of meanwhile.
async fn soon<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable("it does not answer".into());
    timeout(LONGEST_FLUSH, answer).await.map_err(late)?
}

fn unauthorized(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Unauthorized, message)
}
