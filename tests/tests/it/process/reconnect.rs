//! `--reconnect`: when a client tries again, and when it ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::process::{Client, Relay, Signal, own_host, visit};
use tests::{Local, local};

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    (own_host(), 4444).into()
}

async fn expose(relay: &Relay, service: &Local, reconnect: &str) -> Client {
    let local = service.addr().to_string();
    Client::live_with(relay.control, &["--local", &local, "--reconnect", reconnect]).await
}

#[tokio::test]
async fn a_relay_that_is_not_there_ends_the_client_at_once() {
    for args in [&[][..], &["--reconnect", "on-failure"], &["--reconnect", "never"]] {
        let begun = Instant::now();
        let nobody = nobody();
        let mut client = Client::begin(nobody, args);
        assert_eq!(client.exit().await.code(), Some(1), "{args:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
        let named = format!("cannot connect to the relay at {nobody}: it cannot be reached: ");
        client.logged(&format!("{named}Connection refused")).await;
        let ended = client.event("ended").await;
        assert!(ended["reason"].as_str().is_some_and(|reason| reason.contains("refused")));
    }
}

#[tokio::test]
async fn always_waits_for_a_relay_that_is_not_there_yet() {
    let control = nobody();
    let service = local::echo().await;
    let local = service.addr().to_string();
    let mut client = Client::begin(control, &["--local", &local, "--reconnect", "always"]);
    client.event("reconnecting").await;
    client
        .logged(&format!("cannot connect to the relay at {control}: it cannot be reached: "))
        .await;

    let relay = Relay::start(&["--control", &control.to_string()]).await;
    client.event("live").await;
    visit(relay.public).await;
}

#[tokio::test]
async fn a_lost_session_ends_a_client_that_never_reconnects() {
    let mut relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let mut client = expose(&relay, &service, "never").await;
    relay.kill().await;
    assert_eq!(client.exit().await.code(), Some(1));
    client.logged("the session is lost: ").await;
    client.event("ended").await;
}

#[tokio::test]
async fn a_lost_session_is_tried_again_on_failure_and_always() {
    let mut relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let mut clients = Vec::new();
    for reconnect in ["on-failure", "always"] {
        clients.push(expose(&relay, &service, reconnect).await);
    }
    relay.kill().await;
    for client in &mut clients {
        client.event("lost").await;
        let mut last = 0.0;
        // The delays grow: each is drawn from the upper half of a bound that doubles.
        for _ in 0..3 {
            let seconds = client.event("reconnecting").await["seconds"].as_f64().expect("a number");
            assert!(seconds > last, "{seconds} after {last}");
            last = seconds;
        }
        assert!(client.is_running());
    }
}

#[tokio::test]
async fn a_relay_that_stops_ends_its_clients_with_success() {
    for reconnect in ["on-failure", "never"] {
        let mut relay = Relay::start(&[]).await;
        let service = local::echo().await;
        let mut client = expose(&relay, &service, reconnect).await;
        relay.signal(Signal::TERM);
        assert_eq!(client.exit().await.code(), Some(0), "{reconnect}");
        assert_eq!(client.event("ended").await["reason"], "the relay ended the session");
        assert_eq!(relay.exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn always_waits_for_a_relay_that_stopped() {
    let anywhere = format!("{}:0", own_host());
    let mut relay = Relay::start(&["--control", &anywhere, "--public", &anywhere]).await;
    let service = local::echo().await;
    let mut client = expose(&relay, &service, "always").await;
    relay.signal(Signal::TERM);
    assert_eq!(relay.exit().await.code(), Some(0));
    client.event("lost").await;
    client.event("reconnecting").await;
    let _relay = relay.restarted().await;
    client.event("live").await;
    visit(relay.public).await;
}

#[tokio::test]
async fn a_client_that_waits_to_reconnect_ends_at_once_when_asked_to() {
    let mut client = Client::begin(nobody(), &["--reconnect", "always"]);
    client.event("reconnecting").await;
    client.signal(Signal::INT);
    assert_eq!(client.exit().await.code(), Some(0));
    assert_eq!(client.event("ended").await["reason"], "stopped");
}
