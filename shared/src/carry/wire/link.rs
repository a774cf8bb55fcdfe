//! What the owner of a session can see of its wire.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::breach::Breach;
use super::life::Life;
use super::pace::Advice;
use super::room::Room;
use super::streams::Lobby;
use crate::carry::{Channel, Role};

/// The largest frame body in bytes that is accepted from a peer that has not been admitted yet.
/// A handshake needs far less; yamux allocates a body as soon as its header has come.
const STRANGERS_FRAME: u32 = 16 * 1024;

/// The most bytes of bodies in all that are accepted from a stranger: a handshake and its framing.
const STRANGERS_BYTES: u64 = 32 * 1024;

/// The largest frame body in bytes that is accepted from an admitted peer: yamux's first window.
/// No peer of ours sends much more than half of it.
const LARGEST_FRAME: u32 = 256 * 1024;

/// One wire's state, shared between the layer and the session that owns it.
#[derive(Debug)]
pub struct Link {
    pub(super) life: Life,
    pub(super) room: Room,
    pub(super) lobby: Lobby,
    /// Known once there is something to run over.
    channel: OnceLock<Channel>,
    /// The peer is no stranger any more.
    admitted: AtomicBool,
    /// This end is closing the session: what comes is of no interest any more.
    parting: AtomicBool,
    given_up: AtomicBool,
    breach: Mutex<Option<Breach>>,
}

impl Link {
    /// The state of a wire of an end in this role.
    pub fn new(role: Role) -> Self {
        Self {
            life: Life::new(),
            room: Room::new(Advice::start()),
            lobby: Lobby::default(),
            channel: OnceLock::new(),
            admitted: AtomicBool::new(role.trusts()),
            parting: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            breach: Mutex::new(None),
        }
    }

    /// What is known of the channel under the session. It is there before the first byte: whoever
    /// has got a stream of the session from [`Mux::open`](crate::carry::mux::Mux::open) or
    /// [`Inbound::next`](crate::carry::mux::Inbound::next) sees it. Before that it is
    /// [`Channel::Plain`], of which nobody expects anything.
    pub fn channel(&self) -> Channel {
        self.channel.get().copied().unwrap_or(Channel::Plain)
    }

    /// What the session runs over is there, and this is what is known of it.
    pub(crate) fn runs_over(&self, channel: Channel) {
        self.channel.get_or_init(|| channel);
    }

    /// How long nothing at all has arrived.
    pub fn silence(&self) -> Duration {
        self.life.silence()
    }

    /// How long a frame that the peer answers at once has been on its way and nothing has come:
    /// one that opens a stream, or a ping.
    pub fn unanswered(&self) -> Duration {
        self.life.unanswered()
    }

    /// How many bytes have gone over the wire so far, both ways together.
    pub fn traffic(&self) -> u64 {
        self.life.traffic()
    }

    /// Bytes of visits that wait for the line.
    pub fn waiting(&self) -> u64 {
        self.room.queued()
    }

    /// Whether so much waits for the peer that nothing at all should be sent to it for now.
    pub fn is_backed_up(&self) -> bool {
        self.room.is_full()
    }

    /// yamux has taken so many bytes of a visit.
    pub(crate) fn queued(&self, bytes: usize) {
        self.room.enter(bytes);
    }

    /// Accepts frames of full size from now on: the peer has been admitted.
    pub fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// The largest body of a frame that the peer may send.
    pub(super) fn largest_frame(&self) -> u32 {
        if self.is_admitted() { LARGEST_FRAME } else { STRANGERS_FRAME }
    }

    /// The most bytes of bodies that the peer may ever send.
    pub(super) fn most_received(&self) -> u64 {
        if self.is_admitted() { u64::MAX } else { STRANGERS_BYTES }
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }

    /// This end is closing the session.
    pub(crate) fn part(&self) {
        self.parting.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_parting(&self) -> bool {
        self.parting.load(Ordering::Relaxed)
    }

    /// The driver has done what can be done for now: those may send for whom there is room.
    /// Returns whether it has to take another turn although nothing may have happened.
    #[must_use]
    pub(crate) fn turn_over(&self) -> bool {
        self.room.admit()
    }

    /// Why the wire gave the session up, if it did.
    pub fn breach(&self) -> Option<Breach> {
        if self.is_given_up() { self.breach.lock().clone() } else { None }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Gives the session up for a breach. The first one stays.
    pub(crate) fn break_off(&self, breach: Breach) {
        self.breach.lock().get_or_insert(breach);
        self.given_up.store(true, Ordering::Relaxed);
    }
}
