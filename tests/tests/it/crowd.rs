//! Many visitors, slow ones, and the limits that keep them from hurting others.

use std::time::Duration;

use tests::usage::{resident_memory, runs_alone};
use tests::wait::PATIENCE;
use tests::{Local, Peer, RunningClient, World, local};

const KILOBYTE: usize = 1000;

#[tokio::test]
async fn visitors_that_stop_reading_hold_little_memory_and_nobody_else_up() {
    if !runs_alone("crowd::visitors_that_stop_reading_hold_little_memory_and_nobody_else_up") {
        return;
    }
    let (endless, echo) = (local::endless().await, local::echo().await);
    let mut world = World::start().await;
    let tunnels = [format!("default={}", endless.addr()), format!("echo={}", echo.addr())];
    let public = world.expose_all(&tunnels).await;
    let mut visitor = Peer::connect(public[1]).await;
    visitor.expect_echo(b"warm").await;
    let before = resident_memory();

    let mut stalled = Vec::new();
    for _ in 0..200 {
        stalled.push(Peer::connect(public[0]).await);
    }
    // Until nothing moves any more.
    let mut last = -1.0;
    world
        .shows("the stalled visitors to stall", |metrics| {
            let now = metrics.bytes("default", "out");
            let same = now == last && now > 0.0;
            last = now;
            same
        })
        .await;
    for _ in 0..200 {
        visitor.expect_echo(b"promptly").await;
    }

    // Relay and client together; the benchmark has the figure of each.
    let grown = resident_memory().saturating_sub(before);
    let most = 200 * 2 * 600 * KILOBYTE;
    assert!(grown < most, "{} kB for each", grown / 200 / KILOBYTE);

    // Nobody waits for the endless service: it goes with its visitors.
    for visitor in stalled {
        visitor.reset();
    }
    drop(visitor);
    world.shows("everybody to be gone", |m| open(m, "default") + open(m, "echo") == 0.0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_beyond_the_limit_of_its_tunnel_is_reset_and_the_next_is_served() {
    let service = local::echo().await;
    let mut world = World::start_with(|config| config.max_visitors = 3).await;
    let tunnels = [format!("default={}", service.addr()), format!("other={}", service.addr())];
    let public = world.expose_all(&tunnels).await;
    let mut visitors = Vec::new();
    for _ in 0..3 {
        let mut visitor = Peer::connect(public[0]).await;
        visitor.expect_echo(b"room").await;
        visitors.push(visitor);
    }

    Peer::connect(public[0]).await.expect_reset().await;
    world.counts("limit", 1).await;
    Peer::connect(public[1]).await.expect_echo(b"another tunnel has room").await;

    let mut leaving = visitors.pop().unwrap();
    leaving.half_close().await;
    leaving.expect_end().await;
    world.counts("completed", 1).await;
    world.shows("room for one", |m| open(m, "default") == 2.0).await;
    Peer::connect(public[0]).await.expect_echo(b"room again").await;

    drop(visitors);
    world.stop().await;
}

#[tokio::test]
async fn visitors_leave_files_for_clients_and_for_the_operator() {
    let service = local::silent().await;
    let mut world = World::start_with(|config| {
        config.descriptors = 160;
        config.limits.max_visitors_per_source = Some(200);
    })
    .await;
    let public = world.expose(service.addr()).await;
    let mut visitors = Vec::new();
    for _ in 0..200 {
        visitors.push(Peer::connect(public).await);
    }
    // A quarter is for clients, an eighth for listeners.
    world.counts("limit", 100).await;
    let client = world.client(service.addr()).await;
    client.finish().await;

    drop(visitors);
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_whose_data_wait_for_too_long_is_reset() {
    let service = local::deaf().await;
    let stall = Duration::from_millis(300);
    let mut world = World::start_with(|config| config.stall_timeout = stall).await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    visitor.send_until_full().await;
    visitor.expect_reset_unread().await;

    world.counts("timeout", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_reads_nothing_for_too_long_is_reset_by_the_client_as_well() {
    let service = local::endless().await;
    let world = World::start().await;
    let mut config = world.config(&[format!("default={}", service.addr())]);
    config.stall_timeout = Duration::from_millis(300);
    let mut client = RunningClient::start(config);
    client.live().await;

    let mut visitor = Peer::connect(client.public(0)).await;
    visitor.expect_reset_unread().await;

    world.shows("the visit to be over", |m| open(m, "default") == 0.0).await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_byte_now_and_then_the_other_way_does_not_hide_that_a_visitors_data_wait() {
    let service =
        Local::start(async |socket| Peer::from(socket).trickle_for(10 * PATIENCE).await).await;
    let stall = Duration::from_millis(500);
    let mut world = World::start_with(|config| config.stall_timeout = stall).await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    visitor.send_until_full().await;
    visitor.expect_reset().await;

    world.counts("timeout", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_is_only_silent_may_stay() {
    let service = local::echo().await;
    let stall = Duration::from_millis(50);
    let mut world = World::start_with(|config| {
        config.stall_timeout = stall;
        config.heartbeat = stall;
    })
    .await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"before").await;

    // Several times the limit, by the clock of the heartbeats.
    let mut seen = Vec::new();
    world
        .shows("time to pass", |metrics| {
            let now = metrics.value("relay_session_rtt_seconds{tunnel=\"default\"}").unwrap_or(0.0);
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            seen.len() > 8
        })
        .await;
    visitor.expect_echo(b"after").await;

    drop(visitor);
    world.stop().await;
}

/// How many visitors a tunnel has.
fn open(metrics: &tests::scrape::Scrape, tunnel: &str) -> f64 {
    metrics.visitors(tunnel)
}
