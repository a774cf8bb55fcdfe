//! Who may visit: what the relay says, and what a client says of its tunnel.

use std::net::SocketAddr;

use shared::kit::net::{Networks, Rules};
use tests::{Peer, World, local, proxy};

fn networks(text: &str) -> Networks {
    text.parse().expect("networks")
}

fn deny(text: &str) -> Rules {
    Rules { deny: networks(text), ..Rules::default() }
}

async fn is_denied(public: SocketAddr) {
    assert_eq!(Peer::connect(public).await.expect_reset().await, b"");
}

async fn is_let_in(public: SocketAddr) {
    Peer::connect(public).await.expect_echo(b"hello").await;
}

#[tokio::test]
async fn whom_the_relay_denies_is_reset_and_counted_until_it_is_told_otherwise() {
    let service = local::echo().await;
    let mut world = World::start_with(|settings| settings.rules = deny("127.0.0.0/8")).await;
    let public = world.expose(service.addr()).await;
    is_denied(public).await;
    world.counts("denied", 1).await;

    let mut settings = relay::Settings::loopback();
    settings.rules = Rules { allow: networks("127.0.0.1,::1"), deny: networks("10.0.0.0/8") };
    world.relay_reconfigure.apply(relay::Config::new(settings.clone()).unwrap());
    is_let_in(public).await;

    settings.rules.allow = networks("10.0.0.0/8");
    world.relay_reconfigure.apply(relay::Config::new(settings).unwrap());
    is_denied(public).await;
    world.counts("denied", 2).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_says_who_may_visit_its_tunnel_and_no_other() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let address = service.addr();
    let tunnels = [
        format!("closed={address}?deny=127.0.0.0/8"),
        format!("elsewhere={address}?allow=10.0.0.0/8,2001:db8::/32"),
        format!("open={address}?allow=127.0.0.1"),
        format!("both={address}?allow=127.0.0.0/8&deny=127.0.0.1"),
    ];
    let public = world.expose_all(&tunnels).await;
    is_denied(public[0]).await;
    is_denied(public[1]).await;
    is_let_in(public[2]).await;
    is_denied(public[3]).await;
    let denied = |m: &tests::scrape::Scrape| m.visits("closed", "denied") == 1.0;
    world.shows("the visit to be counted", denied).await;
    world.stop().await;
}

#[tokio::test]
async fn the_rules_of_a_tunnel_change_with_its_client_and_open_visits_go_on() {
    let service = local::echo().await;
    let world = World::start().await;
    let open = format!("default={}", service.addr());
    let client = world.client_for(std::slice::from_ref(&open)).await;
    let public = client.public(0);
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"hello").await;

    let closed = world.config(&[format!("{open}?deny=127.0.0.0/8")]);
    client.reconfigure.apply(client::Config::new(closed).unwrap());
    tests::eventually("visitors to be denied", async || {
        !Peer::connect(public).await.tries_echo(b"hello").await
    })
    .await;
    visitor.expect_echo(b"still here").await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn the_rules_that_count_are_those_of_the_client_that_serves() {
    let service = local::echo().await;
    let world = World::start().await;
    let closed = format!("default={}?deny=127.0.0.0/8", service.addr());
    let older = world.client_for(&[closed]).await;
    let public = older.public(0);
    is_denied(public).await;
    let newer = world.client_for(&[format!("default={}", service.addr())]).await;
    is_let_in(public).await;
    newer.finish().await;
    tests::eventually("the older client to serve", async || {
        !Peer::connect(public).await.tries_echo(b"hello").await
    })
    .await;
    older.finish().await;
    // Nobody serves: the rules of whoever did last still count, so no 503 either.
    let mut visitor = Peer::connect(public).await;
    visitor.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(visitor.expect_reset().await, b"");
    world.stop().await;
}

#[tokio::test]
async fn behind_a_balancer_the_rules_are_for_whoever_visits_it() {
    let service = local::echo().await;
    let mut world = World::start_with(|settings| {
        settings.trust_proxy = networks("127.0.0.0/8");
        settings.rules = deny("203.0.113.0/24");
    })
    .await;
    let public = world.expose(service.addr()).await;
    let entrance = SocketAddr::from(([198, 51, 100, 1], 443));
    for (last, denied) in [([203, 0, 113, 7], true), ([203, 0, 114, 7], false)] {
        let mut balancer = Peer::connect(public).await;
        balancer.send(proxy::line((last, 1).into(), entrance).as_bytes()).await;
        if denied {
            balancer.expect_reset().await;
        } else {
            balancer.expect_echo(b"hello").await;
        }
    }
    world.counts("denied", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_cannot_send_rules_without_end() {
    use shared::control::protocol::FromRelay;
    use tests::rogue::{RogueClient, hello};
    let world = World::start().await;
    let mut many = hello(&["many"]);
    many.tunnels[0].rules = deny(&["1.2.3.4"; 65].join(","));
    let mut rogue = RogueClient::connect(world.addrs.control, many).await;
    let FromRelay::Refused(refusal) = rogue.receive().await else { panic!("not refused") };
    assert!(refusal.message.contains("64 networks"), "{}", refusal.message);
    drop(rogue);
    world.stop().await;
}
