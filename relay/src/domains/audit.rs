//! What becomes of host names, for the audit log.

use shared::kit::logging::AUDIT;
use tracing::info;

use crate::store::{Change, DomainRecord};

/// Somebody has changed what is kept of a host name.
pub(super) fn changed(change: &Change) {
    if let Change::Domain(host) = change {
        info!(target: AUDIT, event = "changed", domain = host.as_str(), "changed");
    }
}

/// The proof of a host name is there, not there any more, or there again, or its owner has lost it.
pub(super) fn proof(record: &DomainRecord, event: &'static str) {
    let (domain, owner) = (record.host.as_str(), &record.owner);
    info!(target: AUDIT, event, domain, %owner, "host name: {event}");
}
