//! How long to wait before the next attempt: doubling, with jitter, within bounds.

use std::time::Duration;

/// A growing delay between attempts. Thousands of clients that lost the same relay at the same
/// moment come back spread over time, because each draws its delays at random.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The delay before the next attempt: between half and all of a bound that starts at `first`
    /// and doubles up to `longest`.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        let half = bound / 2;
        half + jitter(bound - half)
    }

    /// Starts again with the first delay.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random time from zero to `most`.
pub fn jitter(most: Duration) -> Duration {
    let fraction = (random() >> 11) as f64 / (1u64 << 53) as f64;
    most.mul_f64(fraction)
}

/// 64 random bits from the operating system.
///
/// # Panics
///
/// If the system has no source of randomness: nothing that runs this program lacks one.
pub fn random() -> u64 {
    getrandom::u64().expect("the operating system has random numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let bounds = [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000].map(Duration::from_millis);
        for bound in bounds {
            let delay = backoff.next_delay();
            assert!(delay >= bound / 2 && delay <= bound, "{delay:?} for {bound:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(500));
    }

    #[test]
    fn two_clients_do_not_draw_the_same_delays() {
        let mut one = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let mut two = one.clone();
        let same = (0..20).filter(|_| one.next_delay() == two.next_delay()).count();
        assert!(same < 20);
    }
}
