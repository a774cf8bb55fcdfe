//! SIGTERM and SIGINT: what runs may finish, nothing new begins, a second signal cuts at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::process::{Client, Relay, Signal};
use tests::{Peer, eventually, local, scrape};

/// Half of a download: more than the sockets, windows and buffers on the way hold.
const HALF: usize = 16 * 1024 * 1024;

/// A relay and a client, and a visitor in the middle of a download.
struct Downloading {
    relay: Relay,
    client: Client,
    visitor: Peer,
    service: Peer,
}

impl Downloading {
    /// Both programs wait for `grace` when they stop.
    async fn start(grace: &str) -> Self {
        let relay = Relay::start(&["--grace", grace]).await;
        let service = local::played().await;
        let address = service.addr().to_string();
        let args = ["--local", &address, "--grace", grace];
        let client = Client::live_with(relay.control, &args).await;
        let mut visitor = Peer::connect(relay.public).await;
        let mut service = service.accept().await;
        tokio::join!(service.send_pattern(1, HALF), visitor.expect_pattern(1, HALF));
        Self { relay, client, visitor, service }
    }

    /// Goes on with the download and expects all of it.
    async fn complete(&mut self) {
        let Self { visitor, service, .. } = self;
        tokio::join!(service.send_pattern(2, HALF), visitor.expect_pattern(2, HALF));
        service.half_close().await;
        visitor.expect_end().await;
        visitor.half_close().await;
        service.expect_end().await;
    }

    /// Waits until both programs have ended, and expects success.
    async fn expect_success(&mut self) {
        assert_eq!(self.relay.exit().await.code(), Some(0));
        assert_eq!(self.client.exit().await.code(), Some(0));
    }
}

/// Waits until `address` refuses connections.
async fn closed(address: SocketAddr) {
    eventually("the port to be closed", async || Peer::try_connect(address).await.is_err()).await;
}

#[tokio::test]
async fn a_download_completes_while_the_relay_stops() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut world = Downloading::start("1h").await;
        world.relay.signal(signal);
        closed(world.relay.public).await;
        closed(world.relay.control).await;
        assert_eq!(scrape::get(world.relay.admin, "/readyz").await.0, 503);
        world.client.logged("the relay is stopping").await;

        world.complete().await;
        world.expect_success().await;
        assert_eq!(world.relay.visit_over("completed").await["bytes_out"], 2 * HALF);
    }
}

#[tokio::test]
async fn a_download_completes_while_the_client_stops() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut world = Downloading::start("1h").await;
        world.client.signal(signal);
        world.relay.logged("the client is stopping").await;
        Peer::connect(world.relay.public).await.expect_reset().await;
        world.relay.counts(1, "no_client").await;

        world.complete().await;
        assert_eq!(world.client.exit().await.code(), Some(0));
        assert_eq!(world.client.event("ended").await["reason"], "stopped");
        assert!(world.relay.is_running());
        world.relay.counts(1, "completed").await;
        world.relay.logged("session over: the client ended it").await;
    }
}

#[tokio::test]
async fn a_second_signal_to_the_relay_cuts_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut world = Downloading::start("1h").await;
        world.relay.signal(signal);
        world.client.logged("the relay is stopping").await;
        world.relay.signal(signal);
        world.visitor.expect_reset().await;
        world.service.expect_reset().await;
        world.expect_success().await;
    }
}

#[tokio::test]
async fn a_second_signal_to_the_client_cuts_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut world = Downloading::start("1h").await;
        world.client.signal(signal);
        world.relay.logged("the client is stopping").await;
        world.client.signal(signal);
        world.visitor.expect_reset().await;
        world.service.expect_reset().await;
        assert_eq!(world.client.exit().await.code(), Some(0));
        world.relay.logged("session over: the client ended it").await;
        assert!(world.relay.is_running());
    }
}

#[tokio::test]
async fn a_visit_is_cut_off_when_the_grace_period_of_the_relay_is_over() {
    let mut world = Downloading::start("300ms").await;
    world.relay.signal(Signal::TERM);
    world.visitor.expect_reset().await;
    world.service.expect_reset().await;
    world.expect_success().await;
    let over = world.relay.visit_over("reset").await;
    assert!(over["message"].as_str().is_some_and(|text| text.contains("the relay is stopping")));
}

#[tokio::test]
async fn a_visit_is_cut_off_when_the_grace_period_of_the_client_is_over() {
    let mut world = Downloading::start("300ms").await;
    world.client.signal(Signal::TERM);
    world.visitor.expect_reset().await;
    world.service.expect_reset().await;
    assert_eq!(world.client.exit().await.code(), Some(0));
    world.client.logged("the grace period is over").await;
    world.relay.has_visitors(0).await;
}

#[tokio::test]
async fn both_programs_interrupted_together_end_well() {
    let mut world = Downloading::start("1h").await;
    // What Ctrl-C in a terminal does.
    world.relay.signal(Signal::INT);
    world.client.signal(Signal::INT);
    closed(world.relay.public).await;
    world.complete().await;
    world.expect_success().await;
}

#[tokio::test]
async fn programs_with_nothing_to_do_stop_at_once() {
    let mut relay = Relay::start(&["--grace", "1h"]).await;
    let service = local::echo().await;
    let local = service.addr().to_string();
    let args = ["--local", &local, "--grace", "1h"];
    let mut first = Client::live_with(relay.control, &args).await;
    let mut second = Client::live_with(relay.control, &args).await;
    let asked = Instant::now();
    first.signal(Signal::TERM);
    assert_eq!(first.exit().await.code(), Some(0));
    relay.signal(Signal::TERM);
    assert_eq!(relay.exit().await.code(), Some(0));
    assert_eq!(second.exit().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    for address in [relay.control, relay.public, relay.admin] {
        assert!(Peer::try_connect(address).await.is_err(), "{address} is still open");
    }
}

#[tokio::test]
async fn a_relay_that_is_stopped_as_soon_as_it_says_that_it_is_ready_ends_well() {
    for _ in 0..20 {
        let mut relay = Relay::start(&[]).await;
        relay.signal(Signal::TERM);
        assert_eq!(relay.exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn strangers_who_say_nothing_do_not_hold_up_a_relay_that_stops() {
    let mut relay = Relay::start(&["--log", "debug"]).await;
    let _stranger = Peer::connect(relay.control).await;
    relay.logged("connected to the control port").await;
    let asked = Instant::now();
    relay.signal(Signal::TERM);
    assert_eq!(relay.exit().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_client_stops_within_seconds_although_its_relay_is_frozen() {
    let relay = Relay::start(&["--heartbeat", "1h"]).await;
    let args = ["--local", "9", "--grace", "1h"];
    let mut client = Client::live_with(relay.control, &args).await;
    relay.signal(Signal::STOP);
    client.signal(Signal::INT);
    assert_eq!(client.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_relay_stops_within_seconds_although_a_client_is_frozen() {
    let mut relay = Relay::start(&["--heartbeat", "1h", "--grace", "1h"]).await;
    let client = Client::live_with(relay.control, &["--local", "9"]).await;
    client.signal(Signal::STOP);
    relay.signal(Signal::INT);
    assert_eq!(relay.exit().await.code(), Some(0));
}
