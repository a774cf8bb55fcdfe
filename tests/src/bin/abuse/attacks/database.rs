//! The database goes away while clients and visitors come.

use std::sync::Arc;
use std::time::Duration;

use tests::process::Client;
use tokio::time::Instant;

use super::Outcome;
use crate::stage::{GOOD, Stage};

/// Stops the server for `time`, and looks how those fare whom the relay does not know yet.
pub(super) async fn away(stage: Arc<Stage>, time: Duration) -> Outcome {
    let server = stage.kept.server.as_ref().expect("a server");
    let (token, _) = stage.kept.token(GOOD, "unknown", &[]).await;
    server.stop().await;
    let gone = Instant::now();
    let args = ["--reconnect", "always", "--tunnel", "unknown=1"];
    let mut unknown = Client::of(stage.program(&token, &args));
    unknown.logged("try again later").await;
    // It goes on trying.
    unknown.runs_on_for(time.saturating_sub(gone.elapsed())).await;

    server.start_again().await;
    let back = Instant::now();
    unknown.live("unknown").await;
    Outcome::told(format!(
        "away for {} s; a token that the relay had not seen is told to try again, and let in {} ms \
         after the server was back, the client's own pause included",
        time.as_secs(),
        back.elapsed().as_millis(),
    ))
}
