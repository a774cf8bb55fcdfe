//! More connections than the process may have open files.

use std::time::Duration;

use tests::process::{Client, Program, Relay, served_again, try_visit, visit};
use tests::{Peer, eventually, local, scrape};
use tokio::net::TcpStream;

/// How much processor time a program that only holds connections may use in a second. One that
/// spins uses all of it.
const QUIET: Duration = Duration::from_millis(300);

/// A relay that may have so many files open, all of which one source may use up.
fn few_descriptors(descriptors: u32) -> Program {
    let args = ["--max-visitors-per-source", "1000"];
    Program::relay().args(args).with_descriptors(descriptors)
}

/// Lets `count` visitors come, of whom some are turned away. Returns those that are served.
async fn flood(relay: &Relay, count: usize) -> Vec<Peer> {
    let mut served = Vec::new();
    for _ in 0..count {
        served.extend(try_visit(relay.public).await);
    }
    served
}

/// A relay that is flooded holds on, lets clients in, and serves again when there is room.
#[tokio::test]
async fn a_flood_of_visitors_leaves_the_relay_room_for_clients() {
    let mut relay = Relay::of(few_descriptors(256)).await;
    let service = local::echo().await;
    let _client = Client::expose(relay.control, service.addr()).await;

    let served = flood(&relay, 400).await;
    assert!((128..250).contains(&served.len()), "{} visitors are served", served.len());
    relay.counts(400 - served.len(), "limit").await;
    let used = relay.cpu_during(Duration::from_secs(1)).await;
    assert!(used < QUIET, "the relay used {used:?} in a second");

    let more = format!("more={}", service.addr());
    let _newcomer = Client::live_with(relay.control, &["--tunnel", &more]).await;
    Peer::connect(relay.public).await.expect_reset().await;

    drop(served);
    served_again(relay.public).await;
    assert!(relay.is_running());
}

/// Listeners are descriptors as well.
#[tokio::test]
async fn many_tunnels_and_a_flood_leave_the_relay_room_for_clients_and_its_operator() {
    let mut relay = Relay::of(few_descriptors(256)).await;
    let service = local::echo().await;
    let tunnels: Vec<_> = (0..64).map(|n| format!("t{n}={}", service.addr())).collect();
    let mut args: Vec<&str> = tunnels.iter().flat_map(|t| ["--tunnel", t]).collect();
    let default = service.addr().to_string();
    args.extend(["--local", &default]);
    let _client = Client::live_with(relay.control, &args).await;

    let served = flood(&relay, 400).await;
    assert!((100..=128).contains(&served.len()), "{} visitors are served", served.len());
    assert_eq!(scrape::get(relay.admin, "/healthz").await.0, 200);
    let _newcomer = Client::expose(relay.control, service.addr()).await;

    drop(served);
    served_again(relay.public).await;
    assert!(relay.is_running());
}

/// So few that connections to the admin port alone, which has a limit of its own, use them up.
#[tokio::test]
async fn a_relay_without_any_descriptor_left_waits_for_one() {
    let mut relay = Relay::of(few_descriptors(40)).await;
    let service = local::echo().await;
    let _client = Client::expose(relay.control, service.addr()).await;
    let mut visitor = visit(relay.public).await;

    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(relay.admin).await.expect("the backlog takes it"));
    }
    relay.logged("cannot accept connections for now").await;
    let used = relay.cpu_during(Duration::from_secs(1)).await;
    assert!(used < QUIET, "the relay used {used:?} in a second");
    visitor.expect_echo(b"still here").await;

    drop(silent);
    served_again(relay.public).await;
    visitor.expect_echo(b"still here").await;
    assert_eq!(scrape::get(relay.admin, "/healthz").await.0, 200);
    assert!(relay.is_running());
}

#[tokio::test]
async fn a_client_out_of_descriptors_turns_away_only_who_is_too_many() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let local = service.addr().to_string();
    let server = relay.control.to_string();
    let args = ["--server", &server, "--local", &local];
    let mut client = Client::of(Program::client().with_descriptors(64).args(args));
    client.event("live").await;

    let mut served = flood(&relay, 100).await;
    assert!((32..64).contains(&served.len()), "{} visitors are served", served.len());
    relay.counts(100 - served.len(), "limit").await;
    client.logged("Too many open files").await;
    let used = client.cpu_during(Duration::from_secs(1)).await;
    assert!(used < QUIET, "the client used {used:?} in a second");
    for visitor in &mut served {
        visitor.expect_echo(b"still here").await;
    }

    drop(served);
    served_again(relay.public).await;
    assert!(client.is_running());
}

#[tokio::test]
async fn nothing_is_left_open_after_the_visitors_have_gone() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let client = Client::expose(relay.control, service.addr()).await;
    drop(visit(relay.public).await);
    relay.has_visitors(0).await;
    // The scrape itself is a connection, so the first one is over, too, in a while.
    let (at_relay, at_client) = (relay.descriptors(), client.descriptors());

    let visitors = flood(&relay, 100).await;
    assert!(relay.descriptors() >= 100 && client.descriptors() >= 100);
    drop(visitors);
    eventually("the relay to free its descriptors", async || relay.descriptors() <= at_relay).await;
    eventually("the client to free its own", async || client.descriptors() <= at_client).await;
}
