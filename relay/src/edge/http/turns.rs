//! Whose turn it is on a connection that many streams share.
//!
//! On a slow line each of them waits while the others are served, so that it is not stalled as long
//! as anything of their bodies moves. A visitor that reads one and starves the others looks like that
//! too, so this counts only for so long.

use std::time::Duration;

use tokio::time::Instant;

/// So many times the limit for a stall a stream waits for others at most, before that limit itself
/// counts: all streams of a connection have what the relay holds of them sent within that on a line
/// that brings 20 KB a second.
const MOST: u32 = 3;

/// What a stream has seen of its turn.
#[derive(Debug)]
pub(super) struct Turns {
    /// Since when it has waited.
    since: Instant,
    /// How much the connection had sent at the last look.
    sent: u64,
}

impl Turns {
    /// A stream that waits from now on, on a connection that has sent so much.
    pub(super) fn new(sent: u64) -> Self {
        Self { since: Instant::now(), sent }
    }

    /// Looks whether something has moved: of the stream, or of others while it may wait for them.
    /// The connection has sent so much by now, and a stall may last for `limit`.
    pub(super) fn look(&mut self, has_moved: bool, sent: u64, limit: Duration) -> bool {
        let others_have = sent != self.sent;
        self.sent = sent;
        if has_moved {
            self.since = Instant::now();
            return true;
        }
        others_have && self.since.elapsed() < limit * MOST
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_for_others_but_not_for_ever() {
        let mut turns = Turns::new(0);
        assert!(!turns.look(false, 0, LIMIT), "nobody moves");
        let mut sent = 0;
        for _ in 0..3 {
            for _ in 0..29 {
                sent += 1;
                advance(Duration::from_secs(1)).await;
                assert!(turns.look(false, sent, LIMIT));
            }
            assert!(turns.look(true, sent, LIMIT), "its turn");
        }
        advance(3 * LIMIT).await;
        assert!(!turns.look(false, sent + 1, LIMIT), "it has waited for others for long enough");
    }
}
