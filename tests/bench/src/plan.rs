//! How much of everything a run does.

use std::time::Duration;

use crate::cli::RunArgs;

/// The sizes of a run's loads: the real ones, or tiny ones that only check the harness.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How often each contender is measured.
    pub(crate) rounds: u32,
    /// What goes before each measured window and is not counted.
    pub(crate) warm_up: Duration,
    /// As `warm_up`, over a line with delay, where windows take round trips to open.
    pub(crate) line_warm_up: Duration,
    /// How long a rate or a latency is measured.
    pub(crate) window: Duration,
    /// Visitors of the idle memory figure.
    pub(crate) idle_visitors: usize,
    /// Visitors of the many open visitors figure, as far as descriptors allow.
    pub(crate) open_visitors: usize,
    /// Visitors who ask for an endless answer and read none of it.
    pub(crate) stalled_visitors: usize,
    /// For how long memory has to stand still to count as settled: longer than connections wait for
    /// another request before they rest.
    pub(crate) settled: Duration,
    /// New visits of the first byte figure.
    pub(crate) first_bytes: usize,
    /// Clients of the many clients figure, as far as a contender can have them.
    pub(crate) clients: usize,
    /// Routes of the web on one relay.
    pub(crate) routes: usize,
    /// How long a relay with many clients and no visitor is watched: long enough for a heartbeat
    /// of every contender's.
    pub(crate) idle_window: Duration,
}

impl Plan {
    /// What the flags ask for.
    pub(crate) fn from_args(args: &RunArgs) -> Self {
        if args.smoke { Self::smoke() } else { Self::full(args) }
    }

    fn full(args: &RunArgs) -> Self {
        Self {
            rounds: args.rounds,
            warm_up: Duration::from_millis(500),
            line_warm_up: Duration::from_millis(1_500),
            window: Duration::from_secs(args.seconds.into()),
            idle_visitors: 2_000,
            open_visitors: 10_000,
            stalled_visitors: 100,
            settled: Duration::from_secs(2),
            first_bytes: 20,
            clients: args.clients.into(),
            routes: args.routes as usize,
            idle_window: Duration::from_secs(30),
        }
    }

    fn smoke() -> Self {
        Self {
            rounds: 1,
            warm_up: Duration::from_millis(30),
            line_warm_up: Duration::from_millis(100),
            window: Duration::from_millis(100),
            idle_visitors: 20,
            open_visitors: 50,
            stalled_visitors: 3,
            settled: Duration::from_millis(100),
            first_bytes: 2,
            clients: 3,
            routes: 20,
            idle_window: Duration::from_millis(50),
        }
    }
}
