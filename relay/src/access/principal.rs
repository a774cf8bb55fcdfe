//! Whose a session is.

use std::sync::Arc;

use shared::control::protocol::{Refusal, TunnelName};
use shared::token::TokenId;

use super::standing::{Standing, reached};
use super::{Owner, Rights, unauthorized};
use crate::limits::{Account, Part};
use crate::metrics::Limit;

/// Whose session it is. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    owner: Owner,
    rights: Rights,
    token: Option<TokenId>,
    standing: Standing,
    /// What all that it has is counted in.
    accounts: Arc<[Arc<Account>]>,
}

/// Nobody in particular, who may do anything and is counted nowhere.
impl Default for Principal {
    fn default() -> Self {
        Self {
            owner: Owner::Anybody,
            rights: Rights::unlimited(),
            token: None,
            standing: Standing::default(),
            accounts: Arc::new([]),
        }
    }
}

impl Principal {
    /// Nobody in particular, who may do anything, as far as the account goes.
    pub(super) fn anybody(account: Arc<Account>, standing: Standing) -> Self {
        Self { standing, accounts: Arc::new([account]), ..Self::default() }
    }

    /// Whoever has shown a token, or whom somebody else vouches for.
    pub(super) fn new(
        owner: Owner,
        rights: Rights,
        token: Option<TokenId>,
        standing: Standing,
        accounts: Vec<Arc<Account>>,
    ) -> Self {
        Self { owner, rights, token, standing, accounts: accounts.into() }
    }

    /// A user who may do anything.
    #[cfg(test)]
    pub(crate) fn of_user(name: &str, account: Arc<Account>) -> Self {
        Self { owner: Owner::User(name.into()), ..Self::anybody(account, Standing::default()) }
    }

    /// What all that it has is counted in.
    pub(crate) fn accounts(&self) -> &Arc<[Arc<Account>]> {
        &self.accounts
    }

    /// What a claim on a tunnel with so many ports takes up in the accounts.
    ///
    /// # Errors
    ///
    /// The limit that it comes up against.
    pub(crate) fn parts(&self, name: &TunnelName, ports: usize) -> Result<Box<[Part]>, Limit> {
        let tunnel = |account: &Arc<Account>| account.tunnel(name, ports).transpose();
        self.accounts.iter().filter_map(tunnel).collect()
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
