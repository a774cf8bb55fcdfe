//! One test for each fault that was found once.

use std::time::Duration;

use shared::control::protocol::FromClient;
use tests::rogue::{self, RogueClient, hello};
use tests::{Peer, RunningClient, World, eventually, local, within};

/// A stream of a client that has the visitor's connection to its local service.
async fn answered(client: &mut RogueClient) -> yamux::Stream {
    let mut stream = client.stream().await;
    rogue::write(&mut stream, &[2, 0, 0, 0, 3, 0, 0, 0]).await;
    stream
}

#[tokio::test]
async fn an_idle_visitor_is_reset_when_its_client_comes_back_in_a_new_session() {
    let world = World::start().await;
    let hello = hello(&["default"]);
    let mut old = RogueClient::connect(world.addrs.control, hello.clone()).await;
    old.receive().await;
    let mut visitor = Peer::connect(world.addrs.public).await;
    let _stream = answered(&mut old).await;
    let mut new = RogueClient::connect(world.addrs.control, hello).await;
    new.receive().await;
    visitor.expect_reset().await;
}

#[tokio::test]
async fn an_idle_visitor_is_reset_when_its_client_says_goodbye() {
    let world = World::start().await;
    let mut client = RogueClient::admitted(world.addrs.control).await;
    let mut visitor = Peer::connect(world.addrs.public).await;
    let _stream = answered(&mut client).await;
    let goodbye = FromClient::Goodbye { reason: "leaving visitors behind".into() };
    client.control.send(&goodbye).await.unwrap();
    visitor.expect_reset().await;
}

#[tokio::test]
async fn a_slow_visitor_gets_all_of_an_answer_that_was_over_before_the_client_stopped() {
    let service = local::played().await;
    let world = World::start().await;
    let mut config = world.config(&[format!("default={}", service.addr())]);
    config.grace = Duration::from_millis(300);
    let mut client = RunningClient::start(config);
    client.live().await;
    let mut visitor = Peer::connect_narrow(client.public(0)).await;
    let mut local = service.accept().await;
    visitor.half_close().await;
    local.expect_end().await;
    local.send_pattern(1, 250_000).await;
    local.half_close().await;
    drop(local);

    // Another visit is as slow, and not over: it is cut off with the client. The relay notices that
    // when it looks after visits that are blocked, this one first.
    let _cut = Peer::connect_narrow(client.public(0)).await;
    let mut unfinished = service.accept().await;
    unfinished.send_pattern(2, 250_000).await;
    client.stop.gracefully.cancel();
    client.ended().await.unwrap();
    eventually("the other visit to end", async || {
        let metrics = world.metrics().await;
        metrics.visits("default", "reset") + metrics.visits("default", "lost") == 1.0
    })
    .await;
    visitor.expect_pattern(1, 250_000).await;
    visitor.expect_end().await;
}

#[tokio::test]
async fn a_visitor_that_resets_makes_room_among_the_streams_that_nobody_has_acknowledged() {
    let world = World::start().await;
    let mut client = RogueClient::admitted(world.addrs.control).await;
    let (mut visitors, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..256 {
        visitors.push(Peer::connect(world.addrs.public).await);
        streams.push(client.stream().await);
    }
    let _late = Peer::connect(world.addrs.public).await;
    world.counts("timeout", 0).await;
    visitors.pop().expect("a visitor").reset();
    // The late visitor itself gives up after five seconds.
    within("the late visitor's stream", client.inbound.next()).await.expect("a session");
    world.counts("timeout", 0).await;
}
