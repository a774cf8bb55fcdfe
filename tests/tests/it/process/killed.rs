//! One of the two programs is gone without a word, or says nothing any more.

use std::time::{Duration, Instant};

use tests::process::{Client, Relay, Signal, own_host, visit};
use tests::{Peer, local};

#[tokio::test]
async fn a_killed_client_resets_all_its_visitors() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let mut client = Client::expose(relay.control, service.addr()).await;
    let mut visitors = Vec::new();
    for _ in 0..50 {
        visitors.push(visit(relay.public).await);
    }

    client.kill().await;
    for mut visitor in visitors {
        visitor.expect_reset().await;
    }
    relay.counts(50, "lost").await;
    assert_eq!(relay.visits("completed").await, 0.0);
    Peer::connect(relay.public).await.expect_reset().await;
    relay.counts(1, "no_client").await;
    relay.logged("session lost: ").await;
}

#[tokio::test]
async fn a_frozen_client_is_noticed_and_the_tunnel_is_back_after_the_thaw() {
    let heartbeat = Duration::from_millis(300);
    let relay = Relay::start(&["--heartbeat", "300ms"]).await;
    let service = local::echo().await;
    let mut client = Client::expose(relay.control, service.addr()).await;
    let mut open = visit(relay.public).await;

    client.signal(Signal::STOP);
    let frozen = Instant::now();
    open.expect_reset().await;
    let noticed = frozen.elapsed();
    assert!(noticed < heartbeat * 3 + SLACK, "noticed only after {noticed:?}");
    relay.logged("session lost: nothing heard for 900ms").await;
    Peer::connect(relay.public).await.expect_reset().await;
    relay.counts(1, "no_client").await;

    client.signal(Signal::CONT);
    let thawed = Instant::now();
    client.event("lost").await;
    client.event("live").await;
    let back = thawed.elapsed();
    assert!(back < Duration::from_secs(2) + SLACK, "back only after {back:?}");
    visit(relay.public).await;
}

#[tokio::test]
async fn a_frozen_relay_is_noticed_and_the_tunnel_is_back_after_the_thaw() {
    let relay = Relay::start(&["--heartbeat", "300ms"]).await;
    let service = local::echo().await;
    let mut client = Client::expose(relay.control, service.addr()).await;

    relay.signal(Signal::STOP);
    let lost = client.event("lost").await;
    assert_eq!(lost["reason"], "nothing heard for 900ms");
    relay.signal(Signal::CONT);
    client.event("live").await;
    visit(relay.public).await;
}

#[tokio::test]
async fn a_killed_relay_that_is_restarted_gets_its_clients_and_their_ports_back() {
    let anywhere = format!("{}:0", own_host());
    let mut relay = Relay::start(&["--control", &anywhere, "--public", &anywhere]).await;
    let service = local::echo().await;
    let local = service.addr().to_string();
    let (also, args) = (format!("also={local}"), ["--local", &local]);
    let mut client = Client::begin(relay.control, &[&args[..], &["--tunnel", &also]].concat());
    assert_eq!(client.live("default").await, relay.public);
    let also = client.live("also").await;
    let mut open = visit(also).await;

    relay.kill().await;
    open.expect_reset().await;
    client.event("lost").await;
    client.event("reconnecting").await;
    let _relay = relay.restarted().await;
    assert_eq!(client.live("default").await, relay.public);
    assert_eq!(client.live("also").await, also);
    visit(relay.public).await;
    visit(also).await;
}

/// What a busy machine may add to a time that is checked.
const SLACK: Duration = Duration::from_secs(5);
