//! How many visitors and handshakes the relay takes on, and the permits that say so.
//!
//! Every visitor costs a descriptor, and so does every client. A part of the process's descriptors
//! is kept from visitors, so that clients and the admin port get through while visitors flood the
//! public ports.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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
    listeners: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    handshakes: Places,
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
}

/// A number of places, of which there is always one more: of those who have the most places
/// together the one that has been there for longest makes room. A flood from one source therefore
/// crowds out itself, and not the slow handshake of somebody else.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Who is there, oldest first.
    places: VecDeque<(Source, CancellationToken)>,
    /// How many places each source has.
    sources: HashMap<Source, usize>,
}

/// Where a connection comes from: an IPv4 address, or an IPv6 network of 64 bits, which is what one
/// customer has at least (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl From<SocketAddr> for Source {
    fn from(addr: SocketAddr) -> Self {
        Self(match addr.ip().to_canonical() {
            IpAddr::V6(ip) => {
                let network = u128::from(ip) & !u128::from(u64::MAX);
                Ipv6Addr::from(network).into()
            }
            v4 => v4,
        })
    }
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// Takes a place, and tells another to make room if there is none.
    pub(crate) fn take(&self, peer: SocketAddr) -> Place {
        let source = Source::from(peer);
        let evicted = CancellationToken::new();
        let mut taken = self.taken.lock();
        while taken.places.len() >= self.most {
            let Some(oldest) = taken.of_the_greediest() else { break };
            oldest.cancel();
        }
        taken.places.push_back((source, evicted.clone()));
        *taken.sources.entry(source).or_default() += 1;
        drop(taken);
        Place { places: self.clone(), evicted }
    }
}

impl Taken {
    /// Takes away the oldest place of a source that has the most.
    fn of_the_greediest(&mut self) -> Option<CancellationToken> {
        let most = self.sources.values().max()?;
        let at = self.places.iter().position(|(source, _)| self.sources[source] == *most)?;
        self.remove(at)
    }

    fn remove(&mut self, at: usize) -> Option<CancellationToken> {
        let (source, token) = self.places.remove(at)?;
        if let Some(places) = self.sources.get_mut(&source) {
            *places -= 1;
            if *places == 0 {
                self.sources.remove(&source);
            }
        }
        Some(token)
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
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // An evicted one has been taken out already, and its token is the only cancelled one.
        if !self.evicted.is_cancelled() {
            self.evicted.cancel();
            let mut taken = self.places.taken.lock();
            if let Some(at) = taken.places.iter().position(|(_, token)| token.is_cancelled()) {
                taken.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ip: [u8; 4]) -> SocketAddr {
        (ip, 1).into()
    }

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

    #[test]
    fn the_oldest_makes_room() {
        let places = Places::new(3);
        let first = places.take(from([1, 1, 1, 1]));
        let mut more: Vec<_> = (0..2).map(|_| places.take(from([1, 1, 1, 1]))).collect();
        assert!(!first.evicted.is_cancelled());
        more.pop();
        let _room = places.take(from([1, 1, 1, 1]));
        assert!(!first.evicted.is_cancelled(), "one has ended, so there was room");
        let _no_room = places.take(from([1, 1, 1, 1]));
        assert!(first.evicted.is_cancelled());
    }

    #[test]
    fn a_flood_from_one_source_crowds_out_itself() {
        let places = Places::new(10);
        let honest = places.take(from([1, 1, 1, 1]));
        let network = |host| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, host], 1));
        let flood: Vec<_> = (0..100).map(|host| places.take(network(host))).collect();
        assert!(!honest.evicted.is_cancelled());
        assert_eq!(flood.iter().filter(|place| !place.evicted.is_cancelled()).count(), 9);
        drop((flood, honest));
        assert!(places.taken.lock().sources.is_empty(), "nothing is left of them");
    }
}
