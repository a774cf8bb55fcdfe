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
    handshakes: Places,
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
            handshakes: Places::new(handshakes),
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

    /// Room for one more handshake. An honest one takes milliseconds, so the one that makes room is
    /// a silent stranger's.
    pub(crate) fn handshake(&self) -> Place {
        self.handshakes.take()
    }
}

/// A number of places, of which there is always one more: whoever has been there for longest makes
/// room.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: usize,
    /// Who is there, oldest first.
    taken: Arc<Mutex<VecDeque<CancellationToken>>>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// Takes a place, and tells the oldest to make room if there is none.
    pub(crate) fn take(&self) -> Place {
        let evicted = CancellationToken::new();
        let mut taken = self.taken.lock();
        while taken.len() >= self.most {
            let Some(oldest) = taken.pop_front() else { break };
            oldest.cancel();
        }
        taken.push_back(evicted.clone());
        drop(taken);
        Place { places: self.clone(), evicted }
    }
}

/// A place that is taken. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    evicted: CancellationToken,
}

impl Place {
    /// Resolves when the place is needed for somebody else.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // An evicted one has been taken out already, and its token is the only cancelled one.
        if !self.evicted.is_cancelled() {
            self.evicted.cancel();
            self.places.taken.lock().retain(|token| !token.is_cancelled());
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
