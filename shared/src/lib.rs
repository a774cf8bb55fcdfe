//! What a Sallyport relay and client agree on, or both use.
//!
//! From the socket upwards, on the way that a visitor's bytes take:
//!
//! - [`net`]: addresses, and sockets with the right options
//! - [`wire`]: the I/O layer under yamux
//! - [`mux`]: a session of many streams, and the one task that drives it
//! - [`record`], [`stream`]: what travels on a data stream, as bytes and as a stream
//! - [`socket`], [`bridge`]: the other end, and the copying between the two
//!
//! and beside it
//!
//! - [`protocol`], [`control`]: the messages of the control stream
//! - [`serve`]: the accept loop
//! - [`backoff`]: the delays between attempts
//! - [`args`]: values of the command line
//! - [`memory`]: what becomes of memory that is freed
//! - [`logging`], [`stop`]: what the logs look like, and the signals that end a program
//!
//! Nothing here knows HTTP, metrics, or users.

pub mod args;
pub mod backoff;
pub mod bridge;
pub mod control;
pub mod logging;
pub mod memory;
pub mod mux;
pub mod net;
pub mod protocol;
pub mod record;
pub mod serve;
pub mod socket;
pub mod stop;
pub mod stream;
pub mod wire;
