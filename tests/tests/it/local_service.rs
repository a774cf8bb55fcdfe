//! Local services that are not there, or do not answer.

use std::time::{Duration, Instant};

use tests::{Peer, RunningClient, World, local};

#[tokio::test]
async fn a_visitor_of_a_service_that_is_down_is_let_go_within_a_second() {
    let mut world = World::start().await;
    let public = world.expose(local::nobody().await).await;

    let start = Instant::now();
    Peer::connect(public).await.expect_reset().await;
    assert!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());

    world.counts("local_refused", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_speaks_at_once_to_a_service_that_is_down_is_reset() {
    let mut world = World::start().await;
    let public = world.expose(local::nobody().await).await;

    let mut visitor = Peer::connect(public).await;
    visitor.send(b"GET / HTTP/1.1\r\n\r\n").await;
    visitor.expect_reset().await;

    world.counts("local_refused", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_comes_up_is_found_by_the_next_visitor() {
    let addr = local::nobody().await;
    let mut world = World::start().await;
    let public = world.expose(addr).await;
    Peer::connect(public).await.expect_reset().await;

    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    let mut visitor = Peer::connect(public).await;
    let (socket, _) = tests::within("the visitor", listener.accept()).await.unwrap();
    Peer::from(socket).send(b"up again").await;
    visitor.expect(b"up again").await;

    drop(visitor);
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_answers_nothing_is_given_up_and_bothers_nobody_else() {
    let hole = local::black_hole();
    let echo = local::echo().await;
    let world = World::start().await;
    let tunnels = [format!("default={}", hole.addr()), format!("echo={}", echo.addr())];
    let mut config = world.config(&tunnels);
    config.connect_timeout = Duration::from_secs(1);
    let mut client = RunningClient::start(config);
    client.live().await;

    let mut lost = Vec::new();
    // More than yamux keeps unanswered: the client answers before it connects.
    for _ in 0..300 {
        lost.push(Peer::connect(client.public(0)).await);
    }
    let mut visitor = Peer::connect(client.public(1)).await;
    for _ in 0..20 {
        visitor.expect_echo(b"undisturbed").await;
    }
    let refused_yet = world.metrics().await.visits("default", "local_timeout");
    assert!(refused_yet < 300.0, "the echo had to wait for the black hole");
    for visitor in &mut lost {
        visitor.expect_reset().await;
    }
    world.counts("local_timeout", 300).await;
    visitor.expect_echo(b"still here").await;

    drop(visitor);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_that_leaves_while_the_service_does_not_answer_is_forgotten() {
    let hole = local::black_hole();
    let mut world = World::start().await;
    let public = world.expose(hole.addr()).await;

    let visitor = Peer::connect(public).await;
    world.shows("a visitor", |m| m.value("relay_visitors{tunnel=\"default\"}") == Some(1.0)).await;
    visitor.reset();
    world.counts("reset", 1).await;

    world.stop().await;
}
