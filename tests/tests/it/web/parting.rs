//! Whoever is told something at last can read it, although it is still sending.

use std::net::SocketAddr;
use std::time::Duration;

use tests::http::{Frames, Outcome};
use tests::{Peer, RunningClient, World, eventually, local};

use super::{APP, app, world_of, world_with};

/// A relay that stops as late as its last visitor, however slow the machine is.
async fn patient_world(service: SocketAddr) -> (World, RunningClient, SocketAddr) {
    world_with(&app(service), |settings| settings.grace = Duration::from_secs(60)).await
}

#[tokio::test]
async fn a_header_of_a_megabyte_is_refused_with_words() {
    let service = local::played().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut peer = Peer::connect_unbuffered(http).await;
    peer.send(format!("GET / HTTP/1.1\r\nHost: {APP}\r\nX-Large: ").as_bytes()).await;
    // It says all of it before it reads anything.
    peer.send_all(&vec![b'x'; 1 << 20]).await;
    peer.send_all(b"\r\n\r\n").await;
    peer.expect(b"HTTP/1.1 431 ").await;
    let rest = peer.read_to_end().await;
    assert!(rest.ends_with(b"\r\n\r\n"), "{}", rest.escape_ascii());
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_is_whole_although_the_relay_stops_and_its_request_still_comes() {
    let service = local::played().await;
    let (world, client, http) = patient_world(service.addr()).await;
    let mut peer = Peer::connect_unbuffered(http).await;
    let post = format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 100000000\r\n\r\n");
    peer.send(post.as_bytes()).await;
    let mut at_service = service.accept().await;
    at_service.expect(b"POST / HTTP/1.1\r\n").await;
    let visitor = async {
        // The relay has heard that it is to stop.
        eventually("nobody to listen", async || Peer::try_connect(http).await.is_err()).await;
        let early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\
                     Connection: close\r\n\r\nearly";
        at_service.send(early.as_bytes()).await;
        peer.expect(b"HTTP/1.1 413 Content Too Large\r\n").await;
        peer.read_until(b"early").await;
        // Nobody takes the rest of the request any more.
        drop(at_service);
        peer.send_all(&vec![b'x'; 1 << 20]).await;
        peer.expect_end().await;
        drop(peer);
    };
    tokio::join!(world.stop(), visitor);
    drop(client);
}

#[tokio::test]
async fn a_visitor_by_http_2_who_still_sends_when_the_relay_stops_is_not_reset() {
    let service = local::played().await;
    let (world, client, http) = patient_world(service.addr()).await;
    let mut frames = Frames::connect(http).await;
    frames.get(1, "nobody.t.example", "/").await;
    let Outcome::Answered(404, _) = frames.outcome(1).await else { panic!("not answered") };
    let visitor = async {
        frames.answer_ping_with(&vec![0; 4 << 20]).await;
        drop(frames);
    };
    tokio::join!(world.stop(), visitor);
    drop(client);
}

#[tokio::test]
async fn a_visitor_by_http_2_takes_up_its_place_until_it_is_gone() {
    let service = local::played().await;
    let (world, client, http) = world_with(&app(service.addr()), |settings| {
        settings.limits.max_visitors_per_source = Some(1);
        settings.web.keep_alive = Duration::from_millis(50);
    })
    .await;
    let refused = "relay_limits_total{limit=\"visitors_per_source\"}";
    eventually("no place beside one that is told to go", async || {
        let mut parting = Frames::connect(http).await;
        parting.expect_gone().await;
        // Time enough for a place that is given back at once.
        let before = world.metrics().await.value(refused);
        Frames::connect(http).await.expect_gone().await;
        drop(parting);
        world.metrics().await.value(refused) > before
    })
    .await;
    client.finish().await;
    world.stop().await;
}
