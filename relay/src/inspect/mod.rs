//! The inspector: what came through a tunnel, for its owner to look at.
//!
//! It is off. An owner turns it on for one tunnel and for a while; then each request there is is kept
//! as an *exchange* with its answer, and each raw visit as a *capture*, without secrets as far as they
//! can be told by their names, in memory and nowhere else. What passes is copied; nothing waits for
//! the inspector, and a tunnel that is not inspected does not notice that there is one.
//!
//! - `inspection`: whether a tunnel is inspected, and how
//! - `shelf`: where exchanges and captures are kept, and for how long; `cost`: what they take up
//! - `exchange`: a request and its answer; its `fields`, its `body` (`decode`), the `events` of a stream
//!   and the `messages` of a WebSocket (`inflate`)
//! - `capture`: a raw visit
//! - `guess`: what protocol its bytes are of; `export`: files and commands for other programs
//! - `names`, `scrub`: what is a secret, and how it is left out before anything is kept
//!
//! Who may look is not decided here.

mod body;
mod capture;
mod cost;
mod decode;
mod events;
mod exchange;
mod export;
mod fields;
mod guess;
mod inflate;
mod inspection;
mod messages;
mod names;
mod scrub;
mod shelf;

pub(crate) use self::body::Body;
pub(crate) use self::capture::{Capture, CaptureTap, Captured, Ending};
pub(crate) use self::events::Event;
pub(crate) use self::exchange::{Arrived, Exchange, Head, Record, Tap, Times};
pub(crate) use self::export::{curl, har, pcapng};
pub(crate) use self::fields::{Field, Fields};
pub(crate) use self::guess::{Guess, LOOKED_AT, guess};
pub(crate) use self::inspection::{Inspection, Inspector, Options};
pub(crate) use self::messages::{Message, MessageKind};
pub(crate) use self::shelf::{Amount, Whose};

/// Which end has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    Visitor,
    Service,
}

impl Speaker {
    /// The one that listens meanwhile.
    fn other(self) -> Self {
        match self {
            Self::Visitor => Self::Service,
            Self::Service => Self::Visitor,
        }
    }
}
