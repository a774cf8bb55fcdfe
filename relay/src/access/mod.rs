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

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use shared::control::protocol::{Refusal, RefusalCode};
use shared::token::{Challenge, Grant, Presented, Proof, Secret, TokenId, Verifier};
use tokio::time::{Instant, sleep_until};

use crate::limits::Limits;

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
    /// Lets in those of whom `rules` tells, and counts what they have in `limits`.
    pub(crate) fn new(rules: &AccessRules, limits: Limits) -> Self {
        let (tokens, jwt) = (Tokens::new(), Jwt::default());
        let access = Self(Arc::new(Shared { rules: RwLock::default(), tokens, jwt, limits }));
        access.set_rules(rules);
        access
    }

    /// The rules are others from now on: whom they do not let in any more has to go.
    pub(crate) fn set_rules(&self, rules: &AccessRules) {
        *self.0.rules.write() = Arc::new(rules.clone());
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
            Shown::Jwt(jwt) => self.0.jwt.admit(&jwt, self.rules().jwt.as_ref()),
        };
        match admitted {
            Ok(admitted) => Ok(self.principal(admitted)),
            Err(refusal) => {
                sleep_until(refuse_at).await;
                Err(refusal)
            }
        }
    }

    /// Whose session it is of somebody who has been let in.
    fn principal(&self, admitted: Admitted) -> Principal {
        let Admitted { owner, token, standing, grants } = admitted;
        let limits = &self.0.limits;
        let mut accounts = vec![limits.owner(&owner.to_string())];
        for (key, grant) in &grants {
            accounts.extend(key.and_then(|key| limits.holder(key, grant)));
        }
        let rights = Rights::new(grants.into_iter().map(|(_, grant)| grant).collect());
        Principal::new(owner, rights, token, standing, accounts)
    }

    fn rules(&self) -> Arc<AccessRules> {
        Arc::clone(&self.0.rules.read())
    }

    fn anonymous(&self, peer: SocketAddr) -> Result<Principal, Refusal> {
        let rules = self.rules();
        let is_closed = self.0.tokens.any() || rules.jwt.is_some();
        let otherwise = if is_closed { Anonymous::Never } else { Anonymous::Private };
        rules.anonymous.unwrap_or(otherwise).check(peer.ip())?;
        Ok(Principal::anybody(self.0.limits.owner(&Owner::Anybody.to_string())))
    }
}

fn unauthorized(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Unauthorized, message)
}
