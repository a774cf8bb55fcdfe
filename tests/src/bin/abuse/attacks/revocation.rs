//! A token is revoked while somebody visits.

use std::sync::Arc;

use tests::process::{Client, Program};
use tests::{Peer, local, within};
use tokio::time::Instant;

use super::Outcome;
use crate::samples::Figures;
use crate::stage::{BAD, Stage};

/// How often.
const TIMES: usize = 20;

/// Revokes tokens whose tunnels are visited, and looks how soon the visit is over.
pub(super) async fn revoke(stage: Arc<Stage>) -> Outcome {
    let service = local::endless().await;
    let (mut from_start, mut from_end) = (Vec::new(), Vec::new());
    for n in 0..TIMES {
        let (token, id) = stage.kept.token(BAD, &format!("r{n}"), &[]).await;
        let tunnel = format!("r{n}={}", service.addr());
        let mut client = Client::of(stage.program(&token, &["--tunnel", &tunnel]));
        let public = client.live(&format!("r{n}")).await;
        let mut visitor = Peer::connect(public).await;
        visitor.take(1 << 20).await;

        let start = Instant::now();
        let last_byte = async {
            visitor.read_to_end_or_reset().await;
            Instant::now()
        };
        let revoked = async {
            let tool: Program = stage.kept.tool(&["token", "revoke", &id]);
            let (status, _, log) = tool.output().await;
            assert_eq!(status, Some(0), "{log}");
            Instant::now()
        };
        let both = within("the visit of a revoked token to end", async {
            tokio::join!(last_byte, revoked)
        });
        let (last, revoked) = both.await;
        from_start.push(last - start);
        from_end.push(last.saturating_duration_since(revoked));
        // It was told that it need not come again.
        let status = client.exit().await;
        assert_eq!(status.code(), Some(1), "the client goes on");
    }
    let [start, end]: [Figures; 2] = [from_start, from_end].map(|t| t.into_iter().collect());
    Outcome::told(format!(
        "last byte after the command began: p50 {} ms, max {} ms; after it was done: p50 {} ms, max \
         {} ms ({} visits)",
        start.at(0.5),
        start.at(1.0),
        end.at(0.5),
        end.at(1.0),
        start.count(),
    ))
}
