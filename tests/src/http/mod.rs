//! HTTP by hand, for what no honest program says or does.
//!
//! - [`line`](mod@line): a visitor who writes HTTP/1 byte by byte, and reads answers as they come
//! - [`frames`]: a visitor who writes frames of HTTP/2
//! - [`multiplexed`]: a visitor with many requests at a time, by a library
//! - [`recorder`]: a local service that reads requests as strictly as can be, and remembers them
//! - [`secure`]: visitors by TLS who take whatever certificate there is

pub mod frames;
pub mod line;
pub mod multiplexed;
pub mod recorder;
pub mod secure;

pub use frames::{Frames, Outcome};
pub use line::{Answer, Line};
pub use multiplexed::Multiplexed;
pub use recorder::{Recorder, Reply, Seen};
