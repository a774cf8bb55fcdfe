//! Waiting for something, but not forever, and with a name for what did not come.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How long a test waits for something that should happen now. Generous: a busy machine is no
/// failure, and only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The time between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(5);

fn looks() -> Interval {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// Waits for `future`, but not forever.
///
/// # Panics
///
/// It takes longer than [`PATIENCE`].
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    within_time(PATIENCE, what, future).await
}

/// Waits for `future`, for `patience` at most.
///
/// # Panics
///
/// It takes longer.
pub async fn within_time<F: Future>(patience: Duration, what: &str, future: F) -> F::Output {
    match timeout(patience, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {patience:?} for {what}"),
    }
}

/// Looks again and again until `condition` is true. For what has no event to wait for: figures of
/// the kernel, of the runtime, of the metrics.
///
/// # Panics
///
/// It is not true within [`PATIENCE`].
pub async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually_within(PATIENCE, what, condition).await;
}

/// The same for `patience` at most.
///
/// # Panics
///
/// It is not true by then.
pub async fn eventually_within(
    patience: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) {
    within_time(patience, what, async {
        let mut looks = looks();
        while !condition().await {
            looks.tick().await;
        }
    })
    .await;
}

/// Looks again and again for `time`, and checks that `condition` is true throughout: that
/// something does not happen cannot be waited for.
///
/// # Panics
///
/// It is not.
pub async fn stays(what: &str, time: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let start = tokio::time::Instant::now();
    let mut looks = looks();
    while start.elapsed() < time {
        assert!(condition().await, "did not stay so for {time:?}: {what}");
        looks.tick().await;
    }
}
