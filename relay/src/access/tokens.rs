//! The tokens that let somebody in.

use std::time::SystemTime;

use parking_lot::Mutex;
use shared::control::protocol::Refusal;
use shared::token::{
    BadChain, Challenge, Grant, Narrowed, Presented, Proof, Secret, Token, TokenId, Verifier,
};

use super::principal::expired;
use super::standing::Standing;
use super::{Admitted, Owner, unauthorized};

/// The tokens that let somebody in: the secret that the relay was started with.
#[derive(Debug)]
pub(super) struct Tokens {
    shared: Mutex<Option<Known>>,
    /// The key of a token that nobody has: it stands for all that are not known, so that they take
    /// as long as others.
    nobody: Verifier,
}

/// What there is to know of a token.
#[derive(Clone, Debug)]
struct Known {
    id: TokenId,
    owner: Owner,
    verifier: Verifier,
    grant: Grant,
    standing: Standing,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { shared: Mutex::default(), nobody: Token::random().verifier() }
    }

    /// The secret that the relay shares with its clients from now on. Those who came with another
    /// one have to go.
    pub(super) fn set_shared(&self, secret: Option<&Secret>) {
        let token = match secret {
            Some(Secret::Token(token)) => Some(token),
            // The configuration takes none.
            Some(Secret::Jwt(_)) | None => None,
        };
        let mut shared = self.shared.lock();
        if shared.as_ref().map(|known| known.verifier) == token.map(Token::verifier) {
            return;
        }
        let before = shared.take();
        *shared = token.map(|token| Known {
            id: token.id(),
            owner: Owner::Shared,
            verifier: token.verifier(),
            grant: Grant::default(),
            standing: Standing::default(),
        });
        drop(shared);
        if let Some(before) = before {
            before.standing.end(revoked());
        }
    }

    /// Whether there is any token with which somebody could come.
    pub(super) fn any(&self) -> bool {
        self.shared.lock().is_some()
    }

    /// Who has shown this, and has proven to hold it.
    ///
    /// # Errors
    ///
    /// Somebody who is not let in. A stranger learns nothing of what it was that was wrong.
    pub(super) async fn admit(
        &self,
        presented: &Presented,
        proof: &Proof,
        challenge: &Challenge,
        now: SystemTime,
    ) -> Result<Admitted, Refusal> {
        let known = self.known(presented.id());
        let root = known.as_ref().map_or(self.nobody, |known| known.verifier);
        let followed = presented.follow(root);
        let holder = followed.as_ref().map_or(self.nobody, |narrowed| narrowed.holder);
        let proven = holder.accepts(proof, challenge);
        let (Some(known), Narrowed { grants, .. }) = (
            known.filter(|_| proven),
            match followed {
                Ok(narrowed) => narrowed,
                Err(err @ BadChain::Unknown(_)) => return Err(unauthorized(err.to_string())),
                Err(_) => return Err(stranger()),
            },
        ) else {
            return Err(stranger());
        };
        let Known { owner, grant, standing, .. } = known;
        let grants: Vec<_> = std::iter::once((known.verifier, grant)).chain(grants).collect();
        if grants.iter().filter_map(|(_, grant)| grant.ends()).any(|end| end <= now) {
            return Err(expired());
        }
        let grants = grants.into_iter().map(|(key, grant)| (Some(key), grant)).collect();
        Ok(Admitted { owner, token: Some(presented.id()), standing, grants })
    }

    fn known(&self, id: TokenId) -> Option<Known> {
        self.shared.lock().clone().filter(|known| known.id == id)
    }
}

fn stranger() -> Refusal {
    unauthorized(
        "the relay does not know this token: it may have been revoked, or be another relay's",
    )
}

fn revoked() -> Refusal {
    unauthorized("the token has been revoked: ask for a new one")
}
