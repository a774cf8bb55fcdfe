//! Certificates that the relay orders from an authority (ACME, RFC 8555).
//!
//! - [`orders`]: the task that orders what is wanted, and renews it; [`outcome`]: what comes of it
//! - [`due`]: what has to be ordered; [`renewal`]: when it is time; [`checks`]: what could be
//! - [`ration`]: how much may be ordered; [`share`]: how much of that for one owner
//! - [`job`], [`order`]: one order; [`answer`]: how a name is shown to be the relay's
//! - [`account`]: the account at the authority
//! - [`https`]: requests to the authority; [`trouble`]: what it says when it says no

mod account;
mod answer;
mod checks;
mod due;
mod https;
mod job;
mod order;
mod orders;
mod outcome;
mod ration;
mod renewal;
mod share;
#[cfg(test)]
mod tests;
mod trouble;

pub(super) use self::account::Authority;
pub(super) use self::orders::Orders;
