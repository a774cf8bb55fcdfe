//! The link between client and relay: gone, silent, and back.

use client::{Config, Event, Reconnect};
use tests::world::SHORT_HEARTBEAT;
use tests::{Peer, RunningClient, World, local, scrape};

#[tokio::test]
async fn without_a_client_a_browser_is_told_and_others_are_reset() {
    let world = World::start().await;
    let public = world.addrs.public;

    let mut browser = Peer::connect(public).await;
    browser.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
    let answer = String::from_utf8(browser.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("text/plain") && answer.contains("not connected"), "{answer}");

    let mut other = Peer::connect(public).await;
    other.send(b"SSH-2.0-test\r\n").await;
    other.expect_reset().await;
    let mut silent = Peer::connect(public).await;
    silent.expect_reset().await;

    world.counts("no_client", 3).await;
    world.stop().await;
}

#[tokio::test]
async fn a_cut_link_comes_back_by_itself() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"before").await;

    world.wire.cut();
    visitor.expect_reset().await;
    world.first_client().lost().await;
    world.shows("no session", |m| m.value("relay_sessions") == Some(0.0)).await;
    let (status, _) = scrape::get(public, "/").await;
    assert_eq!(status, 503);

    world.wire.mend();
    world.first_client().live().await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"after").await;

    drop(visitor);
    world.stop().await;
}

#[tokio::test]
async fn a_silent_link_is_noticed_at_both_ends_and_comes_back() {
    let service = local::echo().await;
    let mut world = World::start_with(|config| config.heartbeat = SHORT_HEARTBEAT).await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"before").await;

    world.wire.stall();
    visitor.expect_reset().await;
    world.first_client().lost().await;
    world.shows("no session", |m| m.value("relay_sessions") == Some(0.0)).await;
    let (status, _) = scrape::get(public, "/").await;
    assert_eq!(status, 503);
    Peer::connect(public).await.expect_reset().await;

    world.wire.mend();
    world.first_client().live().await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"after").await;

    drop(visitor);
    world.stop().await;
}

#[tokio::test]
async fn a_link_that_is_only_idle_stays() {
    let service = local::echo().await;
    let mut world = World::start_with(|config| config.heartbeat = SHORT_HEARTBEAT).await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"before").await;

    // Ten heartbeats and more, seen by the round trips that change.
    let mut round_trips = Vec::new();
    world
        .shows("heartbeats to go on", |metrics| {
            let now = metrics.value("relay_session_rtt_seconds{tunnel=\"default\"}").unwrap_or(0.0);
            if now > 0.0 && round_trips.last() != Some(&now) {
                round_trips.push(now);
            }
            round_trips.len() > 10
        })
        .await;
    visitor.expect_echo(b"after").await;

    drop(visitor);
    world.stop().await;
}

#[tokio::test]
async fn a_client_says_that_it_is_lost_and_when_it_tries_again() {
    let service = local::echo().await;
    let world = World::start().await;
    let mut client = world.client(service.addr()).await;

    world.wire.cut();
    client.event("the loss", |event| matches!(event, Event::Lost(_))).await;
    let again = |event: &Event| matches!(event, Event::Reconnecting(delay) if !delay.is_zero());
    client.event("the next attempt", again).await;
    world.wire.mend();
    client.event("to be live", |event| matches!(event, Event::Live(_))).await;

    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_shall_never_reconnect_ends_with_the_link() {
    let service = local::echo().await;
    let world = World::start().await;
    let mut config = world.config(&[format!("default={}", service.addr())]);
    config.reconnect = Reconnect::Never;
    let mut client = RunningClient::start(config);
    client.live().await;

    world.wire.cut();
    let err = client.ended().await.unwrap_err();
    assert!(format!("{err:#}").contains("lost"), "{err:#}");
    world.stop().await;
}

#[tokio::test]
async fn a_policy_that_changes_during_a_session_decides_what_comes_after_it() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let mut client = world.client(service.addr()).await;
    let mut settings = world.config(&[format!("default={}", service.addr())]);
    let mut reconnects = |policy| {
        settings.reconnect = policy;
        Config::new(settings.clone()).expect("a good configuration")
    };

    client.reconfigure.apply(reconnects(Reconnect::Always));
    world.relay_stop.gracefully.cancel();
    world.relay_ended().await;
    let again = |event: &Event| matches!(event, Event::Reconnecting(_));
    client.event("to wait for a relay that was stopped", again).await;

    client.reconfigure.apply(reconnects(Reconnect::Never));
    let err = client.ended().await.unwrap_err();
    assert!(format!("{err:#}").contains("cannot be reached"), "{err:#}");
    world.stop().await;
}

#[tokio::test]
async fn a_relay_that_is_not_there_ends_a_client_unless_it_shall_always_come_back() {
    let nobody = local::nobody().await;
    let world = World::start().await;
    let mut config = world.config(&["default=1".to_owned()]);
    config.server.port = nobody.port();
    let err = RunningClient::start(config.clone()).ended().await.unwrap_err();
    assert!(format!("{err:#}").contains("cannot be reached"), "{err:#}");

    config.reconnect = Reconnect::Always;
    let mut client = RunningClient::start(config);
    let again = |event: &Event| matches!(event, Event::Reconnecting(_));
    client.event("a first attempt to fail", again).await;
    client.event("a second one too", again).await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_before_its_loss_was_noticed_replaces_itself() {
    let service = local::echo().await;
    let mut world = World::start_with(|config| config.heartbeat = SHORT_HEARTBEAT).await;
    let public = world.expose(service.addr()).await;
    for _ in 0..2 {
        world.wire.stall();
        world.first_client().lost().await;
        world.wire.mend();
        world.first_client().live().await;
    }
    Peer::connect(public).await.expect_echo(b"here").await;
    world.shows("one session", |m| m.value("relay_sessions") == Some(1.0)).await;
    world.stop().await;
}
