//! Waiting for what nothing tells of: one can only look again.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::interval;

use crate::plan::Plan;

/// The pause between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What memory changes by without any reason that matters here, in bytes.
const NOISE: u64 = 256 * 1024;

/// A process that does not come to rest for longer than this is cut short, and its figure is bad
/// enough.
const LONGEST: Duration = Duration::from_secs(30);

/// Looks until there is what is looked for. Looking takes time from those who are looked at: a tenth
/// of it at most.
///
/// # Errors
///
/// The first one of `look`, which also says when it has been too long.
pub(crate) async fn until<T>(
    mut look: impl AsyncFnMut(Duration) -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut looks = interval(BETWEEN_LOOKS);
    loop {
        looks.tick().await;
        let began = Instant::now();
        if let Some(found) = look(start.elapsed()).await? {
            return Ok(found);
        }
        looks.reset_after(BETWEEN_LOOKS.max(9 * began.elapsed()));
    }
}

/// What `read` says of the memory of some processes, in bytes, once it has stood still for a while.
pub(crate) async fn settled(read: impl Fn() -> Result<Vec<u64>>, plan: &Plan) -> Result<Vec<u64>> {
    let mut still = (read()?, Duration::ZERO);
    until(async |time| {
        let now = read()?;
        let (before, since) = &still;
        if before.iter().zip(&now).any(|(before, now)| before.abs_diff(*now) > NOISE) {
            still = (now, time);
            return Ok(None);
        }
        Ok((time - *since >= plan.settled || time >= LONGEST).then_some(now))
    })
    .await
}
