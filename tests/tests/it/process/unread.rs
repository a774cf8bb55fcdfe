//! Programs whose output goes into a pipe that is open, full, and read by nobody.

use std::net::SocketAddr;

use shared::control::protocol::FromRelay;
use tests::process::{Client, Program, Relay, Signal, own_host, served_again, visit};
use tests::rogue::RogueRelay;
use tests::scrape::{get, scrape};
use tests::{local, within};

/// Visits that together log more than a pipe and a queue hold, at level `trace`.
const FLOOD: usize = 3_000;

/// Visits that are served and over, one after the other.
async fn flood(public: SocketAddr) {
    for _ in 0..FLOOD {
        let mut visitor = visit(public).await;
        visitor.half_close().await;
        visitor.expect_end().await;
    }
}

#[tokio::test]
async fn a_relay_whose_log_fills_up_serves_visitors_answers_prometheus_and_stops() {
    // Its addresses cannot be read from its log, so they are chosen.
    let host = own_host();
    let at = |port: u16| SocketAddr::from((host, port));
    let (control, public, admin) = (at(4444), at(8080), at(4445));
    let mut relay = Program::relay()
        .args(["--control", &control.to_string(), "--public", &public.to_string()])
        .args(["--admin", &admin.to_string(), "--log", "trace"])
        .with_stderr_unread()
        .start();
    let service = local::echo().await;
    let local = service.addr().to_string();
    let args = ["--local", &local, "--reconnect", "always", "--log", "off"];
    let _client = Client::begin(control, &args);
    served_again(public).await;

    let mut beside = visit(public).await;
    flood(public).await;
    beside.expect_echo(b"still here").await;
    assert_eq!(within("the admin port to answer", get(admin, "/healthz")).await.0, 200);
    let dropped = within("its metrics", scrape(admin)).await.value("relay_log_lines_dropped_total");
    assert!(dropped.is_some_and(|lines| lines > 0.0), "{dropped:?} lines were dropped");
    drop(beside);
    relay.signal(Signal::TERM);
    assert_eq!(relay.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_whose_log_fills_up_serves_visitors_and_stops() {
    let relay = Relay::start(&["--log", "info"]).await;
    let service = local::echo().await;
    let args = ["--server", &relay.control.to_string(), "--local", &service.addr().to_string()];
    let program = Program::client().args(args).args(["--log", "trace"]);
    let mut client = program.with_stderr_unread().start();
    served_again(relay.public).await;

    let mut beside = visit(relay.public).await;
    flood(relay.public).await;
    beside.expect_echo(b"still here").await;
    drop(beside);
    client.signal(Signal::TERM);
    assert_eq!(client.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_whose_events_fill_up_stdout_heeds_its_relay_and_stops() {
    let relay = RogueRelay::start().await;
    let args = ["--server", &relay.addr().to_string(), "--log", "off"];
    let mut client = Program::client().args(args).with_stdout_unread().start();
    let mut session = relay.welcomed().await;
    let tunnel = &session.hello.tunnels[0].name.clone();
    for _ in 0..20_000 {
        for message in [
            FromRelay::Standby { tunnel: tunnel.clone() },
            FromRelay::Live { tunnel: tunnel.clone() },
        ] {
            within("a message to be taken", session.control.send(&message)).await.unwrap();
        }
    }
    session.control.send(&FromRelay::Heartbeat { id: 77 }).await.unwrap();
    within("an answer", async {
        use shared::control::protocol::FromClient;
        while session.control.receive().await.unwrap() != (FromClient::HeartbeatAck { id: 77 }) {}
    })
    .await;
    client.signal(Signal::TERM);
    drop(session);
    client.exit().await;
}
