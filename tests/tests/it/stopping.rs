//! Stopping: gracefully, then at once, and nothing is left.

use std::time::Duration;

use shared::control::protocol::{FromClient, FromRelay};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::record::{Record, data_header};
use tests::rogue::{RogueClient, RogueRelay, read_to_end, write};
use tests::usage::{open_files, runs_alone};
use tests::{Peer, Tasks, World, eventually, local, scrape, within};

#[tokio::test]
async fn a_download_that_runs_while_the_relay_stops_is_completed() {
    let service = local::played().await;
    let world = World::start().await;
    let client = world.client(service.addr()).await;
    let public = client.public(0);
    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send_pattern(1, 100_000).await;
    visitor.expect_pattern(1, 100_000).await;

    world.relay_stop.gracefully.cancel();
    eventually("new visitors to be refused", async || Peer::try_connect(public).await.is_err())
        .await;
    eventually("new clients to be refused", async || {
        Peer::try_connect(world.addrs.control).await.is_err()
    })
    .await;
    let (ready, _) = scrape::get(world.addrs.admin, "/readyz").await;
    let (healthy, _) = scrape::get(world.addrs.admin, "/healthz").await;
    assert_eq!((ready, healthy), (503, 200));

    tokio::join!(local.send_pattern(2, 3_000_000), visitor.expect_pattern(2, 3_000_000));
    local.half_close().await;
    visitor.expect_end().await;
    visitor.half_close().await;
    local.expect_end().await;
    drop((visitor, local));

    // By itself, because the relay said goodbye.
    client.ended().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_takes_its_clients_with_it() {
    for _ in 0..20 {
        let world = World::start().await;
        let client = world.client(local::nobody().await).await;
        world.relay_stop.gracefully.cancel();
        client.ended().await.unwrap();
        world.stop().await;
    }
}

#[tokio::test]
async fn a_download_that_runs_while_the_client_stops_is_completed() {
    let service = local::played().await;
    let world = World::start().await;
    let client = world.client(service.addr()).await;
    let public = client.public(0);
    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;
    local.send_pattern(1, 100_000).await;
    visitor.expect_pattern(1, 100_000).await;

    client.stop.gracefully.cancel();
    world.shows("no tunnel", |m| m.value("relay_tunnels") == Some(0.0)).await;
    assert_eq!(scrape::get(public, "/").await.0, 503);
    tokio::join!(local.send_pattern(2, 3_000_000), visitor.expect_pattern(2, 3_000_000));
    local.half_close().await;
    visitor.expect_end().await;
    visitor.half_close().await;
    local.expect_end().await;
    drop((visitor, local));

    client.ended().await.unwrap();
    world.shows("no session", |m| m.value("relay_sessions") == Some(0.0)).await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_crosses_the_clients_wish_to_stop_is_served() {
    // A relay in slow motion: it opens one more stream before it reads that the client stops.
    let service = local::speaks_first(b"welcome").await;
    let relay = RogueRelay::start().await;
    let tunnel = format!("default={}", service.addr()).parse().unwrap();
    let mut client =
        tests::RunningClient::start(client::Settings::loopback(relay.addr(), vec![tunnel]));
    let mut session = relay.welcomed().await;
    client.live().await;
    client.stop.gracefully.cancel();
    let mut next = async || within("a message", session.control.receive()).await.unwrap();
    assert_eq!(next().await, FromClient::Draining);
    let FromClient::Heartbeat { id } = next().await else {
        panic!("no question whether that was all")
    };

    let visitor = ([127, 0, 0, 1], 1).into();
    let open = Open::new(VisitIds::new().next(), "default".parse().unwrap(), visitor);
    let visit = [Record::Open(open).encode(), Record::End.encode()].concat();
    let mut stream = session.open(&visit).await;
    session.control.send(&FromRelay::HeartbeatAck { id }).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.windows(7).any(|bytes| bytes == b"welcome"), "{}", answer.escape_ascii());

    client.ended().await.unwrap();
}

#[tokio::test]
async fn a_visit_that_still_runs_when_the_relay_says_goodbye_is_completed() {
    let service = local::played().await;
    let relay = RogueRelay::start().await;
    let tunnel = format!("default={}", service.addr()).parse().unwrap();
    let client =
        tests::RunningClient::start(client::Settings::loopback(relay.addr(), vec![tunnel]));
    let mut session = relay.welcomed().await;
    let visitor = ([127, 0, 0, 1], 1).into();
    let open = Open::new(VisitIds::new().next(), "default".parse().unwrap(), visitor);
    let mut stream = session.open(&Record::Open(open).encode()).await;
    let mut local = service.accept().await;

    let goodbye = FromRelay::Goodbye { reason: "closing time".into() };
    session.control.send(&goodbye).await.unwrap();
    write(&mut stream, &[&data_header(4)[..], b"more"].concat()).await;
    local.expect(b"more").await;
    write(&mut stream, &Record::End.encode()).await;
    local.expect_end().await;
    local.send(b"and the answer").await;
    local.half_close().await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.windows(14).any(|bytes| bytes == b"and the answer"), "{answer:?}");
    assert!(answer.ends_with(&Record::End.encode()), "{answer:?}");
    drop((stream, session));
    client.ended().await.unwrap();
}

#[tokio::test]
async fn what_comes_right_behind_the_goodbye_of_a_client_still_reaches_the_visitor() {
    let world = World::start().await;
    let mut client = RogueClient::admitted(world.addrs.control).await;
    let mut visitor = Peer::connect(world.addrs.public).await;
    let mut stream = client.stream().await;
    let answered = [Record::Seen.encode(), Record::Connected.encode()].concat();
    write(&mut stream, &answered).await;

    let goodbye = FromClient::Goodbye { reason: "closing time".into() };
    client.control.send(&goodbye).await.unwrap();
    world.shows("no tunnel", |m| m.value("relay_tunnels") == Some(0.0)).await;
    let rest = [&data_header(4)[..], b"late", &Record::End.encode()].concat();
    write(&mut stream, &rest).await;
    visitor.expect(b"late").await;
    visitor.expect_end().await;
    drop((stream, client));
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_outstays_the_relays_grace_is_reset() {
    let service = local::echo().await;
    let world = World::start_with(|config| config.grace = Duration::from_millis(100)).await;
    let client = world.client(service.addr()).await;
    let mut visitor = Peer::connect(client.public(0)).await;
    visitor.expect_echo(b"before").await;

    world.relay_stop.gracefully.cancel();
    visitor.expect_reset().await;
    client.ended().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_outstays_the_clients_grace_is_reset() {
    let service = local::echo().await;
    let world = World::start().await;
    let mut config = world.config(&[format!("default={}", service.addr())]);
    config.grace = Duration::from_millis(100);
    let mut client = tests::RunningClient::start(config);
    client.live().await;
    let mut visitor = Peer::connect(client.public(0)).await;
    visitor.expect_echo(b"before").await;

    client.stop.gracefully.cancel();
    visitor.expect_reset().await;
    client.ended().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_second_request_to_stop_cuts_at_once() {
    let service = local::echo().await;
    let world = World::start().await;
    let first = world.client(service.addr()).await;
    let mut visitor = Peer::connect(first.public(0)).await;
    visitor.expect_echo(b"before").await;
    first.stop.gracefully.cancel();
    first.stop.at_once.cancel();
    visitor.expect_reset().await;
    first.ended().await.unwrap();

    let second = world.client(service.addr()).await;
    let mut visitor = Peer::connect(second.public(0)).await;
    visitor.expect_echo(b"before").await;
    world.relay_stop.gracefully.cancel();
    world.relay_stop.at_once.cancel();
    visitor.expect_reset().await;
    second.ended().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn nothing_is_left_after_a_busy_time() {
    if !runs_alone("stopping::nothing_is_left_after_a_busy_time") {
        return;
    }
    tests::usage::raise_file_limit();
    busy_time().await; // Whatever is opened once for the whole process.
    let before = open_files();
    for _ in 0..3 {
        busy_time().await;
    }
    eventually("every socket to be closed", async || open_files() == before).await;
}

/// Visitors that end well, badly and not at all, on several tunnels; then everything stops.
async fn busy_time() {
    let (echo, silent) = (local::echo().await, local::silent().await);
    let grace = Duration::from_millis(100);
    let mut world = World::start_with(|config| config.grace = grace).await;
    let tunnels = [
        format!("default={}", echo.addr()),
        format!("silent={}", silent.addr()),
        format!("down={}", local::nobody().await),
    ];
    let public = world.expose_all(&tunnels).await;
    let mut staying = Vec::new();
    let mut leaving = Tasks::new();
    for i in 0..20 {
        let (well, silent, down) = (public[0], public[1], public[2]);
        leaving.spawn(async move {
            let mut visitor = Peer::connect(well).await;
            visitor.expect_echo(b"well").await;
            visitor.half_close().await;
            visitor.expect_end().await;
            Peer::connect(silent).await.reset();
            Peer::connect(down).await.expect_reset().await;
        });
        let mut visitor = Peer::connect(public[i % 2]).await;
        visitor.send(b"I stay").await;
        staying.push(visitor);
    }
    leaving.join().await;
    let addrs = world.addrs;
    world.stop().await;
    for visitor in &mut staying {
        visitor.expect_reset().await;
    }
    for addr in public.into_iter().chain([addrs.control, addrs.admin]) {
        assert!(Peer::try_connect(addr).await.is_err(), "{addr} is still open");
    }
}
