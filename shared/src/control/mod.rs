//! What the two ends of a session say to each other beside the visits.
//!
//! - [`protocol`]: messages, refusals, limits; data only
//! - [`channel`]: those messages over any byte stream

pub mod channel;
pub mod protocol;
