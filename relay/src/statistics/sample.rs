//! What has moved in some time.

use super::spread::Spread;
use crate::metrics::Moved;
use crate::store::Counts;

/// What has moved in some time. The sum of two is what has moved in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) counts: Counts,
    pub(super) first_byte: Spread,
}

impl Sample {
    pub(super) fn merge(&mut self, other: &Self) {
        let Counts { requests, visits, bytes_in, bytes_out, errors } = other.counts;
        let counts = &mut self.counts;
        for (sum, more) in [
            (&mut counts.requests, requests),
            (&mut counts.visits, visits),
            (&mut counts.bytes_in, bytes_in),
            (&mut counts.bytes_out, bytes_out),
            (&mut counts.errors, errors),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.first_byte.merge(&other.first_byte);
    }

    /// Whether nothing has moved.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&Moved> for Sample {
    fn from(moved: &Moved) -> Self {
        let Moved { requests, visits, bytes_in, bytes_out, errors, first_byte, noted: _ } = moved;
        let mut spread = Spread::default();
        for (bucket, count) in first_byte {
            // There are fewer than 256 of them.
            u8::try_from(*bucket).into_iter().for_each(|bucket| spread.add(bucket, *count));
        }
        Self {
            counts: Counts {
                requests: *requests,
                visits: *visits,
                bytes_in: *bytes_in,
                bytes_out: *bytes_out,
                errors: *errors,
            },
            first_byte: spread,
        }
    }
}
