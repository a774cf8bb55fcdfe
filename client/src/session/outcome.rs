//! How a session begins and ends.

use shared::control::conversation::Over;
use shared::control::protocol::{PublicAddress, Refusal};

use crate::tunnel::TunnelConfig;

/// What became of the first tunnels of a session.
#[derive(Default)]
pub(crate) struct Opened {
    /// Those that are open, and where visitors reach them.
    pub(crate) open: Vec<(TunnelConfig, Vec<PublicAddress>)>,
    /// Those that wait for somebody to make a record.
    pub(crate) waiting: Vec<(TunnelConfig, Refusal)>,
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The client was asked to stop.
    Stopped,
    /// The relay ended it on purpose.
    EndedByRelay,
    /// It is gone, and the text says why.
    Lost(String),
}

/// Why a session could not open all of its first tunnels.
pub(crate) enum NotOpened {
    Refused(Refusal),
    Over(Over),
}
