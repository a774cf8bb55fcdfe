//! What requests of one source may have of a tunnel, and of the client behind it.

use std::net::SocketAddr;

use shared::control::protocol::{FromRelay, HttpOptions};
use tests::http::Line;
use tests::peer::dial_from;
use tests::rogue::{self, RogueClient};
use tests::web::{tunnel, with_http};
use tests::{World, local};

use super::{APP, app, world_with};

/// Somebody else than the tests' own visitors.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 9];

/// A request that waits for its answer, by a connection of its own.
pub(super) async fn waiting(http: SocketAddr, host: &str, more: &str) -> Line {
    let mut line = Line::connect(http).await;
    line.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).await;
    line
}

/// That a request is turned away.
async fn expect_turned_away(mut line: Line) {
    let answer = line.answer().await;
    assert_eq!((answer.status, answer.headers.of("x-relay-error")), (503, Some("over_limit")));
}

/// A client of the tunnels `app` and `other` with room for four streams.
pub(super) async fn with_four_streams(world: &World) -> RogueClient {
    let mut hello = rogue::hello(&[]);
    hello.max_streams = 4;
    hello.tunnels = ["app", "other"].map(|name| tunnel(name, HttpOptions::default())).into();
    let mut client = RogueClient::connect(world.addrs.control, hello).await;
    assert!(matches!(client.receive().await, FromRelay::Welcome(_)));
    client
}

async fn counts(world: &World, limit: &str) {
    let series = format!("relay_limits_total{{limit=\"{limit}\"}}");
    world.shows(limit, |metrics| metrics.value(&series) == Some(1.0)).await;
}

#[tokio::test]
async fn one_source_leaves_half_of_a_tunnel_to_others() {
    let service = local::played().await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.max_visitors = 4).await;
    let mut greedy = Vec::new();
    for _ in 0..2 {
        greedy.push((waiting(http, APP, "").await, service.accept().await));
    }
    expect_turned_away(waiting(http, APP, "").await).await;
    counts(&world, "tunnel_share_per_source").await;

    let mut other = Line::over(dial_from(ELSEWHERE, http).await.expect("a connection"));
    other.get(APP, "/").await;
    let mut at_service = service.accept().await;
    at_service.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    assert_eq!(other.answer().await.status, 204);

    // What comes to an end makes room.
    let (mut line, mut at_service) = greedy.pop().expect("one that waits");
    at_service.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    assert_eq!(line.answer().await.status, 204);
    world.shows("room", |metrics| metrics.requests("app") == 1.0).await;
    greedy.push((waiting(http, APP, "").await, service.accept().await));
    drop((greedy, other));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_those_who_visit_it_share_and_not_the_proxy() {
    let service = local::played().await;
    let (world, client, http) = world_with(&app(service.addr()), |settings| {
        settings.max_visitors = 4;
        settings.trust_proxy = "127.0.0.1".parse().expect("a network");
    })
    .await;
    let mut waits = Vec::new();
    for visitor in [1, 1, 2] {
        let said = format!("X-Forwarded-For: 192.0.2.{visitor}\r\n");
        waits.push((waiting(http, APP, &said).await, service.accept().await));
    }
    expect_turned_away(waiting(http, APP, "X-Forwarded-For: 192.0.2.1\r\n").await).await;
    counts(&world, "tunnel_share_per_source").await;
    drop(waits);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_proxy_that_names_nobody_is_no_source() {
    let world = World::start_with(|settings| {
        with_http(settings);
        settings.max_visitors = 4;
        settings.trust_proxy = "127.0.0.1".parse().expect("a network");
    })
    .await;
    let http = world.addrs.http.expect("a port for HTTP");
    let mut client = with_four_streams(&world).await;
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push((waiting(http, APP, "").await, client.stream().await));
    }
    expect_turned_away(waiting(http, APP, "").await).await;
    counts(&world, "visitors_per_tunnel").await;
    drop(waits);
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn one_source_leaves_half_of_a_clients_streams_to_others() {
    let world = World::start_with(with_http).await;
    let http = world.addrs.http.expect("a port for HTTP");
    let mut client = with_four_streams(&world).await;
    let mut greedy = Vec::new();
    for _ in 0..2 {
        greedy.push((waiting(http, APP, "").await, client.stream().await));
    }
    // All tunnels of the client share its streams.
    expect_turned_away(waiting(http, "other.t.example", "").await).await;
    counts(&world, "client_share_per_source").await;

    let mut other = Line::over(dial_from(ELSEWHERE, http).await.expect("a connection"));
    other.get("other.t.example", "/").await;
    let its = client.stream().await;
    drop((greedy, other, its));
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_source_that_has_its_share_of_one_client_goes_to_another() {
    let world = World::start_with(with_http).await;
    let http = world.addrs.http.expect("a port for HTTP");
    let mut idle = with_four_streams(&world).await;
    let mut serving = with_four_streams(&world).await;
    let mut waits = Vec::new();
    for client in [&mut serving, &mut idle] {
        for _ in 0..2 {
            waits.push((waiting(http, APP, "").await, client.stream().await));
        }
    }
    // Of both, which is one request that is turned away.
    expect_turned_away(waiting(http, APP, "").await).await;
    counts(&world, "client_share_per_source").await;
    drop(waits);
    idle.close().await;
    serving.close().await;
    world.stop().await;
}
