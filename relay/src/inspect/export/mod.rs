//! Exchanges and captures in the forms that other programs read.
//!
//! - `har`: exchanges for browsers and their like
//! - `curl`: a request as a command
//! - `pcapng`: a capture for Wireshark, in made-up `packets`

mod curl;
mod har;
mod packets;
mod pcapng;

pub(crate) use self::curl::curl;
pub(crate) use self::har::har;
pub(crate) use self::pcapng::pcapng;
