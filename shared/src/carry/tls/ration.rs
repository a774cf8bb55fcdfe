//! How much of TLS is taken in for what comes out of it.
//!
//! A record may carry next to nothing, or something for TLS alone, such as new keys: those cost a
//! hundred times as much as what they weigh. So what comes has to be earned by what comes out.

use std::time::{Duration, Instant};

/// The most bytes of the other end's part of a handshake: a long chain of certificates fits several
/// times. A stranger could have twice as much kept by TLS, and much more here.
pub(super) const HANDSHAKE: usize = 32 * 1024;

/// The most bytes of records after it and before the other end has been admitted: half as many again
/// as it may send in them.
pub(super) const STRANGER: usize = 48 * 1024;

/// So many bytes of records are always forgiven to whoever has been admitted: several of the longest
/// ones are in the middle of it before anything comes out.
const BURST: usize = 64 * 1024;

/// Each byte that comes out earns so many beside itself, for the record that it came in.
const FOR_A_BYTE: usize = 4;

/// But each read earns no more than this beside its bytes. A read is of one record at most,
/// whose header, type and tag are 22 bytes long, or 29 in TLS 1.2.
const FOR_A_READ: usize = 32;

/// One more byte is forgiven after so long: for the records of whoever types, at a slow pace.
const BYTE_EACH: Duration = Duration::from_micros(250);

/// So many bytes may come one after the other and nothing out of them before others get their turn.
/// The longest record is a little more than 16 KiB, and TLS asks for 4 KiB at a time.
const BARREN: usize = 21 * 1024;

/// What may still come.
#[derive(Debug)]
pub(super) struct Ration {
    stage: Stage,
    left: usize,
    /// Bytes that have come since anything last came out.
    barren: usize,
    /// Up to when what time forgives has been added.
    refilled: Instant,
}

/// How well the other end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is in the middle of the handshake.
    Handshake,
    /// It may say who it is.
    Stranger,
    /// It may say whatever it likes.
    Admitted,
}

impl Ration {
    /// That of somebody who begins a handshake `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { stage: Stage::Handshake, left: HANDSHAKE, barren: 0, refilled: now }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// The handshake is over.
    pub(super) fn has_shaken_hands(&mut self) {
        (self.stage, self.left, self.barren) = (Stage::Stranger, STRANGER, 0);
    }

    /// The other end has been admitted `now`.
    pub(super) fn admit(&mut self, now: Instant) {
        (self.stage, self.left, self.refilled) = (Stage::Admitted, BURST, now);
    }

    /// Takes `bytes` in. Returns whether that is still fine. The clock is only looked at when it
    /// matters.
    pub(super) fn takes(&mut self, bytes: usize, clock: impl FnOnce() -> Instant) -> bool {
        if bytes > self.left && self.stage == Stage::Admitted {
            self.refill(clock());
        }
        let Some(left) = self.left.checked_sub(bytes) else { return false };
        self.left = left;
        self.barren += bytes;
        true
    }

    /// A read has brought so many bytes out.
    pub(super) fn gave(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.barren = 0;
        if self.stage == Stage::Admitted {
            let earned = bytes + (bytes * FOR_A_BYTE).min(FOR_A_READ);
            self.left = (self.left + earned).min(BURST);
        }
    }

    /// Whether so much has come to nothing that others should get their turn. They have it then.
    pub(super) fn yields(&mut self) -> bool {
        let yields = self.barren >= BARREN;
        if yields {
            self.barren = 0;
        }
        yields
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        let forgiven = passed.as_micros() / BYTE_EACH.as_micros();
        self.left = usize::try_from(forgiven).map_or(BURST, |more| (self.left + more).min(BURST));
        self.refilled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a record of TLS 1.2 has beside its bytes.
    const OVERHEAD: usize = 29;

    fn admitted() -> (Ration, Instant) {
        let now = Instant::now();
        let mut ration = Ration::new(now);
        ration.has_shaken_hands();
        ration.admit(now);
        (ration, now)
    }

    /// How many records of so many bytes are taken in, up to 100,000.
    fn records(ration: &mut Ration, bytes: usize, read: usize, now: Instant) -> usize {
        let taken = (0..100_000).take_while(|_| {
            let takes = ration.takes(bytes + OVERHEAD, || now);
            (0..bytes.div_ceil(read)).for_each(|_| ration.gave(read.min(bytes)));
            takes
        });
        taken.count()
    }

    #[test]
    fn records_that_carry_as_much_as_a_header_may_come_without_end() {
        for bytes in [12, 30, 100, 2000, 16 * 1024] {
            let (mut ration, now) = admitted();
            assert_eq!(records(&mut ration, bytes, 64 * 1024, now), 100_000, "{bytes}");
        }
    }

    #[test]
    fn records_of_next_to_nothing_come_to_an_end() {
        for bytes in [0, 1, 4] {
            let (mut ration, now) = admitted();
            let taken = records(&mut ration, bytes, 64 * 1024, now);
            assert!((2000..7000).contains(&taken), "{bytes}: {taken}");
            // One a second, for whoever comes back to it.
            for second in 1..100 {
                assert!(ration.takes(OVERHEAD, || now + Duration::from_secs(second)));
            }
        }
    }

    #[test]
    fn bulk_pays_for_little_beside_itself() {
        let (mut ration, now) = admitted();
        let mut extra = 0;
        for _ in 0..1000 {
            assert!(ration.takes(16 * 1024 + OVERHEAD, || now));
            (0..8).for_each(|_| ration.gave(2 * 1024));
            while ration.left > BURST / 2 && ration.takes(49, || now) {
                extra += 1;
            }
        }
        assert!(extra < 7000, "{extra} that carry nothing");
    }

    #[test]
    fn time_pays_for_whoever_types() {
        let (mut ration, start) = admitted();
        for key in 0..10_000 {
            let now = start + Duration::from_millis(10) * key;
            assert!(ration.takes(12 + OVERHEAD + 1 + OVERHEAD, || now), "{key}");
            ration.gave(12);
            ration.gave(1);
        }
    }

    #[test]
    fn a_stranger_earns_nothing() {
        let mut ration = Ration::new(Instant::now());
        ration.has_shaken_hands();
        let now = Instant::now() + Duration::from_secs(100);
        let taken = (0..100).take_while(|_| {
            ration.gave(4096);
            ration.takes(4096, || now)
        });
        assert_eq!(taken.count(), STRANGER / 4096);
    }

    #[test]
    fn others_get_their_turn_before_much_has_come_to_nothing_and_not_amid_long_records() {
        let (mut ration, now) = admitted();
        for _ in 0..5 {
            assert!(ration.takes(4096, || now) && !ration.yields());
        }
        ration.gave(16 * 1024);
        let turns = (0..12).filter(|_| ration.takes(4096, || now) && ration.yields());
        assert_eq!(turns.count(), 2);
    }
}
