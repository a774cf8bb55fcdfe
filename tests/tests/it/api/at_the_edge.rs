//! The API at a host name of the edge.

use serde_json::Value;
use tests::http::secure::{connect, trusts_anybody};
use tests::http::{Line, Multiplexed, Recorder};
use tests::{RunningClient, World};

const BOARD: &str = "board.t.example";

/// What the relay shares with those who may call.
const SECRET: &str = "correct horse battery staple";

async fn world() -> World {
    World::start_with(|settings| {
        tests::web::with_http(settings);
        settings.web.https = Some("127.0.0.1:0".parse().expect("an address"));
        settings.web.board = Some(BOARD.parse().expect("a host"));
        settings.access.token = Some(SECRET.parse().expect("a secret"));
    })
    .await
}

#[tokio::test]
async fn the_board_is_at_its_host_by_tls_and_asks_who_asks() {
    let world = world().await;
    let https = world.addrs.https.expect("a port for TLS");
    let tls = connect(https, BOARD, trusts_anybody(&["http/1.1"])).await.expect("a handshake");
    let mut line = Line::over(tls);
    let answer = line.ask(BOARD, "/api/v1/me").await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(answer.headers.of("content-type"), Some("application/problem+json"));
    // It is on this machine, and the admin port would take it for the operator.
    let local = "X-Forwarded-For: 127.0.0.1\r\n";
    line.send(format!("GET /api/v1/me HTTP/1.1\r\nHost: {BOARD}\r\n{local}\r\n")).await;
    assert_eq!(line.answer().await.status, 401);
    line.send(format!("GET /api/v1/health HTTP/1.1\r\nHost: {BOARD}\r\n\r\n")).await;
    assert_eq!(line.answer().await.status, 401);
    // What the admin port tells everybody is not told here.
    for path in ["/metrics", "/snapshot", "/bans", "/api/tunnels", "/api/health"] {
        assert_eq!(line.ask(BOARD, path).await.status, 404, "{path}");
    }
    let tls = connect(https, BOARD, trusts_anybody(&["h2"])).await.expect("a handshake");
    let many = Multiplexed::over(tls).await;
    let document = many.get(BOARD, "/api/v1/openapi.json").await;
    let document: Value = serde_json::from_slice(document.body()).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    world.stop().await;
}

#[tokio::test]
async fn without_tls_the_board_sends_people_to_where_there_is() {
    let world = world().await;
    let http = world.addrs.http.expect("a port for HTTP");
    let https = world.addrs.https.expect("a port for TLS").port();
    let answer = Line::connect(http).await.ask(BOARD, "/api/v1/me?x=1").await;
    let location = format!("https://{BOARD}:{https}/api/v1/me?x=1");
    assert_eq!((answer.status, answer.headers.of("location")), (308, Some(&*location)));
    world.stop().await;
}

#[tokio::test]
async fn no_tunnel_gets_the_host_of_the_board() {
    let world = world().await;
    let service = Recorder::start().await;
    for option in ["subdomain=board", "host=board.t.example"] {
        let tunnel = format!("mine=http://{}?{option}", service.addr());
        let settings = client::Settings {
            token: Some(SECRET.parse().expect("a secret")),
            ..world.config(&[tunnel])
        };
        let refused = RunningClient::start(settings).ended().await.expect_err("a refusal");
        let refused = format!("{refused:#}");
        assert!(refused.contains("relay's own") || refused.contains("board"), "{refused}");
    }
    world.stop().await;
}
