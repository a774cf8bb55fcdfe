//! Whether a token is still good while sessions run with it.

use std::sync::{Arc, OnceLock};

use shared::control::protocol::Refusal;
use tokio_util::sync::CancellationToken;

/// Whether something that sessions were let in for still lets them in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ended: CancellationToken,
    why: OnceLock<Refusal>,
}

impl Standing {
    /// It lets nobody in any more, and this is why.
    pub(super) fn end(&self, why: Refusal) {
        // The first reason is the one.
        let _first = self.0.why.set(why);
        self.0.ended.cancel();
    }

    /// Whether anybody else has a part in it.
    pub(super) fn is_watched(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Resolves when it has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn ended(&self) -> Refusal {
        loop {
            self.0.ended.cancelled().await;
            if let Some(why) = self.0.why.get() {
                return why.clone();
            }
        }
    }
}
