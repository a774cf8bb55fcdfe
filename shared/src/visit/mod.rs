//! One visit over one stream.
//!
//! - [`id`]: the number of a visit, in the logs of both ends
//! - [`open`]: who visits what
//! - [`record`]: what travels on the stream, as bytes
//! - [`stream`]: the stream, as records
//! - [`socket`]: the TCP or Unix connection at the other side
//! - [`patience`]: how long to wait for what
//! - [`bridge`]: the copying between the two

pub mod bridge;
pub mod id;
pub mod open;
pub mod patience;
pub mod record;
pub mod socket;
pub mod stream;
