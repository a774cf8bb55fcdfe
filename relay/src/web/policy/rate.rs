//! How often requests may come from one source.

use std::net::IpAddr;
use std::time::Instant;

use shared::kit::amounts::Frequency;

use crate::limits::Paces;
use crate::web::Fault;

/// How often requests may come from one source: an IPv4 address, or a network of IPv6 of 64 bits.
#[derive(Debug)]
pub(super) struct Rate(Paces);

impl Rate {
    pub(super) fn new(frequency: Frequency) -> Self {
        Self(Paces::new(frequency))
    }

    /// Whether one more may come from there now. Those that may not do not count.
    pub(super) fn check(&self, visitor: IpAddr, now: Instant) -> Result<(), Fault> {
        self.0.allow(visitor.into(), now).map_err(Fault::TooMany)
    }
}
