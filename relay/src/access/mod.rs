//! Who a client is, and what it may do.

use std::fmt;
use std::net::SocketAddr;

use shared::control::protocol::{Hello, Refusal};

/// Whose a session and its tunnels are. Two owners may each have a tunnel of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// Nobody in particular: whoever reaches the control port.
    Anybody,
}

/// Whose session it is.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    owner: Owner,
}

/// Decides who may come in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access;

impl Access {
    /// Whose session begins with `hello`, from `peer`. Anybody's, and it may do anything: the
    /// control port is for networks that are trusted.
    ///
    /// Asynchronous, for those who have to be looked up. Called within the deadline of the
    /// handshake.
    ///
    /// # Errors
    ///
    /// The refusal that the client gets.
    pub(crate) async fn authorise(
        &self,
        _hello: &Hello,
        _peer: SocketAddr,
    ) -> Result<Principal, Refusal> {
        Ok(Principal::anybody())
    }
}

impl Principal {
    /// Nobody in particular, who may do anything.
    pub(crate) fn anybody() -> Self {
        Self { owner: Owner::Anybody }
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
        }
    }
}
