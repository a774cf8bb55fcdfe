//! Who claims tunnels.

use std::sync::Arc;

use shared::control::protocol::{Hello, InstanceId};
use tokio::sync::Notify;

use crate::access::{Owner, Principal};
use crate::limits::Source;
use crate::target::Target;

/// Which connection of which client a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId {
    pub(crate) instance: InstanceId,
    pub(crate) number: u16,
}

/// The same among those of all owners: two may say the same of their clients, by chance or not, and
/// neither is to take the other's place.
pub(crate) type OwnConnection = (Owner, ConnectionId);

impl From<&Hello> for ConnectionId {
    fn from(hello: &Hello) -> Self {
        Self { instance: hello.instance, number: hello.connection }
    }
}

/// Who claims: a session, as the tunnels see it. All of its tunnels share it.
#[derive(Debug)]
pub(crate) struct Claimant {
    pub(crate) connection: ConnectionId,
    pub(crate) holder: Arc<Holder>,
    pub(crate) target: Target,
    standing_changed: Notify,
}

/// Whom a tunnel belongs to while a client of theirs serves it, and until another one does.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) principal: Principal,
    /// Where the client comes from.
    pub(crate) source: Source,
}

impl Claimant {
    /// Its connection among those of all owners.
    pub(super) fn own_connection(&self) -> OwnConnection {
        (self.principal().owner().clone(), self.connection)
    }

    pub(crate) fn new(
        connection: ConnectionId,
        principal: Principal,
        target: Target,
        source: Source,
    ) -> Self {
        let holder = Arc::new(Holder { principal, source });
        Self { connection, holder, target, standing_changed: Notify::new() }
    }

    /// Whose it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.holder.principal
    }

    /// Resolves after one of its claims has become live, or no longer is.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn standing_changed(&self) {
        self.standing_changed.notified().await;
    }

    /// One of its claims has become live, or no longer is.
    pub(super) fn standing_changes(&self) {
        self.standing_changed.notify_one();
    }
}
