//! How many visitors and handshakes the relay takes on, and the permits that say so.
//!
//! Every visitor costs a descriptor, and so does every client. A part of the process's descriptors
//! is kept from visitors, so that clients and the admin port get through while visitors flood the
//! public ports.

mod bans;
mod places;
mod policy;
mod source;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use shared::kit::args;
use shared::kit::logging::Rate;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

pub(crate) use self::bans::BanNow;
use self::bans::Bans;
pub(crate) use self::places::{Place, Places};
pub use self::policy::{BadBanRule, BanPolicy, BanRule};
use self::source::Source;

/// Sources that are banned: a network has as many as it likes.
static BANNED: Rate = Rate::generous(|more| {
    warn!(left_out = more.count, "sources banned: {more}");
});

/// At least so many descriptors are kept from visitors.
const SMALLEST_RESERVE: usize = 32;

/// So many handshakes at a time are plenty: an honest one takes milliseconds.
const MOST_HANDSHAKES: usize = 1024;

/// Descriptors for the listeners, the admin port, the log and the runtime.
const OWN: usize = 16;

/// The limits of the whole relay. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    visitors: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    handshakes: Places,
    bans: Bans,
}

impl Limits {
    /// Limits for a process that may have `descriptors` files open: a quarter is for clients, those
    /// in the middle of a handshake included, an eighth for the listeners of tunnels, the rest for
    /// visitors and more listeners.
    pub(crate) fn new(descriptors: u64) -> Self {
        let descriptors =
            usize::try_from(descriptors).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let reserve = (descriptors / 4).max(SMALLEST_RESERVE);
        let handshakes = (reserve / 2).min(MOST_HANDSHAKES);
        let sessions = reserve.saturating_sub(handshakes + OWN).max(1);
        let listeners = descriptors / 8;
        Self {
            visitors: Arc::new(Semaphore::new(descriptors.saturating_sub(reserve + listeners))),
            listeners: Arc::new(Semaphore::new(listeners)),
            sessions: Arc::new(Semaphore::new(sessions)),
            handshakes: Places::new(handshakes),
            bans: Bans::default(),
        }
    }

    /// Room for one more visitor of any tunnel, if there is.
    pub(crate) fn visitor(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.visitors).try_acquire_owned().ok()
    }

    /// Room for one more listener, if there is: those beyond their own share take from that of
    /// visitors.
    pub(crate) fn listener(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.listeners).try_acquire_owned().ok().or_else(|| self.visitor())
    }

    /// Room for one more client, if there is.
    pub(crate) fn session(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sessions).try_acquire_owned().ok()
    }

    /// Room for one more handshake, with `peer`. An honest one takes milliseconds, so the one that
    /// makes room is a silent stranger's.
    pub(crate) fn handshake(&self, peer: SocketAddr) -> Place {
        self.handshakes.take(peer)
    }

    /// Whether connections from `addr` are to be dropped, without a word.
    pub(crate) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.bans.are_any() && self.bans.is_banned(addr.into(), Instant::now())
    }

    /// Somebody at `addr` has been refused. So often within a while as `policy` says, and it is
    /// banned.
    pub(crate) fn refused(&self, addr: SocketAddr, policy: &BanPolicy) {
        let Some(rule) = policy.rule_for(addr.ip()) else { return };
        let source = Source::from(addr);
        if self.bans.strike(source, rule, Instant::now()) && BANNED.allows() {
            // Programs that watch the log look for this sentence, whoever was refused.
            let (count, within, time) =
                (rule.count, args::time(rule.within), args::time(rule.time));
            warn!(parent: None, "banned {source} for {time}: {count} refused within {within}");
        }
    }

    /// The sources that are banned, those that were banned first in front.
    pub(crate) fn bans(&self) -> Vec<BanNow> {
        self.bans.look(Instant::now())
    }

    /// How many sources are banned.
    pub(crate) fn count_bans(&self) -> u64 {
        self.bans.count(Instant::now())
    }

    /// Lifts the ban of the source that `ip` belongs to. Whether there was one.
    pub(crate) fn lift_ban(&self, ip: IpAddr) -> bool {
        self.bans.lift(ip.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_leave_descriptors_for_clients() {
        let limits = Limits::new(256);
        let visitors: Vec<_> = std::iter::from_fn(|| limits.visitor()).collect();
        assert_eq!(visitors.len(), 160);
        drop(visitors);
        assert!(limits.visitor().is_some());
    }

    #[test]
    fn listeners_have_a_share_and_take_the_rest_from_visitors() {
        let limits = Limits::new(256);
        let listeners: Vec<_> = (0..64).map(|_| limits.listener().unwrap()).collect();
        let visitors: Vec<_> = std::iter::from_fn(|| limits.visitor()).collect();
        assert_eq!((listeners.len(), visitors.len()), (64, 128));
        assert!(limits.listener().is_none());
        drop(listeners);
        assert!(limits.listener().is_some());
    }

    #[test]
    fn clients_leave_descriptors_for_handshakes() {
        let limits = Limits::new(256);
        let sessions: Vec<_> = std::iter::from_fn(|| limits.session()).collect();
        assert_eq!(sessions.len(), 16);
    }
}
