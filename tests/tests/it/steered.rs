//! What an operator sees of sessions and visits, and ends.

use std::net::SocketAddr;

use serde_json::Value;
use tests::scrape::{ask, get, snapshot};
use tests::wait::eventually;
use tests::{Peer, RunningClient, World, local};

/// All visits.
async fn visits(admin: SocketAddr) -> Vec<Value> {
    let (status, json) = get(admin, "/api/v1/visits").await;
    assert_eq!(status, 200, "{json}");
    let page: Value = serde_json::from_str(&json).expect("JSON");
    page["items"].as_array().expect("visits").clone()
}

async fn delete(admin: SocketAddr, path: &str) -> u16 {
    ask(admin, "DELETE", path).await.0
}

#[tokio::test]
async fn a_visit_is_seen_while_it_lasts_and_cut_without_touching_others() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let (public, admin) = (world.expose(service.addr()).await, world.addrs.admin);
    let (mut cut, mut stays) = (Peer::connect(public).await, Peer::connect(public).await);
    cut.expect_echo(b"hello").await;
    stays.expect_echo(b"hi").await;
    let seen = visits(admin).await;
    let bytes: Vec<_> = seen.iter().map(|visit| &visit["bytes_out"]).collect();
    assert_eq!(bytes, [5, 2]);
    let visit = &seen[0];
    assert_eq!((&visit["tunnel"], &visit["kind"]), (&"default".into(), &"tcp".into()));
    assert_eq!(visit["visitor"], cut.addr().to_string());
    assert_eq!((&visit["session"], &visit["bytes_in"]), (&1.into(), &5.into()));

    let path = format!("/api/v1/visits/{}", visit["id"].as_str().expect("an id"));
    assert_eq!(delete(admin, &path).await, 204);
    cut.expect_reset().await;
    world.counts("reset", 1).await;
    stays.expect_echo(b"still here").await;
    assert_eq!(visits(admin).await.len(), 1);
    assert_eq!(delete(admin, &path).await, 404, "it is over");
    assert_eq!(delete(admin, "/api/v1/visits/42").await, 404);
    drop(stays);
    eventually("no visits", async || visits(admin).await.is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_whose_session_an_operator_ends_is_told_and_comes_back() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let (public, admin) = (world.expose(service.addr()).await, world.addrs.admin);
    let seen = snapshot(admin).await;
    let session = &seen["sessions"][0];
    assert_eq!((&session["id"], &session["tunnels"]), (&1.into(), &1.into()), "{session}");
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"hello").await;
    assert_eq!(snapshot(admin).await["sessions"][0]["streams"], 1);

    assert_eq!(delete(admin, "/api/v1/sessions/2").await, 404);
    assert_eq!(delete(admin, "/api/v1/sessions/1").await, 204);
    visitor.expect_reset().await;
    let client: &mut RunningClient = world.first_client();
    client.lost().await;
    client.live().await;
    Peer::connect(public).await.expect_echo(b"again").await;
    assert_eq!(snapshot(admin).await["sessions"][0]["id"], 2);
    world.stop().await;
}
