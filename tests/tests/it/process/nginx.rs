//! nginx in front of the relay and behind the client: the PROXY protocol as it speaks it, and TLS that
//! it ends.

use std::net::SocketAddr;

use tests::nginx::{HTTP, STREAM};
use tests::{Nginx, Peer, RunningClient, Secured, World, local};

/// A web server that answers with the address of who visits.
async fn web(address: SocketAddr) -> Nginx {
    let server = format!(
        "http {{ {HTTP} server {{ listen {address} proxy_protocol;\n\
         location / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_port\"; }} }} }}"
    );
    Nginx::start(address, &server).await
}

async fn ask(visitor: &mut Peer) -> String {
    visitor.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
    let (status, body) = tests::scrape::parse(visitor.read_to_end().await);
    assert_eq!(status, 200);
    body
}

#[tokio::test]
async fn behind_an_nginx_that_ends_tls_a_token_is_shown_only_by_a_word() {
    let (secured, front) = (Secured::new(), local::nobody().await);
    let secret: shared::token::Secret = "correct horse battery staple".parse().unwrap();
    let world = World::start_with(|settings| settings.access.token = Some(secret.clone())).await;
    let proxy = format!(
        "{STREAM} stream {{ server {{ listen {front} ssl; proxy_pass {}; ssl_protocols TLSv1.3; \
         ssl_certificate {cert}; ssl_certificate_key {key}; }} }}",
        world.addrs.control,
        cert = secured.folder.file("cert.pem").display(),
        key = secured.folder.file("key.pem").display(),
    );
    let _proxy = Nginx::start(front, &proxy).await;
    let mut settings = world.config(&["default=1".to_owned()]);
    settings.server.port = front.port();
    settings.token = Some(secret);
    settings.tls = secured.client_tls();
    let refused = RunningClient::start(settings.clone()).ended().await.expect_err("a refusal");
    assert!(format!("{refused:#}").contains("a proxy in front of it ends TLS"), "{refused:#}");

    settings.insecure = true;
    let mut client = RunningClient::start(settings);
    client.live().await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn nginx_behind_a_client_knows_who_visits() {
    let address = local::nobody().await;
    let _nginx = web(address).await;
    let mut world = World::start().await;
    let tunnels = ["v1", "v2"].map(|version| format!("{version}={address}?proxy={version}"));
    for public in world.expose_all(&tunnels).await {
        let mut visitor = Peer::connect(public).await;
        let expected = format!("{} {}", visitor.addr().ip(), visitor.addr().port());
        assert_eq!(ask(&mut visitor).await, expected);
    }
    world.stop().await;
}

#[tokio::test]
async fn nginx_in_front_of_a_relay_tells_who_visits_to_the_one_behind_its_client() {
    let (address, front) = (local::nobody().await, local::nobody().await);
    let _web = web(address).await;
    let trusted = "127.0.0.1".parse().unwrap();
    let mut world = World::start_with(|settings| settings.trust_proxy = trusted).await;
    let public = world.expose_all(&[format!("default={address}?proxy=v2")]).await[0];
    let balancer = format!(
        "{STREAM} stream {{ server {{ listen {front}; proxy_pass {public}; proxy_protocol on; }} }}"
    );
    let _balancer = Nginx::start(front, &balancer).await;
    let mut visitor = Peer::connect(front).await;
    let expected = format!("{} {}", visitor.addr().ip(), visitor.addr().port());
    assert_eq!(ask(&mut visitor).await, expected);
    world.stop().await;
}
