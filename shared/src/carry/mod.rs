//! Many streams over one connection.
//!
//! - [`wire`]: the I/O layer under yamux
//! - [`Carrier`]: what a session runs over, and [`Channel`], what is known of it
//! - [`tls`]: TLS as a carrier
//! - [`mux`]: a session of many streams, and the one task that drives it
//! - [`Role`]: which end of a session this is, and what it may do

mod carrier;
mod channel;
mod driver;
pub mod mux;
mod role;
pub mod tls;
pub mod wire;

pub use self::carrier::{Carrier, Carry};
pub use self::channel::Channel;
pub use self::role::Role;

/// The most bytes that are written to a stream at a time: what one read of a socket brings, behind
/// a header. Larger pieces gain little and make others wait longer on a slow line. It is half of
/// yamux's first window, so that no piece is cut by the end of one.
pub const PIECE: usize = 128 * 1024;

#[cfg(test)]
mod tests;
