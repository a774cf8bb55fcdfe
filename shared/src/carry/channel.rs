//! What is known of the channel that a session runs over.

/// Whether a session is encrypted, and what ties it to its two ends.
///
/// Whatever proves who somebody is can be made for one session alone by mixing the binding into it:
/// somebody in the middle has two sessions with two bindings, and cannot pass a proof from one on to
/// the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Anybody on the way can read and change what goes over it.
    Plain,
    /// TLS.
    Tls {
        /// `tls-exporter` of RFC 9266: the same at both ends, and another one in each session.
        /// `None` with TLS 1.2, which does not always have one that is safe.
        binding: Option<[u8; 32]>,
    },
}

impl Channel {
    /// Whether nobody on the way can read it.
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::Plain => false,
            Self::Tls { .. } => true,
        }
    }

    /// What only the two ends of this channel know, if it has such a thing.
    pub fn binding(self) -> Option<[u8; 32]> {
        match self {
            Self::Plain => None,
            Self::Tls { binding } => binding,
        }
    }
}
