//! The admin port: what it tells, and that asking delays no visitor.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use tests::wait::PATIENCE;
use tests::{Peer, World, local, scrape};

#[tokio::test]
async fn the_admin_port_tells_health_and_refuses_the_rest() {
    let world = World::start().await;
    let admin = world.addrs.admin;
    assert_eq!(scrape::get(admin, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(scrape::get(admin, "/readyz").await, (200, "ok\n".to_owned()));
    let (status, hint) = scrape::get(admin, "/").await;
    assert_eq!((status, hint.starts_with("try /metrics")), (404, true), "{hint}");

    for path in
        ["/metrics", "/healthz", "/readyz", "/api/health", "/api/tunnels", "/snapshot", "/bans"]
    {
        let head = answer(&world, "HEAD", path).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        let refused = answer(&world, "POST", path).await;
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
        assert!(refused.to_ascii_lowercase().contains("\r\nallow: get,head\r\n"), "{refused}");
        assert!(refused.ends_with("only GET and HEAD\n"), "{refused}");
    }
    world.stop().await;
}

#[tokio::test]
async fn readiness_ends_when_the_relay_stops_and_health_does_not() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"still here").await;
    world.relay_stop.gracefully.cancel();
    assert_eq!(
        scrape::get(world.addrs.admin, "/readyz").await,
        (503, "stopping\n".to_owned()),
        "an open visit may finish"
    );
    assert_eq!(scrape::get(world.addrs.admin, "/healthz").await.0, 200);
    visitor.half_close().await;
    visitor.expect_end().await;
    world.stop().await;
}

#[tokio::test]
async fn metrics_are_told_while_the_thread_of_the_visitors_is_busy() {
    let world = World::start().await;
    assert_eq!(scrape::get(world.addrs.admin, "/healthz").await.0, 200, "it runs");

    // The relay has no other thread for visitors than this one, which waits here.
    let mut prometheus = TcpStream::connect(world.addrs.admin).unwrap();
    prometheus.set_read_timeout(Some(PATIENCE)).unwrap();
    prometheus
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    prometheus.read_to_end(&mut answer).expect("an answer from another thread");
    let (status, text) = scrape::parse(answer);
    assert_eq!(status, 200);
    assert!(text.contains("\nrelay_sessions 0\n"), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn visits_go_on_while_many_read_the_metrics_at_a_crawl() {
    const CLIENTS: usize = 8;
    const TUNNELS: usize = 50;
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    for client in 0..CLIENTS {
        let name = |i| format!("busy-{client}-{i}={}", service.addr());
        let tunnels: Vec<_> = (0..TUNNELS).map(name).collect();
        for public in world.expose_all(&tunnels).await {
            Peer::connect(public).await.expect_echo(b"something to count").await;
        }
    }

    // More than kernel and relay take in for somebody who does not read.
    let mut crawling = Vec::new();
    for _ in 0..8 {
        let mut reader = Peer::connect_narrow(world.addrs.admin).await;
        reader.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        reader.expect(b"HTTP/1.1 200 OK\r\n").await;
        crawling.push(reader);
    }
    let mut visitor = Peer::connect(public).await;
    for _ in 0..100 {
        visitor.expect_echo(b"none of my business").await;
        for reader in &mut crawling {
            reader.take(16).await;
        }
    }
    // And somebody else gets theirs whole.
    let whole = world.metrics().await;
    assert_eq!(whole.visitors("default"), 1.0);
    for mut reader in crawling {
        let rest = reader.read_to_end().await;
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "whole, although it took long");
    }
    visitor.expect_echo(b"still here").await;
    drop(visitor);
    world.stop().await;
}

#[tokio::test]
async fn a_snapshot_tells_who_serves_which_tunnel() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let first = world.client_for(&[format!("web={}", service.addr())]).await;
    let public = world.expose_all(&[format!("web={}", service.addr())]).await;
    let mut visitor = Peer::connect(public[0]).await;
    visitor.expect_echo(b"seven b").await;

    let seen = scrape::snapshot(world.addrs.admin).await;
    let names: Vec<_> = list(&seen, "tunnels").iter().map(|tunnel| &tunnel["name"]).collect();
    assert_eq!(names, ["default", "web"]);
    let sessions = list(&seen, "sessions");
    let ids: Vec<_> = sessions.iter().map(|session| session["id"].clone()).collect();
    assert_eq!(ids.len(), 2, "{seen}");
    for session in sessions {
        assert!(session["agent"].as_str().is_some_and(|agent| agent.contains("client")), "{seen}");
        assert!(session["address"].as_str().is_some_and(|at| at.starts_with("127.0.0.1:")));
        assert!(session["age_seconds"].as_f64().is_some_and(|age| age >= 0.0));
    }

    let web = &seen["tunnels"][1];
    assert_eq!(web["entrances"][0], format!("port {}", public[0].port()));
    assert_eq!(web["local"], service.addr().to_string());
    assert_eq!((&web["owner"], &sessions[0]["owner"]), (&"(anybody)".into(), &"(anybody)".into()));
    assert_eq!(web["clients"][0]["healthy"], true);
    assert_eq!(web["clients"][0]["standing"], "live");
    assert_eq!(web["clients"][0]["sessions"][0], ids[1], "the one that came last");
    assert_eq!(web["clients"][1]["standing"], "standby");
    assert_eq!(web["clients"][1]["sessions"][0], ids[0]);
    assert_eq!((&web["visitors"], &web["bytes_in"]), (&1.into(), &7.into()), "{seen}");
    let default = &seen["tunnels"][0];
    assert_eq!((list(default, "clients").len(), &default["visitors"]), (0, &0.into()), "{seen}");

    visitor.half_close().await;
    visitor.expect_end().await;
    world.shows("the visit to be over", |metrics| metrics.visits("web", "completed") == 1.0).await;
    first.finish().await;
    world.shows("one client to be gone", |m| m.value("relay_sessions") == Some(1.0)).await;
    let seen = scrape::snapshot(world.addrs.admin).await;
    assert_eq!(seen["tunnels"][1]["visits"], serde_json::json!({ "completed": 1 }));
    assert_eq!(list(&seen["tunnels"][1], "clients").len(), 1, "{seen}");
    assert_eq!(list(&seen, "sessions").len(), 1, "{seen}");
    world.stop().await;
}

/// The whole answer to a request, as text.
async fn answer(world: &World, method: &str, path: &str) -> String {
    let mut peer = Peer::connect(world.addrs.admin).await;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    peer.send(request.as_bytes()).await;
    String::from_utf8(peer.read_to_end().await).expect("an answer in UTF-8")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}
