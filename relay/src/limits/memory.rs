//! Memory for what strangers send, of which there is always more.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::source::Source;

/// A number of bytes, of which there are always more: of the source that has had the most for longest
/// the oldest loan makes room. Whoever sends slowly therefore crowds out itself, and nobody who sends
/// much and is through at once. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    most: usize,
    lent: Arc<Mutex<Lent>>,
}

#[derive(Debug, Default)]
struct Lent {
    /// Oldest first: numbers grow.
    loans: BTreeMap<u64, Entry>,
    /// Of all of them, in bytes.
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    bytes: usize,
    since: Instant,
    evicted: CancellationToken,
}

/// Bytes that somebody has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Loan {
    memory: Memory,
    source: Source,
    /// `None`: nothing has been lent yet.
    number: Option<u64>,
    evicted: CancellationToken,
}

impl Memory {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, lent: Arc::default() }
    }

    /// A loan of nothing, for whoever is at `source`.
    pub(crate) fn lend(&self, source: Source) -> Loan {
        Loan { memory: self.clone(), source, number: None, evicted: CancellationToken::new() }
    }
}

impl Lent {
    /// Takes loans back until no more than `most` bytes are lent.
    fn fit(&mut self, most: usize, now: Instant) {
        while self.bytes > most {
            let Some(number) = self.of_the_greediest(now) else { return };
            if let Some(entry) = self.remove(number) {
                entry.evicted.cancel();
            }
        }
    }

    /// The oldest loan of the source that has had the most for longest.
    fn of_the_greediest(&self, now: Instant) -> Option<u64> {
        let mut sources: HashMap<Source, u128> = HashMap::new();
        for entry in self.loans.values() {
            // Of those that have just come the largest counts.
            let age = now.saturating_duration_since(entry.since).as_micros() + 1;
            *sources.entry(entry.source).or_default() += entry.bytes as u128 * age;
        }
        let most = sources.values().max()?;
        let mut loans = self.loans.iter();
        loans.find(|(_, entry)| sources[&entry.source] == *most).map(|(number, _)| *number)
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.loans.remove(&number)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

impl Loan {
    /// It is of so many bytes from now on. Others make room for them, or this one has to make room
    /// itself.
    pub(crate) fn set(&mut self, bytes: usize, now: Instant) {
        let mut lent = self.memory.lent.lock();
        let number = *self.number.get_or_insert_with(|| {
            let number = lent.next;
            lent.next += 1;
            let (source, evicted) = (self.source, self.evicted.clone());
            lent.loans.insert(number, Entry { source, bytes: 0, since: now, evicted });
            number
        });
        // One that had to make room has nothing any more.
        let Some(entry) = lent.loans.get_mut(&number) else { return };
        let before = std::mem::replace(&mut entry.bytes, bytes);
        lent.bytes = lent.bytes - before + bytes;
        lent.fit(self.memory.most, now);
    }

    /// Whether it had to make room.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.is_cancelled()
    }

    /// Resolves when the memory is needed for somebody else.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.memory.lent.lock().remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(n: u8) -> Source {
        ([192, 0, 2, n], 1).into()
    }

    struct Scene {
        memory: Memory,
        start: Instant,
    }

    impl Scene {
        fn of(most: usize) -> Self {
            Self { memory: Memory::new(most), start: Instant::now() }
        }

        fn lend(&self, from: u8, bytes: usize, at: u64) -> Loan {
            let mut loan = self.memory.lend(source(from));
            loan.set(bytes, self.start + Duration::from_millis(at));
            loan
        }

        fn lent(&self) -> usize {
            self.memory.lent.lock().bytes
        }
    }

    fn left(loans: &[Loan]) -> usize {
        loans.iter().filter(|loan| !loan.is_evicted()).count()
    }

    #[test]
    fn whoever_is_slow_makes_room_for_a_burst_that_is_larger() {
        let scene = Scene::of(1000);
        let strangers: Vec<_> = (1..=10).map(|n| scene.lend(n, 100, 0)).collect();
        assert_eq!(left(&strangers), 10);
        let burst: Vec<_> = (0..8).map(|_| scene.lend(99, 50, 5000)).collect();
        assert_eq!((left(&burst), left(&strangers)), (8, 6));
        assert_eq!(scene.lent(), 1000);
        drop((burst, strangers));
        assert_eq!(scene.lent(), 0);
        assert!(scene.memory.lent.lock().loans.is_empty());
    }

    #[test]
    fn a_flood_from_one_source_crowds_out_itself_oldest_first() {
        let scene = Scene::of(1000);
        let honest = scene.lend(1, 50, 0);
        let flood: Vec<_> = (0..40).map(|n| scene.lend(2, 100, 10 * n)).collect();
        assert!(!honest.is_evicted());
        assert_eq!((left(&flood[..31]), left(&flood[31..])), (0, 9));
    }

    #[test]
    fn what_grows_counts_as_what_it_is_and_what_made_room_as_nothing() {
        let scene = Scene::of(1000);
        let mut loans = vec![scene.lend(1, 400, 0), scene.lend(2, 100, 0)];
        loans[1].set(600, scene.start);
        assert_eq!((left(&loans), scene.lent()), (2, 1000));
        loans[1].set(700, scene.start);
        assert!(loans[1].is_evicted(), "it is the greediest");
        assert_eq!(scene.lent(), 400);
        loans[1].set(800, scene.start);
        assert_eq!(scene.lent(), 400);
        loans.clear();
        assert_eq!(scene.lent(), 0);
    }

    #[test]
    fn who_has_borrowed_nothing_has_no_need_to_make_room() {
        let scene = Scene::of(10);
        let small = scene.memory.lend(source(1));
        let _large = scene.lend(2, 100, 0);
        assert!(!small.is_evicted());
    }
}
