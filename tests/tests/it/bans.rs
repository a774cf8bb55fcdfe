//! Those who are refused again and again are kept out for a while.

use std::net::SocketAddr;

use shared::kit::net::Rules;
use tests::raw::RawPeer;
use tests::scrape::{Scrape, ask, get};
use tests::{Peer, World, local, proxy};

/// Where somebody comes from whom nobody wants.
const UNWANTED: [u8; 4] = [127, 0, 0, 2];

/// Three refusals, and that is it.
fn ban(settings: &mut relay::Settings, how: &str) {
    settings.bans.rule = Some(how.parse().expect("a rule"));
    settings.rules =
        Rules { deny: "127.0.0.2,203.0.113.0/24".parse().expect("networks"), ..Rules::default() };
}

async fn banned_world() -> World {
    World::start_with(|settings| ban(settings, "3/1m for 10m")).await
}

/// Is turned away as somebody who may not visit.
async fn denied(public: SocketAddr, ip: [u8; 4]) {
    Peer::connect_from(ip, public).await.expect_reset().await;
}

fn value(metrics: &Scrape, series: &str) -> f64 {
    metrics.value(series).unwrap_or_else(|| panic!("no series {series}"))
}

/// Waits until so many sources are banned, and so many of their connections have been dropped.
async fn shows(world: &World, bans: usize, dropped: usize) {
    let what = format!("{bans} bans and {dropped} connections dropped");
    let expected = |m: &Scrape| {
        value(m, "relay_bans") == bans as f64
            && value(m, "relay_banned_connections_total") == dropped as f64
    };
    world.shows(&what, expected).await;
}

#[tokio::test]
async fn whoever_is_denied_again_and_again_is_banned_until_somebody_lifts_it() {
    let service = local::echo().await;
    let mut world = banned_world().await;
    let (public, admin) = (world.expose(service.addr()).await, world.addrs.admin);
    for _ in 0..3 {
        denied(public, UNWANTED).await;
    }
    world.counts("denied", 3).await;
    shows(&world, 1, 0).await;
    // Dropped: neither visited, nor counted as denied.
    denied(public, UNWANTED).await;
    shows(&world, 1, 1).await;
    // And no client either.
    Peer::connect_from(UNWANTED, world.addrs.control).await.read_to_end_or_reset().await;
    shows(&world, 1, 2).await;
    // Nobody else.
    Peer::connect(public).await.expect_echo(b"hello").await;
    world.counts("denied", 3).await;

    let (status, json) = get(admin, "/bans").await;
    assert_eq!(status, 200);
    assert!(json.starts_with(r#"[{"source":"127.0.0.2","seconds_left":"#), "{json}");
    assert_eq!(ask(admin, "DELETE", "/bans/127.0.0.3").await.0, 404);
    assert_eq!(ask(admin, "DELETE", "/bans/nobody").await.0, 400);
    assert_eq!(ask(admin, "GET", "/bans/127.0.0.2").await, (405, "only DELETE\n".into()));
    assert_eq!(ask(admin, "DELETE", "/bans/127.0.0.2").await.0, 200);
    assert_eq!(get(admin, "/bans").await.1, "[]");
    denied(public, UNWANTED).await;
    world.counts("denied", 4).await;
    shows(&world, 0, 2).await;
    world.stop().await;
}

#[tokio::test]
async fn a_ban_is_over_after_its_time() {
    let service = local::echo().await;
    let mut world = World::start_with(|settings| ban(settings, "1/1m for 300ms")).await;
    let public = world.expose(service.addr()).await;
    denied(public, UNWANTED).await;
    world.counts("denied", 1).await;
    tests::eventually("to be denied once more, and not dropped", async || {
        denied(public, UNWANTED).await;
        world.metrics().await.visits("default", "denied") > 1.0
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_has_nobody_banned_whom_it_does_not_want() {
    let service = local::echo().await;
    let mut world = banned_world().await;
    let addr = service.addr();
    let tunnels = [format!("mine={addr}?deny=0.0.0.0/0"), format!("theirs={addr}")];
    let [mine, theirs] = world.expose_all(&tunnels).await[..] else { panic!("two tunnels") };
    for _ in 0..10 {
        Peer::connect(mine).await.expect_reset().await;
    }
    Peer::connect(theirs).await.expect_echo(b"hello").await;
    shows(&world, 0, 0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_balancer_that_visits_by_itself_is_not_banned() {
    let service = local::echo().await;
    let mut world = World::start_with(|settings| {
        settings.bans.rule = "1/1m for 10m".parse().ok();
        settings.rules.deny = "127.0.0.1".parse().expect("a network");
        settings.trust_proxy = "127.0.0.1".parse().expect("a network");
    })
    .await;
    let public = world.expose(service.addr()).await;
    for _ in 0..3 {
        let mut balancer = Peer::connect(public).await;
        // LOCAL: whether the port is there.
        balancer.send(&[proxy::SIGNATURE, &[0x20, 0, 0, 0]].concat()).await;
        balancer.expect_reset().await;
    }
    shows(&world, 0, 0).await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_says_nonsense_to_the_control_port_is_banned() {
    let world = banned_world().await;
    for count in 1..=3 {
        let mut stranger = Peer::connect_from(UNWANTED, world.addrs.control).await;
        stranger.send(b"GET / HTTP/1.1\r\n\r\n").await;
        stranger.read_to_end_or_reset().await;
        let invalid = |m: &Scrape| m.handshakes("invalid") == f64::from(count);
        world.shows("another handshake that is none", invalid).await;
    }
    shows(&world, 1, 0).await;
    Peer::connect_from(UNWANTED, world.addrs.control).await.read_to_end_or_reset().await;
    shows(&world, 1, 1).await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_floods_the_relay_as_a_client_is_banned() {
    let world = World::start_with(|settings| ban(settings, "1/1m for 10m")).await;
    let hello = tests::rogue::hello(&["default"]);
    let mut rogue = RawPeer::admitted(world.addrs.control, hello).await;
    rogue.send(&tests::raw::header(tests::raw::WINDOW, tests::raw::SYN, 3, 0)).await;
    rogue.expect_closed().await;
    shows_banned_loopback(&world).await;
    drop(rogue);
    world.stop().await;
}

/// Waits until this machine's own address is banned.
async fn shows_banned_loopback(world: &World) {
    world.shows("a ban", |m| value(m, "relay_bans") == 1.0).await;
    assert!(get(world.addrs.admin, "/bans").await.1.contains(r#""source":"127.0.0.1""#));
}

#[tokio::test]
async fn some_are_never_banned_however_often_they_are_refused() {
    let service = local::echo().await;
    let mut world = World::start_with(|settings| {
        ban(settings, "3/1m for 10m");
        settings.bans.never = "127.0.0.0/8".parse().expect("networks");
    })
    .await;
    let public = world.expose(service.addr()).await;
    for _ in 0..10 {
        denied(public, UNWANTED).await;
    }
    world.counts("denied", 10).await;
    shows(&world, 0, 0).await;
    world.stop().await;
}

#[tokio::test]
async fn behind_a_balancer_its_visitors_are_banned_and_never_the_balancer() {
    let service = local::echo().await;
    let mut world = World::start_with(|settings| {
        ban(settings, "3/1m for 10m");
        settings.trust_proxy = "127.0.0.1".parse().expect("networks");
    })
    .await;
    let public = world.expose(service.addr()).await;
    let entrance = SocketAddr::from(([198, 51, 100, 1], 443));
    for _ in 0..5 {
        let mut balancer = Peer::connect(public).await;
        balancer.send(proxy::line(([203, 0, 113, 7], 1).into(), entrance).as_bytes()).await;
        balancer.expect_reset().await;
    }
    shows(&world, 1, 2).await;
    let mut balancer = Peer::connect(public).await;
    balancer.send(proxy::line(([198, 18, 0, 1], 1).into(), entrance).as_bytes()).await;
    balancer.expect_echo(b"hello").await;
    world.stop().await;
}

#[tokio::test]
async fn a_balancer_in_front_of_the_control_port_is_not_banned_for_those_who_come_by_it() {
    let world = World::start_with(|settings| {
        ban(settings, "3/1m for 10m");
        settings.trust_proxy = "127.0.0.0/8".parse().expect("a network");
    })
    .await;
    for _ in 0..3 {
        let mut stranger = Peer::connect(world.addrs.control).await;
        stranger.send(b"GET / HTTP/1.1\r\n\r\n").await;
        stranger.read_to_end_or_reset().await;
    }
    world.shows("strangers", |m| m.handshakes("invalid") == 3.0).await;
    shows(&world, 0, 0).await;
    let service = local::echo().await;
    world.client(service.addr()).await.finish().await;
    world.stop().await;
}
