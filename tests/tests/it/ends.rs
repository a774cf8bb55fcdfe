//! An end is passed on as an end, one direction at a time, and nothing is lost before it.

use std::time::Duration;

use tests::{Local, Peer, World, local, stays};

#[tokio::test]
async fn a_visitor_that_has_said_everything_still_gets_the_whole_answer() {
    let service = local::counts_to_the_end().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    visitor.send_pattern(1, 1_000_000).await;
    visitor.half_close().await;
    assert_eq!(visitor.read_to_end().await, b"1000000 bytes");

    world.counts("completed", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_local_service_that_has_said_everything_still_hears_the_visitor() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send(b"all I have to say").await;
    local.half_close().await;
    assert_eq!(visitor.read_to_end().await, b"all I have to say");
    for _ in 0..10 {
        visitor.send(b"and now me").await;
        local.expect(b"and now me").await;
    }
    visitor.half_close().await;
    local.expect_end().await;

    world.counts("completed", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_local_service_that_speaks_first_is_heard_by_a_silent_visitor() {
    let service = local::speaks_first(b"220 mail.example ready\r\n").await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    visitor.expect(b"220 mail.example ready\r\n").await;
    visitor.expect_echo(b"HELO me").await;
    drop(visitor);

    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_leaves_at_once_is_heard_to_leave() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    drop(Peer::connect(public).await);
    let mut local = service.accept().await;
    local.expect_end().await;
    drop(local);

    world.counts("completed", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_thousand_visitors_without_an_answer_do_not_keep_the_next_one_waiting() {
    let service = Local::start(async |socket| {
        // Silent to those who say `hush`, an echo to all others.
        let mut peer = Peer::from(socket);
        let said = peer.read_four().await;
        if said != b"hush"[..] {
            peer.send(&said).await;
        }
        peer.read_to_end_or_reset().await;
    })
    .await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut waiting = Vec::new();
    for _ in 0..1000 {
        let mut visitor = Peer::connect(public).await;
        visitor.send(b"hush").await;
        waiting.push(visitor);
    }
    let mut next = Peer::connect(public).await;
    next.expect_echo(b"here").await;

    drop((waiting, next));
    world.stop().await;
}

#[tokio::test]
async fn a_slow_visitor_gets_the_whole_answer_although_the_local_service_has_long_gone() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect_narrow(public).await;
    let mut local = service.accept().await;
    visitor.half_close().await;
    local.expect_end().await;
    local.send_pattern(1, 350_000).await;
    local.half_close().await;
    drop(local);
    // Longer than anybody waits before looking whether the other end is still there.
    stays("the visit to go on", Duration::from_millis(2500), async || {
        let metrics = world.metrics().await;
        metrics.value("relay_visitors{tunnel=\"default\"}") == Some(1.0)
    })
    .await;
    visitor.expect_pattern(1, 350_000).await;
    visitor.expect_end().await;

    world.counts("completed", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_slow_local_service_gets_the_whole_upload_although_the_visitor_has_long_gone() {
    let service = local::played_narrow().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.half_close().await;
    visitor.expect_end().await;
    visitor.send_pattern(1, 350_000).await;
    visitor.half_close().await;
    drop(visitor);
    world.counts("completed", 1).await;
    let sessions = async || world.metrics().await.value("relay_sessions") == Some(1.0);
    stays("the session", Duration::from_millis(2500), sessions).await;
    local.expect_pattern(1, 350_000).await;
    local.expect_end().await;

    drop(local);
    world.stop().await;
}
