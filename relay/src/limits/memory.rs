//! Memory for what strangers send, of which there is always more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::source::Source;

/// A number of bytes, of which there are always more: of the owner that has had the most for longest,
/// and of what that has for the source that has, the oldest loan makes room. Whoever sends slowly
/// therefore crowds out itself, and nobody who sends much and is through at once. What may come from
/// anywhere is nobody's, and each loan counts by itself. Where all is for one owner, `O` is `()`. Cheap
/// to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory<O> {
    most: usize,
    lent: Arc<Mutex<Lent<O>>>,
}

#[derive(Debug)]
struct Lent<O> {
    debts: BTreeMap<(O, Sender), Debt>,
    /// Of all of them, in bytes.
    bytes: usize,
    next: u64,
    /// Times are counted from here.
    start: Instant,
}

/// Who sends what is lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sender {
    At(Source),
    /// It is not known who: the one of that number, who has no other loan.
    Unknown(u64),
}

/// What one sender has that is for one owner.
#[derive(Debug, Default)]
struct Debt {
    /// Oldest first: numbers grow.
    loans: BTreeMap<u64, Entry>,
    /// Of all of them, in bytes.
    bytes: u128,
    /// The bytes of each times the moment since which it is there, in microseconds.
    moments: u128,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    /// In microseconds.
    since: u128,
    evicted: CancellationToken,
}

/// Bytes that somebody has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Loan<O: Ord> {
    memory: Memory<O>,
    whose: (O, Sender),
    /// `None`: nothing has been lent yet.
    number: Option<u64>,
    evicted: CancellationToken,
}

impl<O: Ord + Clone> Memory<O> {
    pub(crate) fn new(most: usize) -> Self {
        let (debts, start) = (BTreeMap::new(), Instant::now());
        let lent = Lent { debts, bytes: 0, next: 0, start };
        Self { most, lent: Arc::new(Mutex::new(lent)) }
    }

    /// A loan of nothing, for what whoever is at `source` sends to something of `owner`. Without a
    /// source it is nobody's.
    pub(crate) fn lend(&self, owner: O, source: Option<Source>) -> Loan<O> {
        let unknown = || Sender::Unknown(self.lent.lock().next_number());
        let sender = source.map_or_else(unknown, Sender::At);
        let evicted = CancellationToken::new();
        Loan { memory: self.clone(), whose: (owner, sender), number: None, evicted }
    }
}

impl<O: Ord + Clone> Lent<O> {
    /// Takes loans back until no more than `most` bytes are lent.
    fn fit(&mut self, most: usize, now: u128) {
        while self.bytes > most {
            let Some(whose) = self.greediest(now) else { return };
            let number = self.debts.get(&whose).and_then(|debt| debt.loans.keys().next().copied());
            let Some(entry) = number.and_then(|number| self.remove(&whose, number)) else { return };
            entry.evicted.cancel();
        }
    }

    /// The owner whose loans have been the most for longest, and of its senders the one of which that
    /// is so.
    fn greediest(&self, now: u128) -> Option<(O, Sender)> {
        let mut debts = self.debts.iter().peekable();
        let mut greediest: Option<(u128, &(O, Sender))> = None;
        while let Some((first, debt)) = debts.next() {
            let (mut all, mut most) = (debt.weight(now), (debt.weight(now), first));
            while let Some((whose, debt)) = debts.next_if(|(whose, _)| whose.0 == first.0) {
                let weight = debt.weight(now);
                all += weight;
                if weight > most.0 {
                    most = (weight, whose);
                }
            }
            if greediest.is_none_or(|(before, _)| all > before) {
                greediest = Some((all, most.1));
            }
        }
        greediest.map(|(_, whose)| whose.clone())
    }
}

impl<O: Ord> Lent<O> {
    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn remove(&mut self, whose: &(O, Sender), number: u64) -> Option<Entry> {
        let debt = self.debts.get_mut(whose)?;
        let entry = debt.loans.remove(&number)?;
        debt.count(&entry, 0);
        self.bytes -= entry.bytes;
        if debt.loans.is_empty() {
            self.debts.remove(whose);
        }
        Some(entry)
    }

    fn micros(&self, moment: Instant) -> u128 {
        moment.saturating_duration_since(self.start).as_micros()
    }
}

impl Debt {
    /// How much it is, times how long. Of loans that have just come the largest counts.
    fn weight(&self, now: u128) -> u128 {
        (self.bytes * (now + 1)).saturating_sub(self.moments)
    }

    /// A loan is of so many bytes from now on.
    fn count(&mut self, entry: &Entry, bytes: usize) {
        self.bytes = self.bytes - entry.bytes as u128 + bytes as u128;
        self.moments =
            self.moments - entry.bytes as u128 * entry.since + bytes as u128 * entry.since;
    }
}

impl<O: Ord + Clone> Loan<O> {
    /// It is of so many bytes from now on. Others make room for them, or this one has to make room
    /// itself.
    pub(crate) fn set(&mut self, bytes: usize, now: Instant) {
        let mut lent = self.memory.lent.lock();
        let now = lent.micros(now);
        let number = *self.number.get_or_insert_with(|| {
            let number = lent.next_number();
            let debt = lent.debts.entry(self.whose.clone()).or_default();
            let evicted = self.evicted.clone();
            debt.loans.insert(number, Entry { bytes: 0, since: now, evicted });
            number
        });
        let Some(debt) = lent.debts.get_mut(&self.whose) else { return };
        // One that had to make room has nothing any more.
        let Some(mut entry) = debt.loans.remove(&number) else { return };
        debt.count(&entry, bytes);
        let before = std::mem::replace(&mut entry.bytes, bytes);
        debt.loans.insert(number, entry);
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

impl<O: Ord> Drop for Loan<O> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.memory.lent.lock().remove(&self.whose, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(n: u8) -> Option<Source> {
        Some(([192, 0, 2, n], 1).into())
    }

    struct Scene {
        memory: Memory<&'static str>,
        start: Instant,
    }

    impl Scene {
        fn of(most: usize) -> Self {
            Self { memory: Memory::new(most), start: Instant::now() }
        }

        fn lend(&self, from: u8, bytes: usize, at: u64) -> Loan<&'static str> {
            self.lend_for("ann", source(from), bytes, at)
        }

        fn lend_for(
            &self,
            owner: &'static str,
            from: Option<Source>,
            bytes: usize,
            at: u64,
        ) -> Loan<&'static str> {
            let mut loan = self.memory.lend(owner, from);
            loan.set(bytes, self.start + Duration::from_millis(at));
            loan
        }

        fn lent(&self) -> usize {
            self.memory.lent.lock().bytes
        }
    }

    fn left(loans: &[Loan<&'static str>]) -> usize {
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
        assert!(scene.memory.lent.lock().debts.is_empty());
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
    fn what_is_for_one_owner_crowds_out_nothing_of_another_however_many_send_it() {
        let scene = Scene::of(1000);
        let flood: Vec<_> = (10..50).map(|n| scene.lend(n, 50, u64::from(n))).collect();
        let honest: Vec<_> = (1..=3).map(|n| scene.lend_for("bob", source(n), 100, 90)).collect();
        assert_eq!((left(&honest), left(&flood)), (3, 14));
        // Whoever sends to the same owner does not have to make room for them either.
        let mut callers = vec![scene.lend(1, 20, 100), scene.lend(2, 20, 100)];
        assert_eq!((left(&honest), left(&callers)), (3, 2));
        callers.extend(honest);
        drop((callers, flood));
        assert!(scene.memory.lent.lock().debts.is_empty());
    }

    #[test]
    fn what_may_come_from_anywhere_counts_each_by_itself() {
        let scene = Scene::of(1000);
        let greedy: Vec<_> = (0..4).map(|_| scene.lend(1, 100, 0)).collect();
        let from_anywhere = |at| scene.lend_for("ann", None, 100, at);
        let mut others: Vec<_> = (10..19).map(from_anywhere).collect();
        assert_eq!((left(&others), left(&greedy)), (9, 1));
        others.push(from_anywhere(20));
        assert_eq!((left(&others), left(&greedy)), (10, 0));
        others.push(from_anywhere(21));
        assert_eq!((left(&others[..1]), left(&others[1..])), (0, 10), "the oldest of them");
        drop((greedy, others));
        assert!(scene.memory.lent.lock().debts.is_empty());
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
        let small = scene.memory.lend("ann", source(1));
        let _large = scene.lend(2, 100, 0);
        assert!(!small.is_evicted());
    }
}
