//! Who a client is, and what it may do.
//!
//! - [`Access`] decides who may come in: whoever shows a token of the [`tokens`], a JSON Web Token,
//!   or nothing where [`Anonymous`] lets it
//! - [`Principal`] is whose session it is from then on: its [`Owner`], its [`Rights`], and when it
//!   ends

mod anonymous;
mod jwt;
mod owner;
mod principal;
mod rights;
mod standing;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::control::protocol::{Refusal, RefusalCode};
use shared::token::{Challenge, Presented, Proof};
use tokio::time::{Instant, sleep_until};

use crate::config::CurrentConfig;

use self::jwt::Jwt;
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

/// Decides who may come in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    config: CurrentConfig,
    tokens: Arc<Tokens>,
    jwt: Arc<Jwt>,
}

impl Access {
    /// Lets in those of whom `config` tells.
    pub(crate) fn new(config: CurrentConfig) -> Self {
        let access = Self { config, tokens: Arc::new(Tokens::new()), jwt: Arc::default() };
        access.reconfigured();
        access
    }

    /// The configuration is another one: whom it does not let in any more has to go.
    pub(crate) fn reconfigured(&self) {
        let config = self.config.now();
        self.tokens.set_shared(config.token.as_ref());
        self.jwt.set_rules(config.jwt.as_ref());
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
                self.tokens.admit(&token, &proof, &challenge, SystemTime::now()).await
            }
            Shown::Jwt(jwt) => self.jwt.admit(&jwt, self.config.now().jwt.as_ref()),
        };
        if admitted.is_err() {
            sleep_until(refuse_at).await;
        }
        admitted
    }

    fn anonymous(&self, peer: SocketAddr) -> Result<Principal, Refusal> {
        let config = self.config.now();
        let allowed = config.anonymous.unwrap_or(match self.tokens.any() || config.jwt.is_some() {
            true => Anonymous::Never,
            false => Anonymous::Private,
        });
        allowed.check(peer.ip())?;
        Ok(Principal::anybody())
    }
}

fn unauthorized(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Unauthorized, message)
}
