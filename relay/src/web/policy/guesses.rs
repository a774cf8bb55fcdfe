//! Passwords, and signatures of tokens, that are tried out.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use shared::kit::amounts::Frequency;

use crate::limits::Paces;
use crate::web::Fault;

/// So many wrong ones a minute may come from one source. People mistype a few, and a browser
/// asks again for each; a short list of passwords takes a day at this pace.
const MOST_WRONG: Frequency =
    Frequency { count: NonZeroU32::new(10).expect("not zero"), time: Duration::from_secs(60) };

/// Those that were wrong, by where they came from.
#[derive(Debug)]
pub(super) struct Guesses(Paces);

impl Guesses {
    pub(super) fn new() -> Self {
        Self(Paces::new(MOST_WRONG))
    }

    /// Whether one from there is looked at now: a right one must not tell that the ones before
    /// were wrong.
    pub(super) fn check(&self, visitor: IpAddr, now: Instant) -> Result<(), Fault> {
        match self.0.wait(visitor.into(), now) {
            Duration::ZERO => Ok(()),
            wait => Err(Fault::TooManyGuesses(wait)),
        }
    }

    /// One was wrong.
    pub(super) fn was_wrong(&self, visitor: IpAddr, now: Instant) {
        // Several may have been looked at at a time: those beyond count no more.
        self.0.allow(visitor.into(), now).unwrap_or_default();
    }
}
