//! Two clients for one tunnel.

use tests::process::{Client, Relay, Signal};
use tests::{Local, Peer};
use tokio::io::AsyncWriteExt;

/// A service that says which one it is.
async fn named(name: &'static str) -> Local {
    Local::start(move |mut socket| async move {
        socket.write_all(name.as_bytes()).await.expect("a visitor who listens");
        socket.shutdown().await.expect("a visitor who listens");
    })
    .await
}

#[tokio::test]
async fn the_first_client_serves_again_at_once_when_the_second_is_killed() {
    let relay = Relay::start(&[]).await;
    let (one, two) = (named("one").await, named("two").await);
    let mut first = Client::expose(relay.control, one.addr()).await;
    assert_eq!(Peer::connect(relay.public).await.read_to_end().await, b"one");

    let mut second = Client::expose(relay.control, two.addr()).await;
    assert_eq!(first.event("standby").await["tunnel"], "default");
    assert_eq!(Peer::connect(relay.public).await.read_to_end().await, b"two");
    // Over at the other ends as well: a visit that is not would be cut off by the kill.
    relay.counts(2, "completed").await;

    second.kill().await;
    assert_eq!(first.live("default").await, relay.public);
    assert_eq!(Peer::connect(relay.public).await.read_to_end().await, b"one");
    relay.counts(3, "completed").await;
}

#[tokio::test]
async fn a_new_client_serves_although_the_one_before_is_frozen() {
    let relay = Relay::start(&["--heartbeat", "1h"]).await;
    let (one, two) = (named("one").await, named("two").await);
    let first = Client::expose(relay.control, one.addr()).await;
    first.signal(Signal::STOP);
    let _second = Client::expose(relay.control, two.addr()).await;
    assert_eq!(Peer::connect(relay.public).await.read_to_end().await, b"two");
}
