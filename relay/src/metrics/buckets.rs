//! Buckets for times to the first byte, fine enough to tell percentiles by them.
//!
//! Four in each power of two: whatever lies in one differs from its middle by a factor of the eighth
//! root of two at most, which is 9.1 %. That takes 392 bytes; half the error would take twice as
//! many. The few buckets that Prometheus sees are others, which it adds up by itself.

use std::time::Duration;

/// How many there are: one for shorter times than [`SHORTEST`], and one for longer ones than
/// [`LONGEST`].
pub(crate) const BUCKETS: usize = 2 + STEPS * (LONGEST - SHORTEST) as usize;

/// So many are in a power of two.
const STEPS: usize = 4;

/// Its power of two, in microseconds: 64 µs, in which nothing has come from another machine.
const SHORTEST: u32 = 6;

/// The same: 18 minutes, which is longer than anybody waits.
const LONGEST: u32 = 30;

/// The powers of the fourth root of two, where the top bit is one.
const ROOTS: [u64; STEPS - 1] =
    [0x9837_f051_8db8_a96f, 0xb504_f333_f9de_6484, 0xd744_fcca_d69d_6af4];

/// The bucket of a time.
pub(super) fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    // Zero has no logarithm, and is short.
    let power = micros.max(1).ilog2();
    if power < SHORTEST {
        return 0;
    }
    if power >= LONGEST {
        return BUCKETS - 1;
    }
    let mantissa = micros << (63 - power);
    let step = ROOTS.iter().filter(|root| mantissa >= **root).count();
    1 + (power - SHORTEST) as usize * STEPS + step
}

/// What stands for all times in a bucket.
pub(crate) fn middle(bucket: usize) -> Duration {
    let steps = STEPS as f64;
    let power = match bucket {
        0 => f64::from(SHORTEST),
        bucket if bucket >= BUCKETS - 1 => f64::from(LONGEST),
        bucket => f64::from(SHORTEST) + ((bucket - 1) as f64 + 0.5) / steps,
    };
    Duration::from_secs_f64(power.exp2() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_bucket_is_at_most_a_tenth_away_from_what_lies_in_it() {
        let mut micros = 64_u64;
        let mut before = 0;
        while micros < 1 << LONGEST {
            let time = Duration::from_micros(micros);
            let bucket = bucket(time);
            assert!(bucket >= before && bucket <= before + 1, "{time:?}");
            before = bucket;
            let error = middle(bucket).as_secs_f64() / time.as_secs_f64();
            assert!((1.0 / 1.0906..1.0906).contains(&error), "{time:?}: {error}");
            micros += micros / 100 + 1;
        }
        assert_eq!(before, BUCKETS - 2);
        assert_eq!([0, 63].map(|micros| bucket(Duration::from_micros(micros))), [0, 0]);
        let long = [Duration::from_micros(1 << LONGEST), Duration::MAX];
        assert_eq!(long.map(bucket), [BUCKETS - 1; 2]);
    }
}
