//! Limits of what requests move, and connections that began as one.

use shared::token::{Grant, Secret};
use tests::http::Line;
use tests::local::{self, Played};
use tests::{RunningClient, World};

use super::{APP, app};

const SECRET: &str = "correct horse battery staple";

/// A relay with a client whose token goes as far as `grant`, in JSON.
async fn scene(service: &Played, grant: &str) -> (World, RunningClient) {
    let secret: Secret = SECRET.parse().expect("a secret");
    let world = World::start_with(|settings| {
        tests::web::with_http(settings);
        settings.access.token = SECRET.parse().ok();
    })
    .await;
    let grant: Grant = serde_json::from_str(grant).expect("a grant");
    let Secret::Token(token) = secret else { panic!("no token") };
    let token = Some(Secret::Token(token.narrow(&grant).expect("a grant")));
    let settings = client::Settings { token, ..world.config(&app(service.addr())) };
    let mut client = RunningClient::start(settings);
    client.live().await;
    (world, client)
}

#[tokio::test]
async fn a_quota_ends_connections_that_have_changed_to_another_protocol_too() {
    let service = local::played().await;
    let (world, client) = scene(&service, r#"{"quota":"1MB/month"}"#).await;
    let mut line = Line::connect(world.addrs.http.expect("a port for HTTP")).await;
    let asks = "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    line.send(format!("GET / HTTP/1.1\r\nHost: {APP}\r\n{asks}")).await;
    let mut at_service = service.accept().await;
    at_service.expect(b"GET / HTTP/1.1\r\n").await;
    at_service.send(format!("HTTP/1.1 101 Switching Protocols\r\n{asks}").as_bytes()).await;
    assert_eq!(line.head().await.unwrap().expect("an answer").status, 101);
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
    let slowed = "relay_limits_total{limit=\"rate_per_token\"}";
    world.shows("a limit", |metrics| metrics.value(slowed) == Some(1.0)).await;
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}
