//! What comes through a client, counted while it moves: visits and bytes of each tunnel, and how far
//! away the relay is.
//!
//! Counting costs a chunk one addition to a number that no other thread writes, so it is always done.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use shared::control::protocol::{MAX_TUNNELS, TunnelName};

/// So many tunnels have numbers of their own: those that are open, and as many that were. Of more
/// than that, those that nobody visits are only in the sum.
const MOST_TUNNELS: usize = 2 * MAX_TUNNELS;

/// The numbers of a client. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    of_tunnels: Mutex<OfTunnels>,
    /// In microseconds; 0 before the first one.
    round_trip: AtomicU64,
}

#[derive(Debug, Default)]
struct OfTunnels {
    present: HashMap<TunnelName, Arc<OfTunnel>>,
    /// The sum of those that have no numbers of their own any more.
    gone: Counts,
}

/// The numbers of one tunnel.
#[derive(Debug, Default)]
pub(crate) struct OfTunnel {
    open: AtomicU64,
    visits: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    carries_requests: AtomicBool,
}

/// A visit while it is open. Dropped, it is over.
#[derive(Debug)]
pub(crate) struct OpenVisit(Arc<OfTunnel>);

/// The numbers of a tunnel, or of several together, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Visits that are open.
    pub(crate) open: u64,
    /// Those and the ones that are over.
    pub(crate) visits: u64,
    /// Bytes from visitors.
    pub(crate) bytes_in: u64,
    /// Bytes to visitors.
    pub(crate) bytes_out: u64,
    /// Some of the visits were connections for requests of many visitors.
    pub(crate) carries_requests: bool,
}

/// All numbers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) all: Counts,
    pub(crate) of_tunnels: HashMap<TunnelName, Counts>,
    /// The last round trip of a heartbeat.
    pub(crate) round_trip: Option<Duration>,
}

impl Tally {
    /// The numbers of `tunnel`, which go on where they were if it was there before.
    pub(crate) fn of(&self, tunnel: &TunnelName) -> Arc<OfTunnel> {
        let mut tunnels = self.0.of_tunnels.lock();
        let OfTunnels { present, gone } = &mut *tunnels;
        if !present.contains_key(tunnel) && present.len() >= MOST_TUNNELS {
            present.retain(|_, numbers| {
                let is_used = Arc::strong_count(numbers) > 1;
                if !is_used {
                    gone.add(numbers.read());
                }
                is_used
            });
        }
        Arc::clone(present.entry(tunnel.clone()).or_default())
    }

    /// A heartbeat has come back after so long.
    pub(crate) fn came_back(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.0.round_trip.store(micros.max(1), Ordering::Relaxed);
    }

    /// All numbers as they are now.
    pub(crate) fn read(&self) -> Totals {
        let round_trip = self.0.round_trip.load(Ordering::Relaxed);
        let round_trip = (round_trip > 0).then(|| Duration::from_micros(round_trip));
        let tunnels = self.0.of_tunnels.lock();
        let mut totals = Totals { all: tunnels.gone, round_trip, ..Totals::default() };
        for (name, numbers) in &tunnels.present {
            let counts = numbers.read();
            totals.all.add(counts);
            totals.of_tunnels.insert(name.clone(), counts);
        }
        totals
    }
}

impl OfTunnel {
    /// A visit has come: a visitor, or a connection for requests of many.
    pub(crate) fn begin(self: &Arc<Self>, carries_requests: bool) -> OpenVisit {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.visits.fetch_add(1, Ordering::Relaxed);
        if carries_requests {
            self.carries_requests.store(true, Ordering::Relaxed);
        }
        OpenVisit(Arc::clone(self))
    }

    fn read(&self) -> Counts {
        Counts {
            open: self.open.load(Ordering::Relaxed),
            visits: self.visits.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            carries_requests: self.carries_requests.load(Ordering::Relaxed),
        }
    }
}

impl OpenVisit {
    /// Bytes from the visitor.
    pub(crate) fn came_in(&self, bytes: u64) {
        self.0.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes to the visitor.
    pub(crate) fn went_out(&self, bytes: u64) {
        self.0.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for OpenVisit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.open += other.open;
        self.visits += other.visits;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.carries_requests |= other.carries_requests;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TunnelName {
        text.parse().unwrap()
    }

    #[test]
    fn a_visit_counts_as_open_until_it_is_dropped_and_its_bytes_stay() {
        let tally = Tally::default();
        let (web, ssh) = (tally.of(&name("web")).begin(true), tally.of(&name("ssh")).begin(false));
        web.came_in(3);
        ssh.came_in(10);
        ssh.went_out(200);
        drop(ssh);
        tally.came_back(Duration::from_millis(23));
        let totals = tally.read();
        let ssh = Counts { visits: 1, bytes_in: 10, bytes_out: 200, ..Counts::default() };
        let web = Counts { open: 1, visits: 1, bytes_in: 3, carries_requests: true, bytes_out: 0 };
        assert_eq!(totals.of_tunnels, HashMap::from([(name("ssh"), ssh), (name("web"), web)]));
        let all =
            Counts { open: 1, visits: 2, bytes_in: 13, bytes_out: 200, carries_requests: true };
        assert_eq!((totals.all, totals.round_trip), (all, Some(Duration::from_millis(23))));
    }

    #[test]
    fn tunnels_that_come_and_go_for_ever_hold_no_more_memory_and_stay_in_the_sum() {
        let tally = Tally::default();
        let kept = tally.of(&name("kept")).begin(false);
        for number in 0..3 * MOST_TUNNELS {
            tally.of(&name(&format!("t{number}"))).begin(false).came_in(1);
        }
        kept.came_in(1);
        let totals = tally.read();
        assert!(totals.of_tunnels.len() <= MOST_TUNNELS, "{}", totals.of_tunnels.len());
        assert_eq!(totals.of_tunnels[&name("kept")].bytes_in, 1);
        let most = 3 * MOST_TUNNELS as u64 + 1;
        assert_eq!((totals.all.open, totals.all.visits, totals.all.bytes_in), (1, most, most));
    }
}
