//! An end is passed on as an end, one direction at a time, and nothing is lost before it.

use std::net::SocketAddr;
use std::time::Duration;

use tests::local::Played;
use tests::wait::PATIENCE;
use tests::{Local, Peer, RunningClient, Tasks, World, local, stays, within};

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
        peer.drain().await;
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

/// So many bytes are on their way for some seconds on a line of [`SLOW`].
const UPLOAD: usize = 250_000;

/// A slow line, in bytes a second.
const SLOW: u32 = 500_000;

/// Both ends of a visit in which the service has said everything.
async fn half_closed_by_the_service(public: SocketAddr, service: &Played) -> (Peer, Peer) {
    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.half_close().await;
    visitor.expect_end().await;
    (visitor, local)
}

/// Visitors that upload over a slow line to a service that has said everything before, and the
/// service's ends of these visits. The visitors have sent it all and are gone.
async fn uploads_to_a_service_that_has_half_closed(
    world: &World,
    public: SocketAddr,
    service: &Played,
    visits: usize,
) -> Vec<Peer> {
    let mut services = Vec::new();
    for _ in 0..visits {
        services.push(half_closed_by_the_service(public, service).await);
    }
    world.wire.slow_down(SLOW);
    let mut locals = Vec::new();
    for (mut visitor, local) in services {
        visitor.send_pattern(1, UPLOAD).await;
        visitor.half_close().await;
        locals.push(local);
    }
    locals
}

#[tokio::test]
async fn what_is_counted_as_completed_has_arrived_even_if_the_link_goes_at_that_moment() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    let locals = uploads_to_a_service_that_has_half_closed(&world, public, &service, 5).await;

    let mut reading = Tasks::new();
    for mut local in locals {
        reading.spawn(async move {
            local.expect_pattern(1, UPLOAD).await;
            local.expect_end().await;
        });
    }
    world.counts("completed", 5).await;
    world.wire.cut();
    within("everything that was completed", reading.join()).await;
    world.wire.mend();
    world.stop().await;
}

#[tokio::test]
async fn an_upload_whose_end_was_still_on_its_way_when_the_link_went_is_lost() {
    /// Little enough for the relay to take it although nothing leaves.
    const UPLOAD: usize = 10_000;
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    let mut visits = Vec::new();
    for _ in 0..4 {
        visits.push(half_closed_by_the_service(public, &service).await);
    }
    world.wire.stall();
    for (visitor, _) in &mut visits {
        visitor.send_pattern(1, UPLOAD).await;
        visitor.half_close().await;
    }
    world.shows("all to be on its way", |m| m.bytes("default", "in") == (4 * UPLOAD) as f64).await;

    world.wire.cut();
    world.counts("lost", 4).await;
    for (_, mut local) in visits {
        assert!(local.expect_reset().await.len() < UPLOAD);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_relay_that_is_told_to_stop_delivers_what_its_visitors_have_sent() {
    let service = local::played().await;
    let mut world = World::start_with(|config| config.grace = PATIENCE).await;
    let public = world.expose(service.addr()).await;
    let locals = uploads_to_a_service_that_has_half_closed(&world, public, &service, 8).await;

    world.relay_stop.gracefully.cancel();
    for mut local in locals {
        local.expect_pattern(1, UPLOAD).await;
        local.expect_end().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_is_told_to_stop_delivers_what_its_services_have_sent() {
    let service = local::played().await;
    let world = World::start().await;
    let mut config = world.config(&[format!("default={}", service.addr())]);
    config.grace = PATIENCE;
    let mut client = RunningClient::start(config);
    client.live().await;
    let mut visitors = Vec::new();
    for _ in 0..8 {
        let mut visitor = Peer::connect(client.public(0)).await;
        visitor.half_close().await;
        let mut local = service.accept().await;
        local.expect_end().await;
        visitors.push((visitor, local));
    }
    world.wire.slow_down(SLOW);
    for (_, local) in &mut visitors {
        local.send_pattern(1, UPLOAD).await;
        local.half_close().await;
    }

    client.stop.gracefully.cancel();
    for (mut visitor, _) in visitors {
        visitor.expect_pattern(1, UPLOAD).await;
        visitor.expect_end().await;
    }
    world.counts("completed", 8).await;
    client.ended().await.expect("a good end");
    world.stop().await;
}

/// A relay that waits but a moment for an end that is missing.
async fn impatient_world() -> World {
    World::start_with(|config| config.half_closed_timeout = IMPATIENCE).await
}

/// Long beside the pauses of whoever moves something, short beside [`PATIENCE`].
const IMPATIENCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_visitor_that_stays_long_after_the_local_service_has_closed_is_let_go() {
    let service = local::played().await;
    let mut world = impatient_world().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send(b"all I have to say").await;
    local.half_close().await;
    assert_eq!(visitor.read_to_end().await, b"all I have to say");
    world.counts("timeout", 1).await;
    visitor.expect_reset_unread().await;
    local.expect_reset().await;

    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_has_said_everything_does_not_wait_for_ever_for_a_silent_service() {
    let service = local::played().await;
    let mut world = impatient_world().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    visitor.half_close().await;
    local.expect_end().await;
    visitor.expect_reset().await;
    local.expect_reset_unread().await;

    world.counts("timeout", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_lets_go_of_half_closed_visits_as_a_relay_does() {
    let service = local::played().await;
    let world = World::start().await;
    let mut config = world.config(&[format!("default={}", service.addr())]);
    config.half_closed_timeout = IMPATIENCE;
    let mut client = RunningClient::start(config);
    client.live().await;

    let mut visitor = Peer::connect(client.public(0)).await;
    let mut local = service.accept().await;
    local.half_close().await;
    visitor.expect_end().await;
    world.counts("timeout", 1).await;
    local.expect_reset().await;

    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_slowly_reaches_a_visitor_that_has_said_everything() {
    let service = Local::start(async |socket| {
        let mut peer = Peer::from(socket);
        peer.expect_end().await;
        // Several times the limit in all.
        peer.trickle_for(4 * IMPATIENCE).await;
        peer.half_close().await;
    })
    .await;
    let mut world = impatient_world().await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    visitor.half_close().await;
    assert!(!visitor.read_to_end().await.is_empty());

    world.counts("completed", 1).await;
    world.stop().await;
}
