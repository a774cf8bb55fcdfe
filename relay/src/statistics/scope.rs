//! Whose statistics.

use std::sync::Arc;

use crate::access::Owner;
use crate::metrics::Labels;

/// Of what there are statistics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All tunnels together.
    Relay,
    /// All tunnels of an owner together.
    Owner(Arc<str>),
    /// One tunnel.
    Tunnel {
        /// Whose it is.
        owner: Arc<str>,
        /// What it is called.
        name: Arc<str>,
    },
}

impl Scope {
    /// The tunnel that these are the labels of, and whatever it is a part of.
    pub(super) fn all_of(labels: &Labels) -> [Self; 3] {
        let owner = owner_in(labels);
        let name = labels.tunnel.as_str().into();
        [Self::Tunnel { owner: Arc::clone(&owner), name }, Self::Owner(owner), Self::Relay]
    }

    /// As it is kept: the owner and the tunnel. What stands for all of them is empty.
    pub(super) fn as_kept(&self) -> (&str, &str) {
        match self {
            Self::Relay => ("", ""),
            Self::Owner(owner) => (owner, ""),
            Self::Tunnel { owner, name } => (owner, name),
        }
    }
}

/// Whose tunnel it is, as it is shown everywhere but in metrics.
pub(super) fn owner_in(labels: &Labels) -> Arc<str> {
    labels.owner.clone().unwrap_or_else(|| Owner::Anybody.to_string().into())
}
