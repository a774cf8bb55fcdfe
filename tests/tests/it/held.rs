//! Visitors that wait for a client which is coming back.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::Event;
use tests::{Peer, Tasks, World, eventually, local, scrape};

/// Long enough for any test.
const HOLD: Duration = Duration::from_secs(60);

/// Has a client for `service` come and go. Returns where its visitors go, whom it leaves waiting.
async fn left(world: &World, service: SocketAddr) -> SocketAddr {
    let client = world.client(service).await;
    let public = client.public(0);
    client.finish().await;
    world.shows("no client", |m| m.value("relay_sessions") == Some(0.0)).await;
    public
}

#[tokio::test]
async fn visitors_wait_for_a_client_that_comes_back_and_are_served_in_order() {
    let service = local::played().await;
    let world = World::start_with(|config| config.hold_visitors = HOLD).await;
    let public = left(&world, service.addr()).await;

    let mut visitors = Vec::new();
    for number in 0..20u8 {
        let mut visitor = Peer::connect(public).await;
        visitor.send(&[number]).await;
        visitors.push(visitor);
        world.shows("one more visitor", |m| m.visitors("default") == f64::from(number) + 1.0).await;
    }
    let client = world.client(service.addr()).await;
    for (number, visitor) in visitors.iter_mut().enumerate() {
        let mut at_service = service.accept().await;
        at_service.expect(&[number as u8]).await;
        at_service.send(b"served").await;
        visitor.expect(b"served").await;
    }
    drop(visitors);
    client.finish().await;
    world.counts("no_client", 0).await;
    world.stop().await;
}

#[tokio::test]
async fn visitors_of_a_client_that_does_not_come_back_get_what_they_always_got() {
    let hold = Duration::from_millis(300);
    let world = World::start_with(|config| config.hold_visitors = hold).await;
    let public = left(&world, local::nobody().await).await;
    let mut visitor = Peer::connect(public).await;
    visitor.send(b"GET / HTTP/1.1\r\n\r\n").await;
    let answer = visitor.read_to_end().await;
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", answer.escape_ascii());
    Peer::connect(public).await.expect_reset().await;
    world.stop().await;
}

#[tokio::test]
async fn the_client_that_comes_back_says_who_of_those_that_wait_is_let_in() {
    let service = local::echo().await;
    let world = World::start_with(|config| config.hold_visitors = HOLD).await;
    let public = left(&world, service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    world.shows("a visitor that waits", |m| m.visitors("default") == 1.0).await;

    let denying = format!("default={}?deny=127.0.0.0/8&port={}", service.addr(), public.port());
    let client = world.client_for(&[denying]).await;
    visitor.expect_reset().await;
    world.counts("denied", 1).await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn visitors_that_wait_do_not_keep_a_relay_from_stopping() {
    let world = World::start_with(|config| {
        config.hold_visitors = HOLD;
        config.grace = HOLD;
    })
    .await;
    let public = left(&world, local::nobody().await).await;
    let mut visitor = Peer::connect(public).await;
    world.shows("a visitor that waits", |m| m.visitors("default") == 1.0).await;

    world.relay_stop.gracefully.cancel();
    visitor.expect_reset().await;
    world.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_a_client_that_has_never_been_there() {
    let world = World::start_with(|config| config.hold_visitors = HOLD).await;
    Peer::connect(world.addrs.public).await.expect_reset().await;
    world.counts("no_client", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn no_visitor_is_lost_while_the_client_is_restarted() {
    let service = local::echo().await;
    let world = World::start_with(|config| config.hold_visitors = HOLD).await;
    let mut client = world.client(service.addr()).await;
    let public = client.public(0);
    let mut visitors = Tasks::new();
    let mut coming = tokio::time::interval(Duration::from_millis(5));
    for n in 0..400 {
        coming.tick().await;
        visitors.spawn(async move {
            Peer::connect(public).await.expect_echo(b"served in the end").await;
        });
        match n % 100 {
            50 => client.stop.gracefully.cancel(),
            // Some have come meanwhile.
            90 => {
                client.ended().await.expect("a good end");
                world.shows("visitors that wait", |m| m.visitors("default") >= 10.0).await;
                client = world.client(service.addr()).await;
            }
            _ => (),
        }
    }
    visitors.join().await;
    client.finish().await;
    world.counts("no_client", 0).await;
    world.stop().await;
}

#[tokio::test]
async fn visitors_that_come_while_others_still_wait_are_served_after_them() {
    let service = local::played().await;
    let world = World::start_with(|config| config.hold_visitors = HOLD).await;
    let public = left(&world, service.addr()).await;

    // One after the other: before the client is back, while it comes, and a while longer.
    let mut visitors = Vec::new();
    let mut arrives = async || {
        let mut visitor = Peer::connect(public).await;
        visitor.send(&(visitors.len() as u32).to_be_bytes()).await;
        visitors.push(visitor);
    };
    for _ in 0..300 {
        arrives().await;
    }
    let is_back = Cell::new(false);
    let comes_back = async {
        let client = world.client(service.addr()).await;
        is_back.set(true);
        client
    };
    let meanwhile = async {
        while !is_back.get() {
            arrives().await;
        }
    };
    let (client, ()) = tokio::join!(comes_back, meanwhile);
    for _ in 0..300 {
        arrives().await;
    }
    for number in 0..visitors.len() {
        service.accept().await.expect(&(number as u32).to_be_bytes()).await;
    }
    drop(visitors);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn nobody_waits_when_the_client_has_been_away_for_too_long() {
    let hold = Duration::from_millis(500);
    let world = World::start_with(|config| config.hold_visitors = hold).await;
    let public = left(&world, local::nobody().await).await;
    assert_eq!(scrape::get(public, "/").await.0, 503, "it has waited in vain");
    eventually("visitors to be turned away at once", async || {
        let came = Instant::now();
        assert_eq!(scrape::get(public, "/").await.0, 503);
        came.elapsed() < hold
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_crowd_that_waits_has_a_limit_and_leaves_room_for_others() {
    let world = World::start_with(|config| config.hold_visitors = HOLD).await;
    let public = left(&world, local::nobody().await).await;
    let mut visitors = Vec::new();
    for _ in 0..2048 {
        visitors.push(Peer::connect(public).await);
    }
    assert_eq!(scrape::get(public, "/").await.0, 503, "the first for whom there is no room");
    visitors.push(Peer::connect_from([127, 0, 0, 2], public).await);
    world.shows("all others to wait", |m| m.visitors("default") == 2049.0).await;
    drop(visitors);
    world.stop().await;
}

#[tokio::test]
async fn visitors_wait_for_a_local_service_that_is_healthy_again_after_a_while() {
    let service = local::echo().await;
    let world = World::start_with(|config| config.hold_visitors = HOLD).await;
    let options = "check=tcp&check-interval=50ms&check-failures=1&check-successes=1&withdraw=true";
    let mut client = world.client_for(&[format!("default={}?{options}", service.addr())]).await;
    let addr = service.addr();
    drop(service);
    client.event("to stand by", |event| matches!(event, Event::Standby(_))).await;
    let mut visitor = Peer::connect(client.public(0)).await;
    world.shows("a visitor that waits", |m| m.visitors("default") == 1.0).await;

    let _service = local::speaks_first_at(addr, b"back").await;
    visitor.expect(b"back").await;
    drop(visitor);
    client.finish().await;
    world.stop().await;
}
