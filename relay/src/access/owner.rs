//! Whose a session and its tunnels are.

use std::fmt;
use std::sync::Arc;

/// Whose a session and its tunnels are. Two owners may each have a tunnel of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// Nobody in particular: whoever has shown nothing.
    Anybody,
    /// All those who know the secret that the relay shares with them.
    Shared,
    /// A user of the relay.
    User(Arc<str>),
    /// Whom somebody else vouches for, with `jwt:` in front. No user can have such a name.
    Subject(Arc<str>),
}

impl Owner {
    /// As a label of a metric. Nobody in particular has none.
    pub(crate) fn label(&self) -> Option<Arc<str>> {
        match self {
            Self::Anybody => None,
            Self::Shared => Some(self.to_string().into()),
            Self::User(name) | Self::Subject(name) => Some(Arc::clone(name)),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // No user can have these names.
            Self::Anybody => f.write_str("(anybody)"),
            Self::Shared => f.write_str("(shared)"),
            Self::User(name) | Self::Subject(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Name;

    #[test]
    fn no_user_can_have_the_name_of_what_is_no_user() {
        for owner in [Owner::Anybody, Owner::Shared, Owner::Subject("jwt:ann".into())] {
            assert!(owner.to_string().parse::<Name>().is_err(), "{owner}");
        }
    }
}
