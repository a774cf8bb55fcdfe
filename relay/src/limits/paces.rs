//! How often something happens, for each source.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::kit::amounts::Frequency;

use super::{Pace, Source};

/// So many sources of one tunnel are remembered: some 300 kB. When more come than that, all are
/// forgotten: whoever has so many addresses is not held by a limit for each.
const MOST_SOURCES: usize = 4096;

/// Those for whom it is as if they had never come are cleared away when there are so many, or twice
/// as many as were left the last time.
const CLEAR_AT: usize = 256;

/// How often something happens, for each source.
#[derive(Debug)]
pub(crate) struct Paces {
    frequency: Frequency,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<Source, Pace>,
    clear_at: usize,
}

impl Paces {
    /// It may happen so often.
    pub(crate) fn new(frequency: Frequency) -> Self {
        Self { frequency, table: Mutex::default() }
    }

    /// Counts one more, if it may be now.
    ///
    /// # Errors
    ///
    /// How long it has to wait for that.
    pub(crate) fn allow(&self, source: Source, now: Instant) -> Result<(), Duration> {
        let mut table = self.table.lock();
        table.clear(now);
        let pace = table.sources.entry(source).or_default();
        let wait = pace.wait(self.frequency, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        pace.allow(self.frequency, now);
        Ok(())
    }

    /// How long one more would have to wait. Nothing is counted.
    pub(crate) fn wait(&self, source: Source, now: Instant) -> Duration {
        let table = self.table.lock();
        table.sources.get(&source).map_or(Duration::ZERO, |pace| pace.wait(self.frequency, now))
    }
}

impl Table {
    fn clear(&mut self, now: Instant) {
        if self.sources.len() < self.clear_at.max(CLEAR_AT) {
            return;
        }
        self.sources.retain(|_, pace| !pace.is_over(now));
        // With a few left over it would have to be looked through again too soon.
        if self.sources.len() > MOST_SOURCES * 3 / 4 {
            self.sources.clear();
        }
        self.clear_at = (2 * self.sources.len()).min(MOST_SOURCES);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn source(n: u32) -> Source {
        IpAddr::from(Ipv4Addr::from(n)).into()
    }

    #[test]
    fn a_source_waits_for_as_long_as_it_is_told() {
        let (paces, now) = (Paces::new("2/10s".parse().unwrap()), Instant::now());
        assert_eq!(paces.wait(source(1), now), Duration::ZERO);
        assert!(paces.allow(source(1), now).is_ok() && paces.allow(source(1), now).is_ok());
        let wait = paces.allow(source(1), now).unwrap_err();
        assert_eq!((wait, paces.wait(source(1), now)), (Duration::from_secs(5), wait));
        assert!(paces.allow(source(2), now).is_ok());
        assert!(paces.allow(source(1), now + wait - Duration::from_nanos(1)).is_err());
        assert!(paces.allow(source(1), now + wait).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let paces = Paces::new("1/10s".parse().unwrap());
        let from = |text: &str| {
            let ip: IpAddr = text.parse().unwrap();
            paces.allow(ip.into(), Instant::now()).is_ok()
        };
        assert!(from("2001:db8::1") && !from("2001:db8::2") && from("2001:db8:0:1::1"));
        assert!(from("192.0.2.1") && !from("::ffff:192.0.2.1"));
    }

    #[test]
    fn no_more_sources_are_remembered_than_there_is_room_for() {
        let (paces, now) = (Paces::new("1/1h".parse().unwrap()), Instant::now());
        for n in 0..100_000 {
            assert!(paces.allow(source(n), now).is_ok());
            assert!(paces.table.lock().sources.len() <= MOST_SOURCES);
        }
        let later = now + Duration::from_secs(3600);
        for n in 0..=MOST_SOURCES as u32 {
            let then = later + Duration::from_secs(u64::from(n) * 3600);
            assert!(paces.allow(source(n), then).is_ok());
        }
        assert!(paces.table.lock().sources.len() <= CLEAR_AT);
    }
}
