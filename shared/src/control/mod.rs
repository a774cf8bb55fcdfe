//! What the two ends of a session say to each other beside the visits.
//!
//! - [`protocol`]: messages, refusals, limits; data only
//! - [`channel`]: those messages over any byte stream
//! - [`conversation`]: what both ends do alike with them

pub mod channel;
pub mod conversation;
pub mod protocol;
