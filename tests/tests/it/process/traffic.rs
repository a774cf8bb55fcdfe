//! Restarts of the client and changes of its file in the middle of traffic.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tests::process::{Client, Program, Relay, Signal};
use tests::scrape::{Scrape, scrape, shows};
use tests::usage::raise_file_limit;
use tests::{Folder, Local, Peer, Tasks, eventually, local, within};
use tokio::sync::Barrier;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// A visit each time makes two hundred a second.
const PACE: Duration = Duration::from_millis(5);

/// What a visit moves each way at a time, in bytes.
const PIECE: usize = 4096;

/// How long the relay of these tests lets visitors wait for a client: longer than a test waits for
/// anything, however busy the machine is.
const HOLD: &str = "30s";

/// Visits come at their pace for as long as `meanwhile` takes. Returns how many came, once all have
/// been served.
async fn visits_during(public: SocketAddr, meanwhile: impl Future<Output = ()>) -> usize {
    let mut visits = Tasks::new();
    let mut came = 0;
    let mut coming = interval(PACE);
    let mut meanwhile = pin!(meanwhile);
    loop {
        tokio::select! {
            () = &mut meanwhile => break,
            _ = coming.tick() => {
                came += 1;
                visits.spawn(async move {
                    let mut visitor = Peer::connect(public).await;
                    visitor.exchange_patterns(came, came, PIECE).await;
                    visitor.half_close().await;
                    visitor.expect_end().await;
                });
            }
        }
    }
    visits.join().await;
    came
}

/// Waits until so many more visits have been served.
async fn serves(relay: &Relay, visits: f64) {
    let before = relay.visits("completed").await;
    let served = |metrics: &Scrape| metrics.visits("default", "completed") >= before + visits;
    shows(relay.admin, &format!("{visits} more visits"), served).await;
}

/// Waits until so many visitors are there, of which none can be served.
async fn holds(relay: &Relay, visitors: f64) {
    let waiting = |metrics: &Scrape| metrics.visitors("default") >= visitors;
    shows(relay.admin, &format!("{visitors} visitors that wait"), waiting).await;
}

/// Checks that no visit of these tunnels ended otherwise than well.
fn all_completed(metrics: &Scrape, tunnels: &[&str]) {
    let visits = metrics.text.lines().filter(|line| line.starts_with("relay_visitors_total{"));
    let others = visits.filter(|line| !line.contains("outcome=\"completed\""));
    let of_these = others
        .filter(|line| tunnels.iter().any(|tunnel| line.contains(&format!("tunnel=\"{tunnel}\""))));
    for line in of_these {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

#[tokio::test]
async fn two_hundred_visits_a_second_are_all_served_while_the_client_is_restarted() {
    raise_file_limit();
    let relay = Relay::start(&["--hold-visitors", HOLD]).await;
    let service = local::echo().await;
    let mut client = Client::expose(relay.control, service.addr()).await;
    let visits = visits_during(relay.public, async {
        for _ in 0..3 {
            serves(&relay, 200.0).await;
            client.signal(Signal::TERM);
            assert_eq!(client.exit().await.code(), Some(0));
            holds(&relay, 100.0).await;
            client = Client::expose(relay.control, service.addr()).await;
        }
        serves(&relay, 200.0).await;
    });
    let visits = visits.await;
    relay.counts(visits, "completed").await;
    all_completed(&scrape(relay.admin).await, &["default"]);
}

#[tokio::test]
async fn two_hundred_visits_a_second_after_a_client_was_killed_are_all_served_by_the_next_one() {
    raise_file_limit();
    let relay = Relay::start(&["--hold-visitors", HOLD]).await;
    let service = local::echo().await;
    let mut client = Client::expose(relay.control, service.addr()).await;
    client.kill().await;
    relay.logged("session lost: ").await;
    let visits = visits_during(relay.public, async {
        holds(&relay, 200.0).await;
        client = Client::expose(relay.control, service.addr()).await;
        serves(&relay, 400.0).await;
    });
    let visits = visits.await;
    relay.counts(visits, "completed").await;
    all_completed(&scrape(relay.admin).await, &["default"]);
}

/// A client's file with these tunnels, the last one at this port.
fn file(port: u16, tunnels: &[(&str, &Local)]) -> String {
    let section = |(name, local): &(&str, &Local)| {
        format!("[tunnels.{name}]\nlocal = \"{}\"\n", local.addr())
    };
    let sections: String = tunnels.iter().map(section).collect();
    format!("{sections}port = {port}\n")
}

/// One visit after the other, each served by the service that says `greeting`, until `over`.
async fn visits_until(over: CancellationToken, public: SocketAddr, greeting: &'static [u8]) {
    while !over.is_cancelled() {
        let mut visitor = Peer::connect(public).await;
        visitor.expect(greeting).await;
        visitor.expect_echo(b"one of many").await;
        visitor.half_close().await;
        visitor.expect_end().await;
    }
}

#[tokio::test]
async fn five_hundred_visits_notice_nothing_of_a_file_that_changes() {
    raise_file_limit();
    let folder = Folder::new();
    let relay = Relay::start(&[]).await;
    let (one, two) = (local::speaks_first(b"one").await, local::speaks_first(b"two").await);
    // One that was closed and opened again could be at the same port.
    let port = crate::ports::free_port();
    let before = file(port, &[("app", &one), ("db", &one), ("idle", &one), ("web", &one)]);
    let path = folder.write("client.toml", &before);
    let program = Program::client().env("CLIENT_SERVER", relay.control.to_string());
    let mut client = Client::of(program.args(["--config"]).args([path]));
    let (app, db) = (client.live("app").await, client.live("db").await);
    let (idle, web) = (client.live("idle").await, client.live("web").await);

    let over = CancellationToken::new();
    let under_way = Arc::new(Barrier::new(501));
    let mut visits = Tasks::new();
    for (seed, public) in [app, db, web].into_iter().cycle().take(500).enumerate() {
        let (over, under_way) = (over.clone(), Arc::clone(&under_way));
        visits.spawn(async move {
            let mut visitor = Peer::connect(public).await;
            visitor.expect(b"one").await;
            visitor.exchange_patterns(seed, seed, PIECE).await;
            under_way.wait().await;
            while !over.is_cancelled() {
                visitor.exchange_patterns(seed, seed, PIECE).await;
            }
            // Whatever has come of the change, this is after it.
            visitor.exchange_patterns(seed, seed, PIECE).await;
            visitor.half_close().await;
            visitor.expect_end().await;
        });
    }
    within("all visits to be under way", under_way.wait()).await;
    for public in [db, web] {
        visits.spawn(visits_until(over.clone(), public, b"one"));
    }
    let listeners = [app, db, web].map(|public| relay.listener(public));
    assert!(listeners.iter().all(Option::is_some), "{listeners:?}");

    let after = file(port, &[("app", &two), ("db", &one), ("new", &two), ("web", &one)]);
    folder.replace("client.toml", &after);
    assert_eq!(client.event("closed").await["tunnel"], "idle");
    assert_eq!(client.live("app").await, app);
    let new = client.live("new").await;
    for public in [app, new] {
        visits.spawn(visits_until(over.clone(), public, b"two"));
    }
    eventually("the port of idle to be closed", async || Peer::try_connect(idle).await.is_err())
        .await;
    assert_eq!([app, db, web].map(|public| relay.listener(public)), listeners);
    over.cancel();
    visits.join().await;

    let tunnels = ["app", "db", "new", "web"];
    let is_over = |metrics: &Scrape| tunnels.iter().all(|tunnel| metrics.visitors(tunnel) == 0.0);
    shows(relay.admin, "all visits to be over", is_over).await;
    all_completed(&scrape(relay.admin).await, &tunnels);
}
