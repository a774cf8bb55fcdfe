//! What both programs need and that knows nothing of tunnels.
//!
//! - [`net`]: addresses, and sockets with the right options
//! - [`serve`]: the accept loop
//! - [`stop`]: the signals that end a program
//! - [`backoff`]: the delays between attempts
//! - [`args`]: values of the command line
//! - [`logging`]: what the logs look like
//! - [`memory`]: what becomes of memory that is freed

pub mod args;
pub mod backoff;
pub mod logging;
pub mod memory;
pub mod net;
pub mod serve;
pub mod stop;
