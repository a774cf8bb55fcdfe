//! Those who call back come through, whatever strangers send to the same tunnel.

use std::net::SocketAddr;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use futures::future::select_all;
use shared::control::protocol::{HttpOptions, WebhookCheck, WebhookSender};
use tests::http::Line;
use tests::peer::dial_from;
use tests::web::{WebClient, WebService, tunnel, with_http};
use tests::{Tasks, World};

const HOST: &str = "app.t.example";

/// What those who call back sign with.
const SECRET: &str = "s3cret";

/// The head of a request by GitHub that says to have such a body.
fn head(signature: &str, length: usize) -> String {
    head_for(HOST, signature, length)
}

/// The same for another tunnel.
fn head_for(host: &str, signature: &str, length: usize) -> String {
    format!(
        "POST /hook HTTP/1.1\r\nHost: {host}\r\nX-Hub-Signature-256: sha256={signature}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// The signature of a body by whoever knows the secret.
fn signed(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    HEXLOWER.encode(hmac::sign(&key, body).as_ref())
}

/// What a tunnel wants of those who call back.
fn options() -> HttpOptions {
    let webhook = WebhookCheck { from: WebhookSender::GitHub, secret: SECRET.into() };
    HttpOptions { webhook: Some(webhook), ..HttpOptions::default() }
}

/// A tunnel for those who call back.
struct Scene {
    world: World,
    client: WebClient,
    service: WebService,
    http: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        Self::with(with_http).await
    }

    async fn with(set: impl FnOnce(&mut relay::Settings)) -> Self {
        let world = World::start_with(set).await;
        let service = WebService::start().await;
        let client = WebClient::open(&world, options(), service.addr()).await;
        let http = world.addrs.http.expect("a port for HTTP");
        Self { world, client, service, http }
    }
}

/// How many bodies had to make room.
fn made_room(metrics: &tests::scrape::Scrape) -> f64 {
    metrics.value(r#"relay_limits_total{limit="signed_bodies"}"#).unwrap_or_default()
}

#[tokio::test]
async fn strangers_whose_bodies_do_not_come_to_their_end_make_room_for_a_burst() {
    let Scene { world, client, service, http } = Scene::new().await;

    // More than 16 MiB of them, of as many sources.
    let mut strangers = Vec::new();
    for source in 1..=24 {
        let socket = dial_from([127, 0, 1, source], http).await.expect("a connection");
        let mut line = Line::over(socket);
        line.send(head(&"00".repeat(32), 1_000_000)).await;
        line.send(vec![b'x'; 900_000]).await;
        strangers.push(line);
    }
    world.shows("strangers that made room", |metrics| made_room(metrics) >= 5.0).await;

    let body = vec![b'x'; 24_000];
    let mut burst = Tasks::new();
    for _ in 0..30 {
        let request = [head(&signed(&body), body.len()).into_bytes(), body.clone()].concat();
        burst.spawn(async move {
            let mut line = Line::connect(http).await;
            line.send(request).await;
            assert_eq!(line.answer().await.status, 200);
        });
    }
    burst.join().await;
    assert_eq!(service.requests().len(), 30);

    let answers = strangers.iter_mut().map(|line| Box::pin(line.answer()));
    let (first, _, answers) = select_all(answers).await;
    assert_eq!((first.status, first.headers.of("x-relay-error")), (503, Some("over_limit")));
    drop(answers);
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn bodies_make_room_too_where_no_tunnel_has_much_and_all_together_have() {
    let Scene { world, client, service, http } = Scene::new().await;
    let (mut others, mut strangers) = (Vec::new(), Vec::new());
    // 15 MiB each, and 75 MiB together.
    for number in 0..5 {
        let name = format!("other{number}");
        let request = tunnel(&name, options());
        let opened = WebClient::try_serve(&world, &request, service.addr()).await;
        others.push(opened.unwrap_or_else(|refusal| panic!("not opened: {refusal}")));
        for source in 1..=15 {
            let socket = dial_from([127, 0, 1, source], http).await.expect("a connection");
            let mut line = Line::over(socket);
            let host = format!("{name}.t.example");
            line.send(head_for(&host, &"00".repeat(32), 1_000_000)).await;
            line.send(vec![b'x'; 900_000]).await;
            strangers.push(line);
        }
    }
    world.shows("strangers that made room", |metrics| made_room(metrics) >= 10.0).await;

    let body = vec![b'x'; 24_000];
    let mut line = Line::connect(http).await;
    line.send([head(&signed(&body), body.len()).into_bytes(), body].concat()).await;
    assert_eq!(line.answer().await.status, 200);
    drop((strangers, line));
    for client in others {
        client.close().await;
    }
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn those_who_come_by_a_proxy_that_names_nobody_do_not_make_room_for_each_other() {
    let Scene { world, client, service, http } = Scene::with(|settings| {
        with_http(settings);
        settings.trust_proxy = "127.0.0.1".parse().expect("a network");
    })
    .await;
    // Together they have more than any stranger, and each has less.
    let body = vec![b'x'; 50_000];
    let mut callers = Vec::new();
    for _ in 0..60 {
        let mut line = Line::connect(http).await;
        line.send(head(&signed(&body), body.len())).await;
        line.send(&body[1..]).await;
        callers.push(line);
    }
    let mut strangers = Vec::new();
    for source in 1..=20 {
        let socket = dial_from([127, 0, 1, source], http).await.expect("a connection");
        let mut line = Line::over(socket);
        line.send(head(&"00".repeat(32), 1_000_000)).await;
        line.send(vec![b'x'; 900_000]).await;
        strangers.push(line);
    }
    world.shows("strangers that made room", |metrics| made_room(metrics) >= 3.0).await;

    for line in &mut callers {
        line.send(b"x").await;
        assert_eq!(line.answer().await.status, 200);
    }
    assert_eq!(service.requests().len(), 60);
    drop((callers, strangers));
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn small_bodies_need_no_room_however_slow_they_are() {
    let Scene { world, client, service, http } = Scene::new().await;
    let body = vec![b'x'; 2000];
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut line = Line::connect(http).await;
        line.send(head(&signed(&body), body.len())).await;
        line.send(&body[1..]).await;
        slow.push(line);
    }
    for mut line in slow.into_iter().rev() {
        line.send(b"x").await;
        assert_eq!(line.answer().await.status, 200);
    }
    assert_eq!(service.requests().len(), 40);
    client.close().await;
    world.stop().await;
}
