//! What a Sallyport relay and client agree on, or both use.
//!
//! Five rooms, on the way that a visitor's bytes take:
//!
//! - [`kit`]: what any program of ours needs: addresses and sockets, the accept loop, stopping,
//!   logs, values of the command line
//! - [`carry`]: many streams over one connection, and the I/O layer under them
//! - [`visit`]: one visit over one stream, as records, and the copying between it and a socket
//! - [`control`]: what the two ends say to each other beside the visits
//! - [`token`]: what a client shows to be let in
//!
//! Nothing here knows HTTP, metrics, or users.

pub mod carry;
pub mod control;
pub mod kit;
pub mod token;
pub mod visit;
