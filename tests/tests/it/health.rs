//! Local services that are watched, and what becomes of visitors when one is not healthy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::Event;
use shared::control::protocol::TunnelName;
use tests::scrape::get;
use tests::{Local, Peer, RunningClient, World, local};

/// How the tests watch: one look decides.
const WATCH: &str = "check-interval=50ms&check-failures=1&check-successes=1";

fn is_standby(event: &Event) -> bool {
    *event == Event::Standby(TunnelName::default_tunnel())
}

fn is_live(event: &Event) -> bool {
    matches!(event, Event::Live(_))
}

async fn healthy(world: &World, healthy: bool) {
    let series = "relay_tunnel_healthy{tunnel=\"default\"}";
    let expected = f64::from(u8::from(healthy));
    world.shows("the health of the tunnel", |m| m.value(series) == Some(expected)).await;
}

async fn watched(world: &World, service: &Local, options: &str) -> RunningClient {
    world.client_for(&[format!("default={}?{WATCH}&{options}", service.addr())]).await
}

#[tokio::test]
async fn visitors_go_to_a_client_with_a_healthy_service_and_come_back() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let older = world.client(one.addr()).await;
    let public = older.public(0);
    let mut newer = watched(&world, &two, "check=tcp").await;
    Peer::connect(public).await.expect(b"two").await;
    healthy(&world, true).await;

    let addr = two.addr();
    drop(two);
    newer.event("to stand by", is_standby).await;
    Peer::connect(public).await.expect(b"one").await;
    healthy(&world, true).await;

    let _two = local::speaks_first_at(addr, b"two").await;
    newer.event("to be live again", is_live).await;
    Peer::connect(public).await.expect(b"two").await;
    older.finish().await;
    newer.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn the_only_client_serves_although_it_is_not_healthy_unless_it_withdraws() {
    let broken = AtomicBool::new(false);
    let broken = Arc::new(broken);
    let state = Arc::clone(&broken);
    let service = local::answers(move || match state.load(Ordering::Relaxed) {
        false => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        true => b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n",
    })
    .await;
    let world = World::start().await;
    let check = format!("check=http://{}/healthz", service.addr());
    let mut client = watched(&world, &service, &check).await;
    let public = client.public(0);
    assert_eq!(get(public, "/").await.0, 200);
    healthy(&world, true).await;

    broken.store(true, Ordering::Relaxed);
    healthy(&world, false).await;
    assert_eq!(get(public, "/").await.0, 500, "better than nothing");

    let withdraws = format!("default={}?{WATCH}&{check}&withdraw=true", service.addr());
    let config = client::Config::new(world.config(&[withdraws])).expect("a good configuration");
    client.reconfigure.apply(config);
    for _ in 0..3 {
        client.event("to stand by", is_standby).await;
        assert_eq!(get(public, "/").await.0, 503, "from the relay");
        broken.store(false, Ordering::Relaxed);
        client.event("to be live again", is_live).await;
        assert_eq!(get(public, "/").await.0, 200);
        broken.store(true, Ordering::Relaxed);
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_says_that_its_service_is_not_healthy() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let mut settings = world.config(&[format!("default={}", one.addr())]);
    // Not over the wire that is about to be cut.
    settings.server = world.addrs.control.to_string().parse().expect("an address");
    let mut older = RunningClient::start(settings);
    older.live().await;
    let public = older.public(0);
    let mut newer = watched(&world, &two, "check=tcp").await;
    let addr = two.addr();
    drop(two);
    newer.event("to stand by", is_standby).await;

    world.wire.cut();
    newer.event("to be lost", |event| matches!(event, Event::Lost(_))).await;
    world.wire.mend();
    newer.event("to stand by, although it came last", is_standby).await;
    Peer::connect(public).await.expect(b"one").await;
    let _two = local::speaks_first_at(addr, b"two").await;
    newer.event("to be live", is_live).await;
    Peer::connect(public).await.expect(b"two").await;
    older.finish().await;
    newer.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_nobody_watches_any_more_counts_as_healthy() {
    let service = local::echo().await;
    let world = World::start().await;
    let client = watched(&world, &service, "check=tcp").await;
    Peer::connect(client.public(0)).await.expect_echo(b"a first visit").await;
    healthy(&world, true).await;
    let unwatched = format!("default={}", service.addr());
    drop(service);
    healthy(&world, false).await;
    client.reconfigure.apply(client::Config::new(world.config(&[unwatched])).unwrap());
    healthy(&world, true).await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_whose_service_is_not_up_yet_leaves_visitors_to_the_one_that_serves() {
    let (one, nobody) = (local::speaks_first(b"one").await, local::nobody().await);
    let world = World::start().await;
    let older = world.client(one.addr()).await;
    let public = older.public(0);

    // Its first look is its only one.
    let late = format!("default={nobody}?check=tcp&check-interval=1h");
    let mut newer = world.client_for(&[late]).await;
    newer.event("to stand by", is_standby).await;
    Peer::connect(public).await.expect(b"one").await;
    newer.finish().await;
    older.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_sick_service_stays_sick_while_the_times_of_its_watch_change() {
    let hole = local::black_hole();
    let echo = local::echo().await;
    let world = World::start().await;
    let watched = |timeout: &str| {
        let hole = hole.addr();
        format!("default={hole}?check=tcp&check-timeout={timeout}&check-failures=1&withdraw=true")
    };
    let mut client = world.client_for(&[watched("50ms")]).await;
    let public = client.public(0);
    client.event("to stand by", is_standby).await;

    // No look at it comes to an end any more.
    let tunnels = [watched("1h"), format!("other={}", echo.addr())];
    let config = client::Config::new(world.config(&tunnels)).expect("a good configuration");
    client.reconfigure.apply(config);
    client.tunnel_is_live("other").await;
    assert_eq!(get(public, "/").await.0, 503, "from the relay");
    healthy(&world, false).await;
    client.finish().await;
    world.stop().await;
}
