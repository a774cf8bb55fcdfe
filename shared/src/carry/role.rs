//! Which end of a session this is, and what follows from it.

use yamux::Mode;

/// Streams the peer may have opened beyond the permits that were given out: those that one end
/// has ended and the other not yet.
const SPARE_STREAMS: usize = 512;

/// An end of a session. A client opens the control stream, a relay one stream for each visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client's end. It has chosen its relay and trusts it.
    Client,
    /// The relay's end. Whoever connects is a stranger until it has been admitted.
    Relay,
}

impl Role {
    /// What yamux calls this end. It numbers the streams that a `Client` opens oddly, and those of
    /// a `Server` evenly.
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Client => Mode::Client,
            Self::Relay => Mode::Server,
        }
    }

    /// yamux's limit of streams, when the relay's end has at most `permits` open at a time. It is
    /// never reached: reaching it would end the session. A client sets it higher, since it may
    /// notice the end of a stream later.
    pub(super) fn most_streams(self, permits: usize) -> usize {
        match self {
            Self::Client => 4 * permits + SPARE_STREAMS,
            Self::Relay => 2 * permits + SPARE_STREAMS,
        }
    }

    /// How many streams that the peer has opened may wait to be taken.
    pub(super) fn most_untaken(self, permits: usize) -> usize {
        match self {
            // Visitors may come with the relay's first words, and each may be waiting at a time:
            // one that reset right after it came counts for a moment.
            Self::Client => permits,
            // The control stream.
            Self::Relay => 1,
        }
    }

    /// How many streams the peer may ever open.
    pub(super) fn most_opened(self) -> u32 {
        match self {
            Self::Client => u32::MAX,
            // The control stream.
            Self::Relay => 1,
        }
    }

    /// Whether the peer may open a stream of this number.
    pub(super) fn is_of_peer(self, stream: u32) -> bool {
        match self {
            Self::Client => is_of_relay(stream),
            Self::Relay => !is_of_relay(stream),
        }
    }

    /// Whether the stream carries a visit. All do that a relay opens.
    pub(super) fn is_visit(self, stream: u32) -> bool {
        match self {
            Self::Client | Self::Relay => is_of_relay(stream),
        }
    }

    /// Whether the peer is no stranger, from the first byte on.
    pub(super) fn trusts(self) -> bool {
        self == Self::Client
    }
}

/// Whether the stream was opened by an end that is yamux's server. Zero is the session itself.
fn is_of_relay(stream: u32) -> bool {
    stream != 0 && stream.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_lets_a_stranger_open_the_control_stream_and_carries_visits_on_its_own() {
        assert_eq!(Role::Relay.most_opened(), 1);
        assert!(Role::Relay.is_of_peer(1) && !Role::Relay.is_of_peer(2));
        assert!(Role::Client.is_of_peer(2) && !Role::Client.is_of_peer(1));
        for role in [Role::Client, Role::Relay] {
            assert!(role.is_visit(2) && !role.is_visit(1) && !role.is_visit(0));
        }
    }
}
