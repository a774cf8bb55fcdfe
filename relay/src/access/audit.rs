//! The audit log: who was let in, who was not, and whose time was over. Its lines have the target
//! [`AUDIT`], so that they can be kept apart from all others, in a file of their own (`--audit-log`).

use std::net::SocketAddr;

use shared::control::protocol::Refusal;
use shared::kit::logging::{AUDIT, Foreign, Rate};
use tracing::info;

use super::Principal;
use crate::store::Change;

/// Strangers can have themselves refused as often as they like.
static REFUSED: Rate = Rate::new(|more| {
    info!(target: AUDIT, event = "refused", left_out = more.count, "more were refused: {more}");
});

/// Whoever may come in can do so as often as it likes.
static ADMITTED: Rate = Rate::generous(|more| {
    info!(target: AUDIT, event = "admitted", left_out = more.count, "more were admitted: {more}");
});

/// And be sent away.
static REVOKED: Rate = Rate::generous(|more| {
    info!(target: AUDIT, event = "revoked", left_out = more.count, "more were sent away: {more}");
});

/// Somebody has been let in.
pub(crate) fn admitted(principal: &Principal, client: SocketAddr, session: u64) {
    if !ADMITTED.allows() {
        return;
    }
    let token = principal.token().map(tracing::field::display);
    let owner = principal.owner();
    info!(target: AUDIT, event = "admitted", %owner, token, %client, session, "admitted");
}

/// Somebody has not been let in.
pub(crate) fn refused(client: SocketAddr, refusal: &Refusal) {
    if REFUSED.allows() {
        let (code, reason) = (refusal.code, Foreign(&refusal.message));
        info!(target: AUDIT, event = "refused", %client, ?code, "refused: {reason}");
    }
}

/// Somebody may be here no longer.
pub(crate) fn revoked(principal: &Principal, session: u64, refusal: &Refusal) {
    if !REVOKED.allows() {
        return;
    }
    let token = principal.token().map(tracing::field::display);
    let (owner, reason) = (principal.owner(), Foreign(&refusal.message));
    info!(target: AUDIT, event = "revoked", %owner, token, session, "sent away: {reason}");
}

/// Somebody has changed what is kept of tokens.
pub(super) fn changed(change: &Change) {
    match change {
        Change::Token(id) => info!(target: AUDIT, event = "changed", token = %id, "changed"),
        Change::Owner(owner) => info!(target: AUDIT, event = "changed", %owner, "changed"),
        // Whoever follows host names says so of them.
        Change::Domain(_) | Change::Everything => (),
    }
}
