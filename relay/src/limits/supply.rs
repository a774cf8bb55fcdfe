//! Memory for what is held for many, which is given out until there is none.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::source::Source;

/// A number of bytes, of which one source has a share at most. What somebody has stays with them:
/// whoever comes when there is none gets none. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Supply {
    most: usize,
    share: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    /// By all, in bytes.
    bytes: usize,
    /// By those who are known to come from somewhere.
    sources: HashMap<Source, usize>,
}

/// Bytes of a supply, until they are dropped.
#[derive(Debug)]
pub(crate) struct Supplied {
    supply: Supply,
    source: Option<Source>,
    bytes: usize,
}

impl Supply {
    /// So many bytes in all, and so many for one source.
    pub(crate) fn new(most: usize, share: usize) -> Self {
        Self { most, share, taken: Arc::default() }
    }

    /// So many bytes for whoever is at `source`, if there are. A share becomes smaller as others take
    /// theirs, so that a few sources do not leave nothing. Without a source it is nobody's share.
    pub(crate) fn take(&self, source: Option<Source>, bytes: usize) -> Option<Supplied> {
        self.take_with(source, |left, left_of_source| {
            let has = self.share - left_of_source;
            // Of what the others leave the same part as a share is of the whole.
            let share = part(self.share, left + has, self.most);
            let is_theirs = source.is_none() || has + bytes <= share;
            (is_theirs && bytes <= left).then_some(bytes)
        })
    }

    /// The same part of `most` as there is left of the whole, and of the share: so there is still
    /// something for those who come late. `None`: that would be less than `least`.
    pub(crate) fn take_part(
        &self,
        source: Option<Source>,
        most: usize,
        least: usize,
    ) -> Option<Supplied> {
        self.take_with(source, |left, left_of_source| {
            let bytes = part(most, left, self.most).min(part(most, left_of_source, self.share));
            (bytes >= least).then_some(bytes)
        })
    }

    /// As many bytes as `choose` says, which learns how many are left, and how many of the share.
    fn take_with(
        &self,
        source: Option<Source>,
        choose: impl FnOnce(usize, usize) -> Option<usize>,
    ) -> Option<Supplied> {
        let mut taken = self.taken.lock();
        let has = source.and_then(|source| taken.sources.get(&source)).copied().unwrap_or_default();
        let bytes = choose(self.most - taken.bytes, self.share - has)?;
        taken.bytes += bytes;
        if let Some(source) = source {
            taken.sources.insert(source, has + bytes);
        }
        Some(Supplied { supply: self.clone(), source, bytes })
    }
}

/// As much of `amount` as `left` is of `all`.
fn part(amount: usize, left: usize, all: usize) -> usize {
    (amount as u64 * left as u64 / all.max(1) as u64) as usize
}

impl Supplied {
    /// How many they are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Supplied {
    fn drop(&mut self) {
        let mut taken = self.supply.taken.lock();
        taken.bytes -= self.bytes;
        let Some(source) = self.source else { return };
        if let Some(has) = taken.sources.get_mut(&source) {
            *has -= self.bytes;
            if *has == 0 {
                taken.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> Option<Source> {
        Some(([192, 0, 2, n], 1).into())
    }

    #[test]
    fn a_source_has_its_share_at_most_and_all_together_have_what_there_is() {
        let supply = Supply::new(1000, 400);
        let take = |n, bytes| supply.take(source(n), bytes);
        let first = [take(1, 300), take(1, 100)];
        assert!(first.iter().all(Option::is_some) && take(1, 1).is_none());
        assert!(take(2, 241).is_none(), "it has two fifths of what there is beside the first");
        let others = [take(2, 240), take(3, 144)];
        assert!(others.iter().all(Option::is_some) && take(4, 87).is_none());
        let last = supply.take(None, 216);
        assert_eq!(last.as_ref().map(Supplied::bytes), Some(216));
        assert!(supply.take(None, 1).is_none());
        drop(first);
        assert!(take(1, 160).is_some());
        drop((others, last));
        assert!(take(1, 400).is_some());
        let taken = supply.taken.lock();
        assert_eq!((taken.bytes, taken.sources.len()), (0, 0));
    }

    #[test]
    fn a_few_sources_leave_something_for_the_next() {
        let supply = Supply::new(32_000, 8_000);
        let greedy =
            |n| std::iter::from_fn(move || Some(n)).map_while(|n| supply.take(source(n), 10));
        let all: Vec<_> = (1..=10).flat_map(greedy).collect();
        let next = supply.take(source(99), 400);
        assert!(next.is_some(), "ten have {} of 3200", all.len());
    }

    #[test]
    fn parts_become_smaller_as_there_is_less_left() {
        let supply = Supply::new(1000, 400);
        let part = |n| supply.take_part(source(n), 100, 10);
        let first: Vec<_> = std::iter::from_fn(|| part(1)).collect();
        let sizes: Vec<_> = first.iter().map(Supplied::bytes).collect();
        assert_eq!(sizes[..3], [100, 75, 56]);
        assert!(sizes.is_sorted_by(|before, after| before >= after));
        assert!((300..=400).contains(&sizes.iter().sum::<usize>()), "{sizes:?}");
        assert!(part(2).is_some_and(|part| part.bytes() > 50), "the others have nothing less");
        drop(first);
        assert_eq!(part(1).map(|part| part.bytes()), Some(100));
    }

    #[test]
    fn whose_source_is_not_known_have_no_share() {
        let supply = Supply::new(1000, 100);
        let all: Vec<_> = std::iter::from_fn(|| supply.take_part(None, 100, 10)).collect();
        assert!(all.iter().map(Supplied::bytes).sum::<usize>() > 800);
    }
}
