//! Losses of one direction of one connection, as the receiver's program sees them.
//!
//! What TCP has lost arrives a round trip later, and everything behind it waits. That is all that
//! is imitated: the sender does not slow down, as it would, so a rate over a lossy line is
//! flattered; who has to wait for whom is not.

/// Decides what is lost. The same decisions in every run, so that all contenders meet the same
/// luck.
pub(super) struct Losses {
    per_million: u64,
    state: u64,
}

impl Losses {
    /// `per_million` is the chance of each segment; `number` tells connections apart.
    pub(super) fn new(per_million: u64, number: u64) -> Self {
        Self { per_million, state: number.wrapping_mul(2).wrapping_add(1) }
    }

    /// Whether any segment of that many bytes was lost.
    pub(super) fn hit(&mut self, bytes: usize) -> bool {
        // Every segment is asked, so that the next answer does not depend on this one.
        (0..bytes.div_ceil(SEGMENT))
            .fold(false, |hit, _| hit | (self.next_number() % MILLION < self.per_million))
    }

    /// splitmix64: small, and good enough for any start.
    fn next_number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.state;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

/// What TCP sends in one piece over Ethernet.
const SEGMENT: usize = 1460;

const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_segments_are_lost_as_were_asked_for() {
        let mut losses = Losses::new(10_000, 7);
        let lost = (0..100_000).filter(|_| losses.hit(SEGMENT)).count();
        assert!((800..1_200).contains(&lost), "{lost} of 1000");
        assert!((0..1_000).all(|_| !Losses::new(0, 7).hit(1 << 20)));
    }
}
