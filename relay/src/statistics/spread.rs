//! How times to the first byte are spread, so that percentiles can be read of any sum of them.

use std::time::Duration;

use crate::metrics::{BUCKETS, middle};

/// How many times lie in each bucket. The sum of two is that of all their times; a percentile is at
/// most 9.1 % away from the true one, up to the bounds of the buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Buckets that are not empty, in ascending order.
    buckets: Vec<(u8, u64)>,
}

/// The bytes are no [`Spread`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSpread;

/// The first byte of what is kept. Other buckets get another number.
const VERSION: u8 = 1;

impl Spread {
    /// So many more times lie in this bucket.
    pub(super) fn add(&mut self, bucket: u8, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) if count > 0 => self.buckets.insert(at, (bucket, count)),
            Err(_) => (),
        }
    }

    /// All times of `other` are added.
    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    /// How many times there are.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The time that so much of all, from 0 to 1, are not longer than. `None`: there is none.
    pub(super) fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut so_far = 0_u64;
        let found = self.buckets.iter().find(|(_, count)| {
            so_far = so_far.saturating_add(*count);
            so_far >= rank
        });
        found.or_else(|| self.buckets.last()).map(|(bucket, _)| middle((*bucket).into()))
    }

    /// As it is kept: the version, and of each bucket how many empty ones are before it, and its
    /// count, as numbers of seven bits a byte with the lowest ones first.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut next = 0;
        for (bucket, count) in &self.buckets {
            push(&mut bytes, u64::from(*bucket) - next);
            push(&mut bytes, *count);
            next = u64::from(*bucket) + 1;
        }
        bytes
    }

    /// # Errors
    ///
    /// What [`encode`](Self::encode) does not make.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadSpread> {
        let [VERSION, rest @ ..] = bytes else { return Err(BadSpread) };
        let (mut rest, mut next, mut buckets) = (rest, 0_u64, Vec::new());
        while !rest.is_empty() {
            let bucket = next.checked_add(take(&mut rest)?).ok_or(BadSpread)?;
            let count = take(&mut rest)?;
            if bucket >= BUCKETS as u64 || count == 0 {
                return Err(BadSpread);
            }
            buckets.push((u8::try_from(bucket).map_err(|_| BadSpread)?, count));
            next = bucket + 1;
        }
        Ok(Self { buckets })
    }
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, BadSpread> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(BadSpread)?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        if bits.leading_zeros() < shift {
            return Err(BadSpread);
        }
        number |= bits << shift;
        if first & 0x80 == 0 {
            // There is one way to write a number.
            return if *first == 0 && shift > 0 { Err(BadSpread) } else { Ok(number) };
        }
    }
    Err(BadSpread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buckets: &[(u8, u64)]) -> Spread {
        let mut spread = Spread::default();
        buckets.iter().for_each(|(bucket, count)| spread.add(*bucket, *count));
        spread
    }

    #[test]
    fn percentiles_are_those_of_all_times_whatever_they_were_added_by() {
        let mut sum = of(&[(50, 90), (60, 5)]);
        sum.merge(&of(&[(60, 4), (70, 1), (50, 0)]));
        assert_eq!(sum, of(&[(70, 1), (60, 9), (50, 90)]));
        assert_eq!(sum.count(), 100);
        let shares = [0.0, 0.5, 0.9, 0.901, 0.95, 0.99, 0.991, 1.0];
        let found = shares.map(|share| sum.percentile(share));
        assert_eq!(found, [50, 50, 50, 60, 60, 60, 70, 70].map(|bucket| Some(middle(bucket))));
        assert_eq!(Spread::default().percentile(0.5), None);
        assert_eq!(of(&[(3, u64::MAX), (4, u64::MAX)]).percentile(1.0), Some(middle(3)));
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_and_is_small() {
        let last = BUCKETS as u8 - 1;
        for spread in [
            Spread::default(),
            of(&[(0, 1)]),
            of(&[(0, 127), (1, 128), (last, u64::MAX)]),
            of(&(0..=last).map(|bucket| (bucket, 300)).collect::<Vec<_>>()),
        ] {
            assert_eq!(Spread::decode(&spread.encode()), Ok(spread));
        }
        let usual = of(&[(20, 1000), (21, 5000), (22, 900), (23, 80), (30, 2)]);
        assert!(usual.encode().len() <= 16, "{:?}", usual.encode());
    }

    #[test]
    fn rubbish_is_no_spread() {
        let good = of(&[(2, 3), (40, 5000)]).encode();
        for bad in [
            &[][..],
            &[2, 1, 1],
            // Without a count, in the middle of a number, and without end.
            &good[..good.len() - 1],
            &[VERSION, 1],
            &[VERSION, 1, 0x80],
            &[[VERSION].as_slice(), &[0x80; 20]].concat(),
            // An empty bucket, one that there is not, and numbers that are too large.
            &[VERSION, 1, 0],
            &[VERSION, BUCKETS as u8, 1],
            &[VERSION, 0, 1, BUCKETS as u8 - 1, 1],
            &[VERSION, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[[VERSION, 0, 1].as_slice(), &[0xff; 9], &[0x01, 1]].concat(),
            // Longer than it has to be.
            &[VERSION, 0, 0x81, 0x00],
        ] {
            assert_eq!(Spread::decode(bad), Err(BadSpread), "{bad:?}");
        }
    }
}
