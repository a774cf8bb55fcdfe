//! A client that has been let in floods the relay with frames.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use shared::carry::tls::Tls;
use shared::token::Token;
use tests::floods::floods;
use tests::raw::{ACK, RawPeer, data};
use tests::{Peer, eventually};
use tokio::time::Instant;

use super::Outcome;
use crate::stage::Stage;
use crate::stranger::{shake_hands, showing};

/// Where it comes from.
const FROM: [u8; 4] = [127, 5, 0, 1];

/// Its tunnel.
const TUNNEL: &str = "rogue";

/// What becomes of the floods of one kind that came one after the other.
#[derive(Debug, Default)]
struct Ends {
    sessions: usize,
    /// How many frames were under way when the session was over.
    most: usize,
}

/// Floods with frames of one kind, again in a new session whenever one has ended, for `time`.
pub(super) async fn flood(stage: Arc<Stage>, time: Duration, what: &str) -> Outcome {
    let flood = floods().into_iter().find(|flood| flood.what == what).expect("a flood");
    let token: Token = stage.bad_token(&[]).await.parse().expect("a token");
    let before = breaches(&stage, flood.kind).await;
    let (start, mut ends) = (Instant::now(), Ends::default());
    while start.elapsed() < time {
        let (mut rogue, _) = let_in(&stage, &token).await;
        let sent = flood.send(&mut rogue).await;
        rogue.expect_closed().await;
        ends.sessions += 1;
        ends.most = ends.most.max(sent);
    }
    ends.told(&stage, before, flood.kind, flood.reason, start).await
}

/// Sends a visitor more than it takes, again and again, for `time`.
pub(super) async fn over_the_window(stage: Arc<Stage>, time: Duration) -> Outcome {
    /// A flood that no repeated frame makes.
    const KIND: &str = "bad_frame";
    let token: Token = stage.bad_token(&[]).await.parse().expect("a token");
    let before = breaches(&stage, KIND).await;
    let (start, mut ends) = (Instant::now(), Ends::default());
    while start.elapsed() < time {
        let (mut rogue, public) = let_in(&stage, &token).await;
        let _visitor = Peer::connect(public).await;
        let open = rogue.expect("a visit", |frame| frame.stream == 2 && frame.length > 0).await;
        // SEEN, CONNECTED, and the header of a record that never ends.
        let record = [2, 0, 0, 0, 3, 0, 0, 0, 5, 0xff, 0xff, 0xff];
        rogue.send(&data(ACK, open.stream, &record)).await;
        let frame = data(0, open.stream, &[7; 100_000]);
        let mut sent = 0;
        while rogue.try_send(&frame).await.is_ok() {
            sent += 1;
        }
        ends.sessions += 1;
        ends.most = ends.most.max(sent);
    }
    ends.told(&stage, before, KIND, "go-away code 1", start).await
}

impl Ends {
    async fn told(
        self,
        stage: &Stage,
        before: f64,
        kind: &str,
        reason: &str,
        start: Instant,
    ) -> Outcome {
        let Self { sessions, most } = self;
        let seconds = start.elapsed().as_secs_f64();
        let expected = before + sessions as f64;
        eventually("every session to be counted", async || breaches(stage, kind).await >= expected)
            .await;
        let told = |line: &&Value| {
            line["message"].as_str().is_some_and(|message| message.contains(reason))
        };
        let log = stage.log();
        let line = log.iter().rfind(told).map(|line| line["message"].to_string());
        Outcome::told(format!(
            "{sessions} sessions in {seconds:.0} s, each ended: {}; {most} frames at most were under \
             way by then",
            line.unwrap_or_else(|| format!("`{kind}`")),
        ))
    }
}

/// A session of the attacker, over TLS, and where visitors of its tunnel come in.
async fn let_in(stage: &Stage, token: &Token) -> (RawPeer<Tls>, std::net::SocketAddr) {
    let tls = shake_hands(FROM, stage.relay.control, &stage.trust).await.expect("TLS");
    let hello = showing(&tls, token, token, &[TUNNEL]);
    let mut rogue = RawPeer::new(tls);
    let welcome = rogue.say_hello(hello).await;
    let public = welcome["tunnels"][0]["public"][0].as_str().expect("an address");
    let public = public.strip_prefix("tcp://").expect("a TCP tunnel");
    (rogue, public.parse().expect("an address"))
}

async fn breaches(stage: &Stage, kind: &str) -> f64 {
    stage.value(&format!("relay_breaches_total{{kind=\"{kind}\"}}")).await
}
