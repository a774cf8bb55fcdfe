//! Places for handshakes, of which there is always one more.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::source::Source;

/// A number of places, of which there is always one more: of those who have the most places
/// together the one that has been there for longest makes room. A flood from one source therefore
/// crowds out itself, and not the slow handshake of somebody else.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: Arc<AtomicUsize>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Who is there, oldest first.
    places: VecDeque<(Source, CancellationToken)>,
    /// How many places each source has.
    sources: HashMap<Source, usize>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: Arc::new(most.into()), taken: Arc::default() }
    }

    /// So many places from now on. If there are fewer than were taken, some make room with the next
    /// one that is.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Takes a place, and tells another to make room if there is none.
    pub(crate) fn take(&self, peer: SocketAddr) -> Place {
        let source = Source::from(peer);
        let evicted = CancellationToken::new();
        let mut taken = self.taken.lock();
        while taken.places.len() >= self.most.load(Ordering::Relaxed) {
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
    fn with_fewer_places_as_many_make_room_as_have_to() {
        let places = Places::new(10);
        let taken: Vec<_> = (0..10).map(|_| places.take(from([1, 1, 1, 1]))).collect();
        places.set_most(4);
        let _one_more = places.take(from([1, 1, 1, 1]));
        assert_eq!(taken.iter().filter(|place| !place.evicted.is_cancelled()).count(), 3);
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
