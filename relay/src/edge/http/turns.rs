//! Whose turn it is on a connection that many streams share.
//!
//! On a slow line each of them waits while the others are served, so that it is not stalled as long
//! as anything of their bodies moves. A visitor that reads one and starves the others looks like that
//! too, so this counts only for so long.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::Activity;

/// So many times the limit for a stall a stream waits for others at most, before that limit itself
/// counts: all streams of a connection have what the relay holds of them sent within that on a line
/// that brings 20 KB a second.
const MOST: u32 = 3;

/// What a stream has seen of its turn.
#[derive(Debug)]
pub(super) struct Turns {
    /// That of its connection.
    activity: Arc<Activity>,
    /// Since when it has waited, if it waits.
    since: Option<Instant>,
    /// How much the connection had sent at the last look.
    sent: u64,
}

impl Turns {
    /// A stream that waits for nothing yet.
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, since: None, sent: 0 }
    }

    /// It waits from now on, unless it has before.
    pub(super) fn wait(&mut self) {
        if self.since.is_none() {
            (self.since, self.sent) = (Some(Instant::now()), self.activity.sent());
        }
    }

    /// It waits no more.
    pub(super) fn rest(&mut self) {
        self.since = None;
    }

    /// Looks whether something has moved: of the stream, or of others while it may wait for them. A
    /// stall may last for `limit`. For a stream that does not wait counts only what is its own.
    pub(super) fn look(&mut self, has_moved: bool, limit: Duration) -> bool {
        let Some(since) = &mut self.since else { return has_moved };
        let sent = self.activity.sent();
        let others_have = sent != std::mem::replace(&mut self.sent, sent);
        if has_moved {
            *since = Instant::now();
            return true;
        }
        others_have && since.elapsed() < limit * MOST
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_for_others_but_not_for_ever() {
        let activity = Activity::new();
        let mut turns = Turns::new(Arc::clone(&activity));
        turns.wait();
        assert!(!turns.look(false, LIMIT), "nobody moves");
        for _ in 0..3 {
            for _ in 0..29 {
                activity.sends(1);
                advance(Duration::from_secs(1)).await;
                assert!(turns.look(false, LIMIT));
            }
            assert!(turns.look(true, LIMIT), "its turn");
        }
        advance(3 * LIMIT).await;
        activity.sends(1);
        assert!(!turns.look(false, LIMIT), "it has waited for others for long enough");
    }
}
