//! A certificate that visitors see, for whoever looks from outside.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use utoipa::ToSchema;

use super::served::Served;

/// A certificate that visitors see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CertificateNow {
    /// The host that it is shown for, or `*.` and the domain above all such hosts.
    pub(crate) name: String,
    source: Source,
    /// From when on it is good, in seconds since 1970.
    begins: u64,
    /// When it expires.
    expires: u64,
    /// When the next one is ordered. Missing if nobody orders it.
    #[serde(skip_serializing_if = "Option::is_none")]
    renews: Option<u64>,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Source {
    /// From the operator's folder.
    Folder,
    /// It was ordered from an authority.
    Ordered,
}

impl CertificateNow {
    pub(super) fn new(name: &str, served: &Served, renews: Option<SystemTime>) -> Self {
        Self {
            name: name.to_owned(),
            source: if renews.is_some() { Source::Ordered } else { Source::Folder },
            begins: seconds(served.begins),
            expires: seconds(served.expires),
            renews: renews.map(seconds),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
