//! Whose a session is.

use std::future::pending;
use std::time::{Duration, SystemTime};

use shared::control::protocol::Refusal;
use shared::token::TokenId;
use tokio::time::sleep;

use super::standing::Standing;
use super::{Owner, Rights, unauthorized};

/// The clock may be set while a session runs, so its end is looked for so often at least.
const LOOK: Duration = Duration::from_secs(30);

/// Whose session it is. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    owner: Owner,
    rights: Rights,
    token: Option<TokenId>,
    standing: Standing,
}

impl Principal {
    /// Nobody in particular, who may do anything.
    pub(crate) fn anybody() -> Self {
        Self {
            owner: Owner::Anybody,
            rights: Rights::unlimited(),
            token: None,
            standing: Standing::default(),
        }
    }

    /// Whoever holds this token.
    pub(super) fn holder(owner: Owner, rights: Rights, token: TokenId, standing: Standing) -> Self {
        Self { owner, rights, token: Some(token), standing }
    }

    /// Whoever somebody else vouches for.
    pub(super) fn bearer(owner: Owner, rights: Rights, standing: Standing) -> Self {
        Self { owner, rights, token: None, standing }
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The name of its token, which is no secret.
    pub(crate) fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// Resolves when it may be here no longer, and says why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn ended(&self) -> Refusal {
        tokio::select! {
            refusal = self.standing.ended() => refusal,
            () = reached(self.rights.ends()) => expired(),
        }
    }
}

/// What is said of a token that was good once.
pub(super) fn expired() -> Refusal {
    unauthorized("the token has expired: ask for a new one")
}

/// Waits for a moment of the clock on the wall.
async fn reached(moment: Option<SystemTime>) {
    let Some(moment) = moment else { return pending().await };
    while let Ok(left) = moment.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        sleep(left.min(LOOK)).await;
    }
}
