//! How many visitors and handshakes the relay takes on, and the permits that say so.
//!
//! Every visitor costs a descriptor, and so does every client. A part of the process's descriptors
//! is kept from visitors, so that clients and the admin port get through while visitors flood the
//! public ports.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

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
    sessions: Arc<Semaphore>,
    handshakes: Arc<Handshakes>,
}

impl Limits {
    /// Limits for a process that may have `descriptors` files open: three quarters are for
    /// visitors, the rest is for clients, those in the middle of a handshake included.
    pub(crate) fn new(descriptors: u64) -> Self {
        let descriptors =
            usize::try_from(descriptors).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let reserve = (descriptors / 4).max(SMALLEST_RESERVE);
        let handshakes = (reserve / 2).min(MOST_HANDSHAKES);
        let sessions = reserve.saturating_sub(handshakes + OWN).max(1);
        Self {
            visitors: Arc::new(Semaphore::new(descriptors.saturating_sub(reserve))),
            sessions: Arc::new(Semaphore::new(sessions)),
            handshakes: Arc::new(Handshakes { most: handshakes, open: Mutex::default() }),
        }
    }

    /// Room for one more visitor of any tunnel, if there is.
    pub(crate) fn visitor(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.visitors).try_acquire_owned().ok()
    }

    /// Room for one more client, if there is.
    pub(crate) fn session(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sessions).try_acquire_owned().ok()
    }

    /// Room for one more handshake. There always is: the one that has been going on for longest
    /// makes room. An honest one takes milliseconds, so it is a silent stranger's.
    pub(crate) fn handshake(&self) -> Handshake {
        self.handshakes.begin()
    }
}

/// The handshakes that are going on, oldest first.
#[derive(Debug)]
struct Handshakes {
    most: usize,
    open: Mutex<VecDeque<CancellationToken>>,
}

impl Handshakes {
    fn begin(self: &Arc<Self>) -> Handshake {
        let evicted = CancellationToken::new();
        let mut open = self.open.lock();
        while open.len() >= self.most {
            let Some(oldest) = open.pop_front() else { break };
            oldest.cancel();
        }
        open.push_back(evicted.clone());
        drop(open);
        Handshake { handshakes: Arc::clone(self), evicted }
    }
}

/// A handshake that is going on. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    evicted: CancellationToken,
}

impl Handshake {
    /// Resolves when the handshake has to make room for newer ones.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        // An evicted one has been taken out already, and its token is the only cancelled one.
        if !self.evicted.is_cancelled() {
            self.evicted.cancel();
            self.handshakes.open.lock().retain(|token| !token.is_cancelled());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_leave_descriptors_for_clients() {
        let limits = Limits::new(256);
        let visitors: Vec<_> = std::iter::from_fn(|| limits.visitor()).collect();
        assert_eq!(visitors.len(), 192);
        drop(visitors);
        assert!(limits.visitor().is_some());
    }

    #[test]
    fn clients_leave_descriptors_for_handshakes() {
        let limits = Limits::new(256);
        let sessions: Vec<_> = std::iter::from_fn(|| limits.session()).collect();
        assert_eq!(sessions.len(), 16);
    }

    #[test]
    fn the_oldest_handshake_makes_room() {
        let limits = Limits::new(256);
        let first = limits.handshake();
        let mut more: Vec<_> = (0..31).map(|_| limits.handshake()).collect();
        assert!(!first.evicted.is_cancelled());
        more.pop();
        let _room = limits.handshake();
        assert!(!first.evicted.is_cancelled(), "one has ended, so there was room");
        let _no_room = limits.handshake();
        assert!(first.evicted.is_cancelled());
    }
}
