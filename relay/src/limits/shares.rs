//! Places of which no source has more than half.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::source::Source;

/// Who has how many of a number of places.
///
/// In a quarter of them sources are not told apart: nobody can have more than that, and while no more
/// are taken, which is so nearly always, whoever comes costs no more than a counter. Those who come
/// while that quarter is taken are counted by source, and each source may have another quarter: half
/// in all at most. As many sources are known as there are places, those that have none are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    taken: AtomicUsize,
    /// What is taken beyond the quarter that nobody counts.
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    sources: BTreeMap<Source, usize>,
    /// What they have together.
    total: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    /// Where it is counted, if it is.
    source: Option<Source>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoShare {
    /// All are taken.
    AllTaken,
    /// The source has as many as one may have.
    OfSource,
}

impl Shares {
    /// One of `most` places, wherever it is taken from.
    ///
    /// # Errors
    ///
    /// All are taken.
    pub(crate) fn take(self: &Arc<Self>, most: usize) -> Result<Share, NoShare> {
        self.one_more(most).map(|(_, share)| share)
    }

    /// The same for somebody at `source`.
    ///
    /// # Errors
    ///
    /// All are taken, or as many as one source may have.
    pub(crate) fn take_from(
        self: &Arc<Self>,
        source: Source,
        most: usize,
    ) -> Result<Share, NoShare> {
        let (before, mut share) = self.one_more(most)?;
        let half = (most / 2).max(1);
        let uncounted = half / 2;
        if before >= uncounted {
            let mut counted = self.counted.lock();
            // Anew, for since then others may have come that are counted by now.
            let others = self.taken.load(Ordering::Relaxed) - 1;
            if others.saturating_sub(counted.total) < uncounted {
                return Ok(share);
            }
            let own = counted.sources.entry(source).or_default();
            if *own >= half - uncounted {
                return Err(NoShare::OfSource);
            }
            *own += 1;
            counted.total += 1;
            share.source = Some(source);
        }
        Ok(share)
    }

    /// Whether anybody has a place.
    pub(crate) fn are_any_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > 0
    }

    /// One of `most` places, and how many were taken before.
    fn one_more(self: &Arc<Self>, most: usize) -> Result<(usize, Share), NoShare> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let share = Share { shares: Arc::clone(self), source: None };
        if before < most { Ok((before, share)) } else { Err(NoShare::AllTaken) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(source) = self.source {
            self.shares.counted.lock().give_back(source);
        }
        // Behind it: those that are counted are never more than those that are taken.
        self.shares.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counted {
    fn give_back(&mut self, source: Source) {
        self.total -= 1;
        if let Some(own) = self.sources.get_mut(&source) {
            *own -= 1;
            if *own == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> Source {
        ([192, 0, 2, n], 1).into()
    }

    /// As many as `source` gets, but no more than `wanted`.
    fn take(shares: &Arc<Shares>, from: u8, most: usize, wanted: usize) -> Vec<Share> {
        (0..wanted).map_while(|_| shares.take_from(source(from), most).ok()).collect()
    }

    #[test]
    fn a_source_has_half_at_most_and_each_of_the_others_a_quarter_beside_it() {
        for (most, half, quarter) in [(2, 1, 1), (3, 1, 1), (4, 2, 1), (10_000, 5_000, 2_500)] {
            let shares = Arc::default();
            let greedy = take(&shares, 1, most, most);
            assert_eq!(greedy.len(), half, "of {most}");
            assert_eq!(take(&shares, 2, most, most).len(), quarter, "of {most}");
        }
        assert_eq!(
            take(&Arc::default(), 1, 1, 1).len(),
            1,
            "where there is one, it is for anybody"
        );
    }

    #[test]
    fn what_a_source_gives_back_it_may_have_again() {
        let shares = Arc::default();
        let mut greedy = take(&shares, 1, 100, 100);
        assert_eq!(shares.take_from(source(1), 100).unwrap_err(), NoShare::OfSource);
        // The last is counted, and the first is not.
        for at in [49, 0] {
            drop(greedy.remove(at));
            greedy.extend(shares.take_from(source(1), 100).ok());
            assert_eq!(greedy.len(), 50);
            assert_eq!(shares.take_from(source(1), 100).unwrap_err(), NoShare::OfSource);
        }
    }

    #[test]
    fn with_others_there_first_a_source_still_gets_a_quarter() {
        let shares = Arc::default();
        let others: Vec<_> = (1..=75).flat_map(|n| take(&shares, n, 100, 1)).collect();
        assert_eq!(others.len(), 75);
        assert_eq!(take(&shares, 99, 100, 100).len(), 25);
    }

    #[test]
    fn nothing_is_left_of_those_who_have_gone() {
        let shares = Arc::default();
        let all: Vec<_> = (1..=100).flat_map(|n| take(&shares, n, 100, 1)).collect();
        assert_eq!(all.len(), 100);
        assert_eq!(shares.take_from(source(101), 100).unwrap_err(), NoShare::AllTaken);
        assert_eq!(shares.counted.lock().sources.len(), 75);
        drop(all);
        assert!(shares.counted.lock().sources.is_empty());
        assert_eq!(shares.counted.lock().total, 0);
        assert_eq!(shares.taken.load(Ordering::Relaxed), 0);
    }
}
