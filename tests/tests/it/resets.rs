//! A reset is passed on as a reset: never a truncated success, and nobody left behind.

use tests::{Peer, World, local};

#[tokio::test]
async fn a_reset_by_the_local_service_in_mid_reply_resets_the_visitor() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send(b"half of the ans").await;
    visitor.expect(b"half of the ans").await;
    local.reset();
    visitor.expect_reset().await;

    world.counts("reset", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_reset_after_the_visitor_said_everything_is_still_a_reset() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    visitor.send(b"a question").await;
    visitor.half_close().await;
    local.expect(b"a question").await;
    local.expect_end().await;
    local.send(b"half of the ans").await;
    visitor.expect(b"half of the ans").await;
    local.reset();
    visitor.expect_reset().await;

    world.counts("reset", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_reset_by_the_visitor_in_mid_upload_resets_the_local_service() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    visitor.send(b"half of the upl").await;
    local.expect(b"half of the upl").await;
    visitor.reset();
    local.expect_reset().await;

    world.counts("reset", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_reset_by_the_visitor_reaches_a_local_service_that_does_not_read() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send(b"go on").await;
    visitor.expect(b"go on").await;
    visitor.send_until_full().await;
    visitor.reset();
    local.expect_reset_unread().await;

    world.counts("reset", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_reset_by_the_local_service_reaches_a_visitor_that_does_not_read() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send_until_full().await;
    local.reset();
    visitor.expect_reset_unread().await;

    // With the stream full, the reason may not get through: the relay then counts it as lost.
    world.shows("the visit as over", |m| ended_badly(m) == 1.0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_hangs_up_during_the_answer_stops_the_local_service() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    // Closed with data unread or still to come: the kernel answers that with a reset.
    drop(visitor);
    local.expect_end().await;
    local.send_until_refused().await;

    world.counts("reset", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn fifty_visitors_see_fifty_resets_when_the_link_is_cut() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitors = Vec::new();
    for _ in 0..50 {
        let mut visitor = Peer::connect(public).await;
        visitor.expect_echo(b"before").await;
        visitors.push(visitor);
    }
    world.wire.cut();
    for visitor in &mut visitors {
        visitor.expect_reset().await;
    }

    world.counts("lost", 50).await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_has_its_answer_and_idles_goes_with_the_link() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send(b"all I have to say").await;
    local.half_close().await;
    assert_eq!(visitor.read_to_end().await, b"all I have to say");
    world.wire.cut();

    world.counts("lost", 1).await;
    drop((visitor, local));
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_resets_while_it_waits_for_its_answer_lets_the_local_service_go() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    visitor.send(b"a question").await;
    visitor.half_close().await;
    local.expect(b"a question").await;
    local.expect_end().await;
    visitor.reset();

    world.counts("reset", 1).await;
    local.send_until_refused().await;
    drop(local);
    world.stop().await;
}

#[tokio::test]
async fn a_local_service_that_resets_after_its_answer_lets_the_visitor_go() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send(b"all I have to say").await;
    local.half_close().await;
    assert_eq!(visitor.read_to_end().await, b"all I have to say");
    local.reset();

    world.shows("the visit as over", |m| ended_badly(m) == 1.0).await;
    drop(visitor);
    world.stop().await;
}

fn ended_badly(metrics: &tests::scrape::Scrape) -> f64 {
    metrics.visits("default", "reset") + metrics.visits("default", "lost")
}
