//! Two clients for one tunnel: the newer serves, the older takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::Event;
use shared::control::protocol::{FromClient, FromRelay, RefusalCode, TunnelHealth};
use tests::raw::{self, RawPeer};
use tests::rogue::{RogueClient, hello};
use tests::{Peer, Tasks, World, eventually, local, within_time};

#[tokio::test]
async fn the_newest_client_serves_and_running_visits_stay_where_they_are() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let mut first = world.client(one.addr()).await;
    let public = first.public(0);
    let mut early = Peer::connect(public).await;
    early.expect(b"one").await;

    let second = world.client(two.addr()).await;
    assert_eq!(second.public(0), public);
    first.event("to stand by", |event| matches!(event, Event::Standby(_))).await;
    let mut late = Peer::connect(public).await;
    late.expect(b"two").await;
    early.expect_echo(b"still with the first").await;

    second.vanish().await;
    late.expect_reset().await;
    first.event("to be live", |event| matches!(event, Event::Live(_))).await;
    Peer::connect(public).await.expect(b"one").await;
    early.expect_echo(b"all the time").await;

    drop(early);
    first.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn the_older_client_may_leave_without_anybody_noticing() {
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    let world = World::start().await;
    let first = world.client(one.addr()).await;
    let second = world.client(two.addr()).await;
    let public = second.public(0);

    first.finish().await;
    Peer::connect(public).await.expect(b"two").await;
    second.finish().await;
    world.counts("no_client", 0).await;
    world.stop().await;
}

#[tokio::test]
async fn no_visitor_is_turned_away_while_clients_come_and_go() {
    let service = local::echo().await;
    let world = World::start().await;
    let first = world.client(service.addr()).await;
    let hammer = Hammer::start(first.public(0));

    for _ in 0..5 {
        let second = world.client(service.addr()).await;
        hammer.many_more().await;
        second.finish().await;
        hammer.many_more().await;
    }

    hammer.stop().await;
    first.finish().await;
    world.counts("no_client", 0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_vanishes_costs_no_visitor_that_comes_later() {
    let service = local::echo().await;
    let world = World::start().await;
    let first = world.client(service.addr()).await;
    for _ in 0..10 {
        let second = world.client(service.addr()).await;
        second.vanish().await;
        world.shows("one session", |m| m.value("relay_sessions") == Some(1.0)).await;
        let mut visitor = Peer::connect(first.public(0)).await;
        visitor.expect_echo(b"no gap").await;
    }
    first.finish().await;
    world.stop().await;
}

/// Visitors that come one after the other, without a pause, and must all be served.
struct Hammer {
    tasks: Tasks,
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Hammer {
    fn start(public: std::net::SocketAddr) -> Self {
        let (served, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut tasks = Tasks::new();
        for _ in 0..4 {
            let (served, stop) = (Arc::clone(&served), Arc::clone(&stop));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut visitor = Peer::connect(public).await;
                    visitor.expect_echo(b"served").await;
                    visitor.half_close().await;
                    visitor.expect_end().await;
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { tasks, served, stop }
    }

    /// Waits until many more visitors have been served.
    async fn many_more(&self) {
        let before = self.served.load(Ordering::Relaxed);
        eventually("visitors to be served", async || {
            self.served.load(Ordering::Relaxed) > before + 20
        })
        .await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join().await;
    }
}

#[tokio::test]
async fn a_relay_that_is_full_takes_back_those_whom_it_has() {
    // Room for one client.
    let world = World::start_with(|config| {
        config.descriptors = 40;
        config.limits.max_sessions_per_owner = Some(10);
    })
    .await;
    let (mine, other) = (hello(&["default"]), hello(&["default"]));
    let mut first = RogueClient::connect(world.addrs.control, mine.clone()).await;
    assert!(matches!(first.receive().await, FromRelay::Welcome(_)));

    let mut stranger = RogueClient::connect(world.addrs.control, other).await;
    let answer = stranger.receive().await;
    assert!(
        matches!(&answer, FromRelay::Refused(refusal) if refusal.code == RefusalCode::TooManyClients),
        "{answer:?}"
    );
    let mut back = RogueClient::connect(world.addrs.control, mine).await;
    assert!(matches!(back.receive().await, FromRelay::Welcome(_)));
    first.expect_end().await;
    drop(back);
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_and_stays_makes_room_for_its_next_session() {
    // A goodbye has seconds to take the last frames of visits along.
    const ROUNDS: u32 = 20;
    let world = World::start().await;
    let mine = hello(&["default"]);
    let goodbye = FromClient::Goodbye { reason: "for now".into() };
    let goodbye = raw::message(&serde_json::to_vec(&goodbye).unwrap());
    let rounds = async {
        let mut before = None::<RawPeer<_>>;
        for _ in 0..ROUNDS {
            let mut client = RawPeer::admitted(world.addrs.control, mine.clone()).await;
            if let Some(mut before) = before.take() {
                before.expect_closed().await;
            }
            client.send(&raw::data(0, 1, &goodbye)).await;
            before = Some(client);
        }
    };
    within_time(Duration::from_secs(u64::from(ROUNDS)), "rounds without a wait", rounds).await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_has_a_limit_of_clients_that_stand_by() {
    const MOST: usize = 64;
    let world = World::start().await;
    let mut clients = Vec::new();
    for _ in 0..MOST {
        let mut client = RogueClient::connect(world.addrs.control, hello(&["busy"])).await;
        assert!(matches!(client.receive().await, FromRelay::Welcome(_)));
        clients.push(client);
    }
    // Neither in a `Hello` nor later; and all of a `Hello`'s tunnels or none.
    let mut late = RogueClient::connect(world.addrs.control, hello(&["own", "busy"])).await;
    let answer = late.receive().await;
    let FromRelay::Refused(refusal) = &answer else { panic!("{answer:?}") };
    assert_eq!(refusal.code, RefusalCode::TooManyClients);
    assert!(refusal.message.contains("`busy`") && refusal.retry, "{refusal:?}");

    // Those who are there may come back, and one who goes makes room.
    drop(clients.pop());
    world.shows("one less", |m| m.value("relay_sessions") == Some((MOST - 1) as f64)).await;
    let mut next = RogueClient::connect(world.addrs.control, hello(&["busy"])).await;
    assert!(matches!(next.receive().await, FromRelay::Welcome(_)));
    drop((clients, next));
    world.stop().await;
}

#[tokio::test]
async fn who_serves_is_told_a_few_times_a_second_however_often_it_changes() {
    let world = World::start().await;
    let mut older = RogueClient::connect(world.addrs.control, hello(&["busy"])).await;
    assert!(matches!(older.receive().await, FromRelay::Welcome(_)));
    let since = Instant::now();
    let mut newer = RogueClient::connect(world.addrs.control, hello(&["busy"])).await;
    assert!(matches!(newer.receive().await, FromRelay::Welcome(_)));
    assert!(matches!(older.receive().await, FromRelay::Standby { .. }));
    for healthy in [false, true].into_iter().cycle().take(2000) {
        let name = "busy".parse().expect("a name");
        newer.say(&FromClient::Health { tunnels: vec![TunnelHealth { name, healthy }] }).await;
    }
    // What it says later is heard later.
    newer.say(&FromClient::Heartbeat { id: 1 }).await;
    while !matches!(newer.receive().await, FromRelay::HeartbeatAck { .. }) {}
    older.say(&FromClient::Heartbeat { id: 1 }).await;
    let mut told = 1;
    loop {
        match older.receive().await {
            FromRelay::Live { .. } | FromRelay::Standby { .. } => told += 1,
            FromRelay::HeartbeatAck { .. } => break,
            _ => (),
        }
    }
    let may_be = 1 + since.elapsed().as_millis() / 250;
    assert!(told <= may_be, "{told} times, not {may_be}");
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_stands_by_gets_none_of_those_whom_it_does_not_let_in() {
    let service = local::speaks_first(b"private").await;
    let world = World::start().await;
    let denying = format!("default={}?deny=127.0.0.0/8", service.addr());
    let older = world.client_for(&[denying]).await;
    let public = older.public(0);
    Peer::connect(public).await.expect_reset().await;
    // Serves without any rules, and answers no stream: those beyond yamux's backlog wait.
    let newer = RawPeer::admitted(world.addrs.control, hello(&["default"])).await;
    let mut visitors = Vec::new();
    for _ in 0..300 {
        visitors.push(Peer::connect(public).await);
    }
    world.shows("all visitors", |m| m.visitors("default") == 300.0).await;
    drop(newer);
    for visitor in &mut visitors {
        assert!(visitor.expect_reset().await.is_empty(), "led to the wrong client");
    }
    older.finish().await;
    world.stop().await;
}
