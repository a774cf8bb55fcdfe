//! Limits of what requests move, and connections that began as one.

use std::time::Duration;

use tests::http::Line;
use tests::local::{self, Played};
use tests::secret::{SECRET, narrowed};
use tests::{Peer, RunningClient, World};
use tokio::time::Instant;

use super::{APP, app, turn_clock};

/// What asks to change to another protocol, and what does so.
const CHANGES: &str = "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// Those who had to wait for the bandwidth of their token.
const SLOWED: &str = "relay_limits_total{limit=\"rate_per_token\"}";

/// A relay with a client whose token goes as far as `grant`, in JSON.
async fn scene(service: &Played, grant: &str) -> (World, RunningClient) {
    let world = World::start_with(|settings| {
        tests::web::with_http(settings);
        settings.access.token = SECRET.parse().ok();
    })
    .await;
    let token = Some(narrowed(grant));
    let settings = client::Settings { token, ..world.config(&app(service.addr())) };
    let mut client = RunningClient::start(settings);
    client.live().await;
    (world, client)
}

/// The two ends of a connection that has changed to another protocol.
async fn changed(world: &World, service: &Played) -> (Line, Peer) {
    let mut line = Line::connect(world.addrs.http.expect("a port for HTTP")).await;
    line.send(format!("GET / HTTP/1.1\r\nHost: {APP}\r\n{CHANGES}")).await;
    let mut at_service = service.accept().await;
    at_service.read_until(b"\r\n\r\n").await;
    at_service.send(format!("HTTP/1.1 101 Switching Protocols\r\n{CHANGES}").as_bytes()).await;
    assert_eq!(line.head().await.expect("a head").expect("an answer").status, 101);
    (line, at_service)
}

#[tokio::test]
async fn a_quota_ends_connections_that_have_changed_to_another_protocol_too() {
    let service = local::played().await;
    let (world, client) = scene(&service, r#"{"quota":"1MB/month"}"#).await;
    let (mut line, mut at_service) = changed(&world, &service).await;
    let taken = async {
        let mut bytes = 0;
        while let Ok(some) = line.some().await {
            if some.is_empty() {
                break;
            }
            bytes += some.len();
        }
        bytes
    };
    let ((), bytes) =
        tests::within("the end", async { tokio::join!(at_service.send_until_refused(), taken) })
            .await;
    // Pieces that were on the way count too.
    assert!((500_000..2_000_000).contains(&bytes), "{bytes} bytes");
    let used_up = "relay_limits_total{limit=\"quota\"}";
    world.shows("the quota", |metrics| metrics.value(used_up) >= Some(1.0)).await;
    drop(line);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_that_waits_for_its_bandwidth_is_counted() {
    let service = local::played().await;
    let (world, client) = scene(&service, r#"{"rate":"80kbit"}"#).await;
    let mut line = Line::connect(world.addrs.http.expect("a port for HTTP")).await;
    line.get(APP, "/").await;
    let mut at_service = service.accept().await;
    at_service.expect(b"GET / HTTP/1.1\r\n").await;
    at_service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n").await;
    at_service.send(&[7; 200_000]).await;
    world.shows("a limit", |metrics| metrics.value(SLOWED) == Some(1.0)).await;
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}

/// How much moves in the tests of how fast it does.
const BODY: usize = 200_000;

/// How long that takes at 800 kbit/s, but for what may be made up for.
const TAKES: Duration = Duration::from_millis(1900);

/// Has a body come by `some`, on a clock that is turned whenever some has. Returns how long all of it
/// took by that clock.
async fn time(mut some: impl AsyncFnMut() -> Vec<u8>) -> Duration {
    let (start, mut come) = (Instant::now(), 0);
    while come < BODY {
        turn_clock(Duration::from_millis(10)).await;
        come += some().await.len();
    }
    start.elapsed()
}

#[tokio::test]
async fn bodies_keep_to_a_bandwidth() {
    let service = local::played().await;
    let (world, client) = scene(&service, r#"{"rate":"800kbit"}"#).await;
    let mut line = Line::connect(world.addrs.http.expect("a port for HTTP")).await;
    let head = format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: {BODY}\r\n\r\n");
    line.send(head).await;
    let mut at_service = service.accept().await;
    at_service.read_until(b"\r\n\r\n").await;
    let body = vec![b'x'; BODY];
    let upload = time(async || at_service.some().await);
    let ((), took) = tokio::join!(line.send(&body), upload);
    assert!(took >= TAKES, "{took:?} for a request");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
    at_service.send(head.as_bytes()).await;
    assert_eq!(line.head().await.unwrap().expect("an answer").status, 200);
    let answer = time(async || line.some().await.expect("some of an answer"));
    let ((), took) = tokio::join!(at_service.send(&body), answer);
    assert!(took >= TAKES, "{took:?} for an answer");
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn connections_that_have_changed_to_another_protocol_keep_to_a_bandwidth() {
    let service = local::played().await;
    let (world, client) = scene(&service, r#"{"rate":"800kbit"}"#).await;
    let (mut line, mut at_service) = changed(&world, &service).await;
    let body = vec![b'x'; BODY];
    let inward = time(async || at_service.some().await);
    let ((), took) = tokio::join!(line.send(&body), inward);
    assert!(took >= TAKES, "{took:?} from the visitor");
    let outward = time(async || line.some().await.expect("bytes"));
    let ((), took) = tokio::join!(at_service.send(&body), outward);
    assert!(took >= TAKES, "{took:?} to the visitor");
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_is_silent_takes_nothing_of_a_bandwidth() {
    let service = local::played().await;
    // A share of it takes a tenth of a second.
    let (world, client) = scene(&service, r#"{"rate":"80kbit"}"#).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut events = Line::connect(world.addrs.http.expect("a port for HTTP")).await;
        events.get(APP, "/").await;
        let mut at_service = service.accept().await;
        at_service.read_until(b"\r\n\r\n").await;
        at_service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        assert_eq!(events.head().await.unwrap().expect("an answer").status, 200);
        silent.extend([(events, at_service), changed(&world, &service).await]);
    }
    let (mut busy, mut at_service) = changed(&world, &service).await;
    busy.send("ping").await;
    at_service.expect(b"ping").await;
    at_service.send(b"pong").await;
    assert_eq!(busy.read(4).await.expect("a pong"), b"pong");
    let slowed = world.metrics().await.value(SLOWED);
    assert!(slowed.is_none_or(|slowed| slowed == 0.0), "{slowed:?} had to wait");
    drop((silent, busy, at_service));
    client.finish().await;
    world.stop().await;
}
