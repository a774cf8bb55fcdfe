//! A client with several connections to the relay.

use std::time::{Duration, Instant};

use client::Event;
use shared::control::protocol::{
    FromClient, FromRelay, HEARTBEAT, MAX_CONNECTIONS, RefusalCode, TunnelAnswer, TunnelOutcome,
    Welcome,
};
use tests::rogue::{RogueClient, RogueRelay, RogueSession, hello};
use tests::{Local, Peer, RunningClient, World, eventually, local, within};
use tokio::time::timeout;

/// How long a visitor waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client of `service` with so many connections, all of them up.
async fn client(world: &World, service: &Local, connections: u16) -> RunningClient {
    let mut config = world.config(&[format!("default={}", service.addr())]);
    config.connections = connections;
    let before = world.metrics().await.value("relay_sessions").expect("a gauge");
    let mut client = RunningClient::start(config);
    client.live().await;
    has_sessions(world, before as u16 + connections).await;
    client
}

async fn has_sessions(world: &World, sessions: u16) {
    let what = format!("{sessions} sessions");
    world.shows(&what, |m| m.value("relay_sessions") == Some(f64::from(sessions))).await;
}

#[tokio::test]
async fn visitors_are_spread_and_the_loss_of_one_connection_costs_only_its_own() {
    let service = local::echo().await;
    let world = World::start().await;
    let client = client(&world, &service, 3).await;
    let mut visitors = Vec::new();
    for _ in 0..6 {
        let mut visitor = Peer::connect(client.public(0)).await;
        visitor.expect_echo(b"before").await;
        visitors.push(visitor);
    }

    world.wire.cut_one(1);
    world.counts("lost", 2).await;
    let mut served = 0;
    for mut visitor in visitors {
        served += usize::from(visitor.tries_echo(b"after").await);
    }
    assert_eq!(served, 4);
    assert!(client.status.borrow().is_live());
    has_sessions(&world, 3).await;

    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn new_visitors_keep_away_from_bulk() {
    let (echo, endless, silent) =
        (local::echo().await, local::endless().await, local::played().await);
    let world = World::start_with(|config| config.heartbeat = HEARTBEAT).await;
    let mut config = world.config(&[
        format!("default={}", echo.addr()),
        format!("bulk={}", endless.addr()),
        format!("silent={}", silent.addr()),
    ]);
    config.connections = 2;
    let mut client = RunningClient::start(config);
    client.live().await;
    has_sessions(&world, 2).await;

    // Nothing is going on yet: the first connection gets it.
    let mut download = Peer::connect(client.public(1)).await;
    download.take(1_000_000).await;
    // The other one has a question that is not answered, and is as good as before for it.
    let mut waiting = Peer::connect(client.public(2)).await;
    let mut service = silent.accept().await;
    for question in [b"hello?", b"anyone"] {
        waiting.send(question).await;
        service.expect(question).await;
    }
    let start = Instant::now();
    while start.elapsed() < 2 * PATIENCE {
        download.take(100_000).await;
    }
    let mut visitors = Vec::new();
    for _ in 0..5 {
        download.take(1_000_000).await;
        let mut visitor = Peer::connect(client.public(0)).await;
        visitor.expect_echo(b"before").await;
        visitors.push(visitor);
    }

    world.wire.cut_one(0);
    download.expect_reset().await;
    for visitor in &mut visitors {
        visitor.expect_echo(b"after").await;
    }
    drop((visitors, waiting, service));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn new_visitors_keep_away_from_a_connection_that_has_stalled() {
    let service = local::echo().await;
    // Heartbeats so rare that the session is not given up.
    let world = World::start_with(|config| config.heartbeat = HEARTBEAT).await;
    let client = client(&world, &service, 3).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut visitor = Peer::connect(client.public(0)).await;
        visitor.expect_echo(b"before").await;
        busy.push(visitor);
    }

    world.wire.stall_one(1);
    // The first ones may still come to it. The others move bytes, which it does not.
    let mut served_in_a_row = 0;
    eventually("visitors to be served", async || {
        let mut visitor = Peer::connect(client.public(0)).await;
        let served = timeout(PATIENCE, visitor.expect_echo(&[7; 100_000])).await.is_ok();
        served_in_a_row = if served { served_in_a_row + 1 } else { 0 };
        served_in_a_row == 20
    })
    .await;

    world.wire.mend();
    for visitor in &mut busy {
        visitor.expect_echo(b"after").await;
    }
    drop(busy);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_is_lost_with_its_last_connection_only() {
    let service = local::echo().await;
    let world = World::start().await;
    let mut client = client(&world, &service, 3).await;

    // The first one, which made the client live, is one like the others.
    world.wire.cut_one(0);
    has_sessions(&world, 2).await;
    Peer::connect(client.public(0)).await.expect_echo(b"still there").await;
    has_sessions(&world, 3).await;
    world.wire.cut();
    let lost = client.event("to be lost", |event| !matches!(event, Event::Live(_))).await;
    assert!(matches!(lost, Event::Lost(_)), "{lost:?}");
    client.lost().await;

    world.wire.mend();
    client.live().await;
    has_sessions(&world, 3).await;
    Peer::connect(client.public(0)).await.expect_echo(b"back again").await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn the_connections_of_a_client_stand_by_together() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let mut first = client(&world, &one, 3).await;
    let second = client(&world, &two, 2).await;
    first.event("to stand by", |event| matches!(event, Event::Standby(_))).await;

    // A connection that comes back does not bring its client to the front.
    world.wire.cut_one(1);
    has_sessions(&world, 4).await;
    has_sessions(&world, 5).await;
    for _ in 0..6 {
        Peer::connect(second.public(0)).await.expect(b"two").await;
    }

    second.finish().await;
    // The next event: that all three stood by was announced once.
    let event = first.event("anything", |_| true).await;
    assert!(matches!(event, Event::Live(_)), "{event:?}");
    for _ in 0..6 {
        Peer::connect(first.public(0)).await.expect(b"one").await;
    }
    first.finish().await;
    world.counts("no_client", 0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_stops_lets_the_visits_of_all_its_connections_finish() {
    let service = local::echo().await;
    let world = World::start().await;
    let client = client(&world, &service, 4).await;
    let mut visitors = Vec::new();
    for _ in 0..8 {
        let mut visitor = Peer::connect(client.public(0)).await;
        visitor.expect_echo(b"before").await;
        visitors.push(visitor);
    }

    client.stop.gracefully.cancel();
    for mut visitor in visitors {
        visitor.expect_echo(b"the last words").await;
        visitor.half_close().await;
        visitor.expect_end().await;
    }
    client.ended().await.expect("a good end");
    world.counts("completed", 8).await;
    world.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_ends_all_connections_of_a_client() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let client = client(&world, &service, 3).await;
    world.relay_stop.gracefully.cancel();
    world.relay_ended().await;
    client.ended().await.expect("a good end");
}

/// The next connection of a client, which has read its welcome.
async fn up(relay: &RogueRelay) -> RogueSession {
    let mut session = relay.welcomed().await;
    session.control.send(&FromRelay::Heartbeat { id: 1 }).await.expect("a session");
    let answer = within("an answer", session.control.receive()).await.expect("a message");
    assert_eq!(answer, FromClient::HeartbeatAck { id: 1 });
    session
}

#[tokio::test]
async fn a_connection_that_the_relay_ends_comes_back_while_others_are_up() {
    let relay = RogueRelay::start().await;
    let mut config = client::Settings::loopback(relay.addr(), vec!["web=1".parse().unwrap()]);
    config.connections = 2;
    let mut client = RunningClient::start(config);
    let mut first = up(&relay).await;
    let second = up(&relay).await;
    let goodbye = FromRelay::Goodbye { reason: "moving".into() };
    first.control.send(&goodbye).await.expect("a session");
    first.close().await;
    let third = up(&relay).await;

    // Its goodbye is forgotten: there is a relay.
    second.close().await;
    third.close().await;
    client.event("to be lost", |event| matches!(event, Event::Lost(_))).await;
    client.stop.gracefully.cancel();
    client.ended().await.expect("a good end");
}

#[tokio::test]
async fn a_tunnel_is_live_again_with_the_loss_of_the_connection_that_was_told_to_stand_by() {
    let relay = RogueRelay::start().await;
    let mut config = client::Settings::loopback(relay.addr(), vec!["web=1".parse().unwrap()]);
    config.connections = 2;
    let mut client = RunningClient::start(config);
    let (mut first, second) = (up(&relay).await, up(&relay).await);
    let standby = FromRelay::Standby { tunnel: "web".parse().unwrap() };
    first.control.send(&standby).await.expect("a session");
    client.event("to stand by", |event| matches!(event, Event::Standby(_))).await;

    first.close().await;
    client.event("to be live again", |event| matches!(event, Event::Live(_))).await;
    drop(second);
    client.event("to be lost", |event| matches!(event, Event::Lost(_))).await;
    client.finish().await;
}

#[tokio::test]
async fn a_connection_to_another_relay_is_given_up_and_the_others_go_on() {
    let relay = RogueRelay::start().await;
    let mut config = client::Settings::loopback(relay.addr(), vec!["web=1".parse().unwrap()]);
    config.connections = 2;
    let client = RunningClient::start(config);
    let mut first = up(&relay).await;
    let mut other = relay.greeted().await;
    let public = vec!["tcp://localhost:2".parse().expect("an address")];
    let elsewhere =
        TunnelAnswer { name: "web".parse().unwrap(), outcome: TunnelOutcome::Open { public } };
    let welcome = Welcome { session: 2, heartbeat_ms: 1000, tunnels: vec![elsewhere] };
    other.control.send(&FromRelay::Welcome(welcome)).await.expect("a session");
    let said = within("the client to hang up", other.control.receive()).await;
    assert!(said.is_err(), "{said:?}");

    first.control.send(&FromRelay::Heartbeat { id: 2 }).await.expect("a session");
    let answer = within("an answer", first.control.receive()).await.expect("a message");
    assert_eq!(answer, FromClient::HeartbeatAck { id: 2 });
    drop((first, other));
    client.finish().await;
}

#[tokio::test]
async fn one_more_connection_of_a_client_that_stands_by_is_told_so() {
    let world = World::start().await;
    let mut standing_by = hello(&["default"]);
    let control = world.addrs.control;
    let mut first = RogueClient::connect(control, standing_by.clone()).await;
    assert!(matches!(first.receive().await, FromRelay::Welcome(_)));
    let mut newer = RogueClient::connect(control, hello(&["default"])).await;
    assert!(matches!(newer.receive().await, FromRelay::Welcome(_)));
    assert!(matches!(first.receive().await, FromRelay::Standby { .. }));

    standing_by.connection = 1;
    let mut second = RogueClient::connect(control, standing_by).await;
    assert!(matches!(second.receive().await, FromRelay::Welcome(_)));
    assert!(matches!(second.receive().await, FromRelay::Standby { .. }));
    drop((first, second, newer));
    world.stop().await;
}

#[tokio::test]
async fn a_relay_refuses_more_connections_than_a_client_may_have() {
    let world = World::start().await;
    let mut hello = hello(&["default"]);
    hello.connection = MAX_CONNECTIONS;
    let mut rogue = RogueClient::connect(world.addrs.control, hello).await;
    match rogue.receive().await {
        FromRelay::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::BadRequest),
        other => panic!("{other:?}"),
    }
    world.stop().await;
}
