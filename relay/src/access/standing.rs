//! Whether a token is still good while sessions run with it.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use shared::control::protocol::Refusal;
use tokio::sync::Notify;
use tokio::time::sleep;

/// The clock may be set while a session runs, so its end is looked for so often at least.
const LOOK: Duration = Duration::from_secs(30);

/// Whether something that sessions were let in for still lets them in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    end: Mutex<Option<End>>,
    changed: Notify,
}

/// From when on it lets nobody in, and why.
#[derive(Clone, Debug)]
struct End {
    at: SystemTime,
    why: Refusal,
}

impl Standing {
    /// It lets nobody in any more, and this is why.
    pub(super) fn end(&self, why: Refusal) {
        // However the clock is set from now on.
        self.end_at(Some(SystemTime::UNIX_EPOCH), || why);
    }

    /// It lets nobody in from this moment on, if there is one. What has ended has: the first reason
    /// is the one.
    pub(super) fn end_at(&self, at: Option<SystemTime>, why: impl FnOnce() -> Refusal) {
        let mut end = self.0.end.lock();
        let has_ended = end.as_ref().is_some_and(|end| end.at <= SystemTime::now());
        if has_ended || end.as_ref().map(|end| end.at) == at {
            return;
        }
        *end = at.map(|at| End { at, why: why() });
        drop(end);
        self.0.changed.notify_waiters();
    }

    /// Why it lets nobody in, if it has ended by `now`.
    pub(super) fn why_over(&self, now: SystemTime) -> Option<Refusal> {
        let end = self.0.end.lock();
        end.as_ref().filter(|end| end.at <= now).map(|end| end.why.clone())
    }

    /// Whether anybody else has a part in it.
    pub(super) fn is_watched(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Resolves when it has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn ended(&self) -> Refusal {
        loop {
            // From here on no change is missed.
            let changed = self.0.changed.notified();
            let end = self.0.end.lock().clone();
            tokio::select! {
                () = reached(end.as_ref().map(|end| end.at)) => (),
                () = changed => continue,
            }
            if let Some(End { why, .. }) = end {
                return why;
            }
        }
    }
}

/// Waits for a moment of the clock on the wall.
pub(super) async fn reached(moment: Option<SystemTime>) {
    let Some(moment) = moment else { return pending().await };
    while let Ok(left) = moment.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        sleep(left.min(LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use shared::control::protocol::RefusalCode;

    use super::*;

    fn why(text: &str) -> Refusal {
        Refusal::new(RefusalCode::Unauthorized, text)
    }

    fn in_millis(millis: u64) -> Option<SystemTime> {
        SystemTime::now().checked_add(Duration::from_millis(millis))
    }

    #[tokio::test]
    async fn whoever_watches_is_told_at_the_moment_or_before_it_and_of_the_first_reason() {
        let standing = Standing::default();
        let far = in_millis(1_000_000);
        standing.end_at(far, || why("far"));
        assert!(standing.why_over(SystemTime::now()).is_none());
        let (said, ()) = tokio::join!(standing.ended(), async {
            tokio::task::yield_now().await;
            standing.end_at(None, || why("never mind"));
            tokio::task::yield_now().await;
            standing.end_at(in_millis(20), || why("soon"));
        });
        assert_eq!(said.message, "soon");
        standing.end(why("too late"));
        assert_eq!(standing.ended().await.message, "soon");
        assert_eq!(standing.why_over(SystemTime::now()).unwrap().message, "soon");
    }
}
