//! Clients that have been admitted and then flood the relay with frames of one kind or another. Each
//! loses its session, for a reason that an operator can read and count; others notice nothing.

use std::net::SocketAddr;
use std::pin::pin;

use shared::control::protocol::{FromClient, FromRelay, PAGE, TunnelHealth, TunnelName};
use tests::floods::floods;
use tests::process::{Client, Relay};
use tests::raw::{ACK, RawPeer, data};
use tests::rogue::{RogueClient, hello};
use tests::scrape::{Scrape, scrape, shows};
use tests::usage::raise_file_limit;
use tests::{Peer, Tasks, World, local, within};

/// What the relay may hold more than before once all floods are over, in bytes.
const GROWTH: f64 = 32e6;

/// Visits come one after the other for as long as `meanwhile` takes, each completed.
async fn visits_during(public: SocketAddr, meanwhile: impl Future<Output = ()>) {
    let visits = async {
        loop {
            let mut visitor = Peer::connect(public).await;
            visitor.expect_echo(b"undisturbed").await;
            visitor.half_close().await;
            visitor.expect_end().await;
        }
    };
    let (mut meanwhile, mut visits) = (pin!(meanwhile), pin!(visits));
    tokio::select! {
        () = &mut meanwhile => (),
        () = &mut visits => (),
    }
}

fn breaches(metrics: &Scrape, kind: &str) -> f64 {
    let series = format!("relay_breaches_total{{kind=\"{kind}\"}}");
    metrics.value(&series).unwrap_or_else(|| panic!("no series {series}"))
}

async fn memory(relay: &Relay) -> f64 {
    scrape(relay.admin).await.value("process_resident_memory_bytes").expect("a size")
}

#[tokio::test]
async fn each_flood_of_frames_ends_the_session_it_came_in_for_a_reason_that_is_told() {
    raise_file_limit();
    let service = local::echo().await;
    let relay = Relay::start(&[]).await;
    let _client = Client::expose(relay.control, service.addr()).await;
    let mut before = None;
    for flood in floods() {
        let counted = breaches(&scrape(relay.admin).await, flood.kind);
        visits_during(relay.public, async {
            let mut rogue = RawPeer::admitted(relay.control, hello(&["rogue"])).await;
            flood.send(&mut rogue).await;
            rogue.expect_closed().await;
            let one = |m: &Scrape| breaches(m, flood.kind) == counted + 1.0;
            shows(relay.admin, &format!("a {} after {}", flood.kind, flood.what), one).await;
        })
        .await;
        relay.logged(flood.reason).await;
        if before.is_none() {
            before = Some(memory(&relay).await);
        }
    }
    let grown = memory(&relay).await - before.expect("a flood");
    assert!(grown < GROWTH, "{grown} bytes");
    let lost = scrape(relay.admin).await;
    for outcome in ["reset", "lost", "limit", "timeout", "no_client"] {
        // The last visit may have been given up in the middle by the test itself.
        assert!(lost.visits("default", outcome) <= floods().len() as f64, "{outcome}");
    }
}

#[tokio::test]
async fn whoever_sends_more_than_a_visitor_takes_loses_its_session() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose_all(&[format!("good={}", service.addr())]).await[0];
    let mut rogue = RawPeer::admitted(world.addrs.control, hello(&["default"])).await;
    let _visitor = Peer::connect(world.addrs.public).await;
    let open = rogue.expect("a visit", |frame| frame.stream == 2 && frame.length > 0).await;
    // SEEN, CONNECTED, and the header of a record that never ends.
    let record = [2, 0, 0, 0, 3, 0, 0, 0, 5, 0xff, 0xff, 0xff];
    rogue.send(&data(ACK, open.stream, &record)).await;
    visits_during(public, async {
        let frame = data(0, open.stream, &[7; 100_000]);
        while rogue.try_send(&frame).await.is_ok() {}
        let one = |m: &Scrape| breaches(m, "bad_frame") == 1.0;
        world.shows("the session to end", one).await;
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_message_weighs_as_much_as_the_tunnels_that_it_names() {
    let world = World::start().await;
    let mut rogue = RogueClient::connect(world.addrs.control, hello(&["rogue"])).await;
    assert!(matches!(rogue.receive().await, FromRelay::Welcome(_)));
    let name: TunnelName = "rogue".parse().unwrap();
    let health = TunnelHealth { name, healthy: false };
    let message = FromClient::Health { tunnels: vec![health; PAGE] };
    let mut said = 0;
    // Far fewer messages than there may be, of which each is as good as any.
    let talk = async {
        while rogue.control.send(&message).await.is_ok() {
            said += 1;
            assert!(said < 4000, "it may go on");
        }
    };
    within("the session to end", talk).await;
    assert!(said >= 256, "{said} messages, which is less than there may be");
    world.shows("the session to end", |m: &Scrape| breaches(m, "message_flood") == 1.0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_resets_each_visit_at_once_harms_its_own_visitors_alone() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose_all(&[format!("good={}", service.addr())]).await[0];
    let mut rogue = RogueClient::admitted(world.addrs.control).await;
    let mut visitors = Tasks::new();
    for _ in 0..500 {
        let public = world.addrs.public;
        visitors.spawn(async move { drop(Peer::connect(public).await.expect_reset().await) });
    }
    visits_during(public, async {
        for _ in 0..500 {
            drop(within("a visit", rogue.inbound.next()).await.expect("a session"));
        }
        visitors.join().await;
        world.counts("lost", 500).await;
    })
    .await;
    let breaches = world.metrics().await;
    let breaches = breaches.text.lines().filter(|line| line.starts_with("relay_breaches_total"));
    assert!(
        breaches.clone().all(|line| line.ends_with(" 0")),
        "{:?}",
        breaches.collect::<Vec<_>>()
    );
    drop(rogue);
    world.stop().await;
}
