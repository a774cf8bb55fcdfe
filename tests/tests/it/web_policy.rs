//! What a relay does with the requests of an HTTP tunnel, as its client asks for.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use hyper::{Method, Request, Response};
use serde_json::json;
use shared::control::protocol::{
    HttpOptions, JwtCheck, RefusalCode, SecretDigest, WebhookCheck, WebhookSender,
};
use tests::jwt::Issuer;
use tests::web::{DOMAIN, Visitor, ask, get, with_http};
use tests::{WebClient, WebService, World};

/// A relay with one HTTP tunnel.
struct Scene {
    world: World,
    service: WebService,
    client: WebClient,
}

impl Scene {
    async fn start(options: HttpOptions) -> Self {
        Self::start_with(options, |_| ()).await
    }

    /// One of which every visitor is believed to have come from where it says, by TLS or not.
    async fn start_trusting(options: HttpOptions) -> Self {
        Self::start_with(options, |settings| {
            settings.trust_proxy = "127.0.0.0/8".parse().expect("a network");
        })
        .await
    }

    async fn start_with(options: HttpOptions, adjust: impl FnOnce(&mut relay::Settings)) -> Self {
        let world = World::start_with(|settings| {
            with_http(settings);
            adjust(settings);
        })
        .await;
        let service = WebService::start().await;
        let client = WebClient::open(&world, options, service.addr()).await;
        Self { world, service, client }
    }

    async fn ask(&self, request: hyper::http::request::Builder) -> Response<Bytes> {
        ask(&self.world, request.body("").expect("a request")).await
    }

    /// The status of the answer to a request.
    async fn status(&self, request: hyper::http::request::Builder) -> u16 {
        self.ask(request).await.status().as_u16()
    }

    async fn stop(self) {
        self.client.close().await;
        self.world.stop().await;
    }
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("a plain header"))
}

#[tokio::test]
async fn a_request_reaches_the_local_service_and_its_answer_the_visitor() {
    let scene = Scene::start(HttpOptions::default()).await;
    let answer = scene.ask(get("/a?tunnel_token=b").header("authorization", "Basic YTpi")).await;
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"ok"[..]));
    let seen = scene.service.request();
    assert_eq!(seen.uri(), "/a?tunnel_token=b");
    assert_eq!(seen.headers()["authorization"], "Basic YTpi");
    scene.stop().await;
}

#[tokio::test]
async fn visitors_are_sent_to_tls_and_to_where_paths_have_moved() {
    let options = HttpOptions {
        redirect_https: true,
        hsts: Some(3600),
        redirect: vec![
            ("/old/*".into(), "/new/*".into()),
            ("/away".into(), "https://example.com/".into()),
        ],
        ..HttpOptions::default()
    };
    let scene = Scene::start_trusting(options).await;
    let plain = scene.ask(get("/old/a?b=c")).await;
    assert_eq!(plain.status(), 308);
    assert_eq!(header(&plain, "location"), format!("https://app.{DOMAIN}/old/a?b=c"));
    assert_eq!(header(&plain, "strict-transport-security"), "", "not over TLS");

    let by_tls = |path| get(path).header("x-forwarded-proto", "https");
    for (path, to) in
        [("/old/a?b=c", "/new/a?b=c"), ("/away?a", "https://example.com/?a"), ("/old/", "/new/")]
    {
        let moved = scene.ask(by_tls(path)).await;
        assert_eq!((moved.status().as_u16(), header(&moved, "location")), (302, to), "{path}");
        assert_eq!(header(&moved, "strict-transport-security"), "max-age=3600");
    }
    let answer = scene.ask(by_tls("/new/a")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "strict-transport-security"), "max-age=3600");
    assert_eq!(scene.service.request().uri(), "/new/a");
    scene.stop().await;
}

#[tokio::test]
async fn whoever_comes_too_often_is_told_when_to_come_again() {
    let rate = Some("2/1h".parse().expect("a frequency"));
    let scene = Scene::start_trusting(HttpOptions { rate, ..HttpOptions::default() }).await;
    let from = |ip| get("/").header("x-forwarded-for", ip);
    assert_eq!(scene.status(from("192.0.2.1")).await, 200);
    assert_eq!(scene.status(from("192.0.2.1")).await, 200);
    let refused = scene.ask(from("192.0.2.1")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "x-relay-error"), "too_many_requests");
    let wait: u64 = header(&refused, "retry-after").parse().expect("seconds");
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(scene.status(from("192.0.2.2")).await, 200);
    scene
        .world
        .shows("a request that came too soon", |metrics| {
            metrics.value(r#"relay_limits_total{limit="requests_per_source"}"#) == Some(1.0)
        })
        .await;
    scene.stop().await;
}

#[tokio::test]
async fn a_token_opens_the_tunnel_and_goes_no_further() {
    let token = Some(SecretDigest::of(b"t0ken"));
    let scene = Scene::start(HttpOptions { token, ..HttpOptions::default() }).await;
    for bad in ["/", "/?tunnel_token=", "/?tunnel_token=T0ken"] {
        let refused = scene.ask(get(bad)).await;
        assert_eq!(
            (refused.status().as_u16(), header(&refused, "x-relay-error")),
            (403, "token_needed")
        );
    }
    assert!(scene.service.requests().is_empty());
    for target in
        ["/a?x=%20&tunnel_token=t0ken&&y", "/a?tunnel_token=no&x=%20&tunnel_token=t0ken&&y"]
    {
        assert_eq!(scene.status(get(target)).await, 200);
        assert_eq!(scene.service.request().uri(), "/a?x=%20&&y");
    }
    assert_eq!(scene.status(get("/a").header("x-tunnel-token", "t0ken")).await, 200);
    let seen = scene.service.request();
    assert!(!seen.headers().contains_key("x-tunnel-token"), "{seen:?}");
    scene.stop().await;
}

#[tokio::test]
async fn a_password_opens_the_tunnel_and_guessing_is_slowed_down() {
    let auth = ["ann:secret", "bob:other"].map(|user| SecretDigest::of(user.as_bytes()));
    let options = HttpOptions { auth: auth.into(), ..HttpOptions::default() };
    let scene = Scene::start_trusting(options).await;
    let asks = |ip, login: &str| {
        let login = format!("Basic {}", BASE64.encode(login.as_bytes()));
        get("/").header("x-forwarded-for", ip).header("authorization", login)
    };
    let refused = scene.ask(get("/")).await;
    assert_eq!(refused.status(), 401);
    let asks_for = |response| header(response, "www-authenticate").to_owned();
    assert_eq!(asks_for(&refused), "Basic realm=\"tunnel app\", charset=\"UTF-8\"");
    // Browsers do not send the password of one tunnel to another of the same origin.
    let by_path = Request::get("/t/app/").header("host", "relay.example");
    let by_path = scene.ask(by_path).await;
    assert_eq!(asks_for(&by_path), "Basic realm=\"tunnel app at /t/app\", charset=\"UTF-8\"");
    for login in ["ann:secret", "bob:other"] {
        assert_eq!(scene.status(asks("192.0.2.1", login)).await, 200);
        assert!(!scene.service.request().headers().contains_key("authorization"));
    }
    for n in 0..10 {
        assert_eq!(scene.status(asks("192.0.2.1", &format!("ann:{n}"))).await, 401);
    }
    let refused = scene.ask(asks("192.0.2.1", "ann:secret")).await;
    assert_eq!(header(&refused, "x-relay-error"), "too_many_guesses");
    assert_eq!(refused.status(), 429);
    let wait: u64 = header(&refused, "retry-after").parse().expect("seconds");
    assert!((1..=6).contains(&wait), "{wait}");
    assert_eq!(scene.status(asks("192.0.2.2", "ann:secret")).await, 200);
    scene.stop().await;
}

#[tokio::test]
async fn a_web_token_opens_the_tunnel_and_reaches_the_local_service() {
    let issuer = Issuer::with_pair();
    let jwt = JwtCheck { keys: issuer.key_file(), audience: "app".into(), issuer: None };
    let scene = Scene::start(HttpOptions { jwt: Some(jwt), ..HttpOptions::default() }).await;
    let none = scene.ask(get("/")).await;
    assert_eq!(none.status(), 401);
    assert_eq!(header(&none, "www-authenticate"), "Bearer realm=\"tunnel\"");
    let bearer = |claims| format!("Bearer {}", issuer.issue(&claims));
    let other = bearer(json!({"aud": "other"}));
    let refused = scene.ask(get("/").header("authorization", other)).await;
    assert_eq!(refused.status(), 401);
    let why = header(&refused, "www-authenticate");
    assert!(why.contains("error=\"invalid_token\"") && why.contains("(aud)"), "{why}");
    assert!(scene.service.requests().is_empty());
    let good = bearer(json!({"aud": "app"}));
    assert_eq!(scene.status(get("/").header("authorization", &good)).await, 200);
    assert_eq!(scene.service.request().headers()["authorization"], good);
    scene.stop().await;
}

/// A request that GitHub would sign so.
fn hook(secret: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let body = body.into();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = HEXLOWER.encode(hmac::sign(&key, &body).as_ref());
    get("/hook")
        .method(Method::POST)
        .header("x-hub-signature-256", format!("sha256={signature}"))
        .body(body)
        .expect("a request")
}

#[tokio::test]
async fn what_is_signed_comes_through_as_it_was_sent() {
    let webhook = WebhookCheck { from: WebhookSender::GitHub, secret: "s3cret".into() };
    let options = HttpOptions { webhook: Some(webhook), ..HttpOptions::default() };
    let scene = Scene::start(options).await;
    let largest = vec![b'x'; 1024 * 1024];
    for body in [&b"{\"zen\": \"Design for failure.\"}"[..], b"", &largest] {
        let answer = ask(&scene.world, hook("s3cret", body.to_vec())).await;
        assert_eq!(answer.status(), 200);
        let seen = scene.service.request();
        assert!(seen.body() == body, "{} bytes", seen.body().len());
        if !body.is_empty() {
            assert_eq!(seen.headers()["content-length"], body.len().to_string());
        }
    }
    for (request, status, code) in [
        (hook("another", "body"), 403, "unsigned"),
        (get("/").body("".into()).expect("a request"), 403, "unsigned"),
        (hook("s3cret", vec![b'x'; 1024 * 1024 + 1]), 413, "body_too_large"),
    ] {
        let refused = ask(&scene.world, request).await;
        assert_eq!(refused.status(), status);
        assert_eq!(header(&refused, "x-relay-error"), code);
    }
    assert!(scene.service.requests().is_empty());
    scene.stop().await;
}

#[tokio::test]
async fn what_was_signed_long_ago_does_not_come_through_again() {
    let webhook = WebhookCheck { from: WebhookSender::Slack, secret: "s3cret".into() };
    let options = HttpOptions { webhook: Some(webhook), ..HttpOptions::default() };
    let scene = Scene::start(options).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    for (time, status) in [(now, 200), (now - 200, 200), (now - 400, 403), (now + 400, 403)] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
        let signature = hmac::sign(&key, format!("v0:{time}:a=b").as_bytes());
        let request = get("/slack")
            .method(Method::POST)
            .header("x-slack-request-timestamp", time)
            .header("x-slack-signature", format!("v0={}", HEXLOWER.encode(signature.as_ref())))
            .body("a=b")
            .expect("a request");
        assert_eq!(
            ask(&scene.world, request).await.status(),
            status,
            "{}",
            time as i64 - now as i64
        );
    }
    scene.stop().await;
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_with_the_reason() {
    let world = World::start_with(with_http).await;
    let jwt = JwtCheck { keys: "none".into(), audience: "app".into(), issuer: None };
    for (options, says) in [
        (HttpOptions { jwt: Some(jwt), ..HttpOptions::default() }, "jwt: "),
        (
            HttpOptions { redirect: vec![("a".into(), "b".into())], ..HttpOptions::default() },
            "redirect: `a`",
        ),
        (
            HttpOptions { add_header: vec![("a b".into(), "c".into())], ..HttpOptions::default() },
            "add-header: `a b`",
        ),
        (HttpOptions { hsts: Some(u64::MAX), ..HttpOptions::default() }, "hsts: "),
    ] {
        let refused = WebClient::try_open(&world, options, world.addrs.admin).await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::BadRequest);
        assert!(refused.message.contains(says), "{refused}");
    }
    world.stop().await;
}

#[tokio::test]
async fn each_client_of_a_tunnel_decides_for_itself_whom_it_lets_in() {
    let scene = Scene::start(HttpOptions::default()).await;
    let strict = WebService::start().await;
    let balance = shared::control::protocol::Balance::LeastBusy;
    let options = |token: Option<&str>| HttpOptions {
        balance,
        token: token.map(|token| SecretDigest::of(token.as_bytes())),
        ..HttpOptions::default()
    };
    let second = WebClient::open(&scene.world, options(Some("t0ken")), strict.addr()).await;
    let open = WebService::start().await;
    // The one that serves lets everybody in, and half of the requests go to the other one.
    let third = WebClient::open(&scene.world, options(None), open.addr()).await;
    let mut visitor = Visitor::connect(&scene.world).await;
    let mut refused = 0;
    for _ in 0..20 {
        let answer = visitor.ask(get("/").body("").expect("a request")).await;
        refused += usize::from(answer.status() == 403);
    }
    assert!(refused > 0);
    assert!(strict.requests().is_empty());
    for _ in 0..20 {
        let request = get("/?tunnel_token=t0ken").body("").expect("a request");
        assert_eq!(visitor.ask(request).await.status(), 200);
    }
    let seen = strict.requests();
    assert!(!seen.is_empty() && seen.iter().all(|request| request.uri() == "/"), "{seen:?}");
    third.close().await;
    second.close().await;
    scene.stop().await;
}

#[tokio::test]
async fn a_body_on_its_way_is_held_for_a_client_that_wants_it_signed() {
    let scene = Scene::start(HttpOptions::default()).await;
    let balance = shared::control::protocol::Balance::LeastBusy;
    let webhook = WebhookCheck { from: WebhookSender::GitHub, secret: "s3cret".into() };
    let options = |webhook| HttpOptions { balance, webhook, ..HttpOptions::default() };
    let strict = WebService::start().await;
    let second = WebClient::open(&scene.world, options(Some(webhook)), strict.addr()).await;
    let third = WebClient::open(&scene.world, options(None), scene.service.addr()).await;
    let mut refused = 0;
    for _ in 0..20 {
        let answer = ask(&scene.world, hook("another", "body")).await;
        refused += usize::from(answer.status() == 403);
    }
    assert!(refused > 0);
    assert!(strict.requests().is_empty());
    for _ in 0..20 {
        // It need not be asked for by the local service: it is here.
        let mut hook = hook("s3cret", "body");
        hook.headers_mut().insert("expect", "100-continue".parse().unwrap());
        assert_eq!(ask(&scene.world, hook).await.status(), 200);
    }
    let seen = strict.requests();
    let is_plain = |request: &Request<Bytes>| {
        request.body() == "body" && !request.headers().contains_key("expect")
    };
    assert!(!seen.is_empty() && seen.iter().all(is_plain), "{seen:?}");
    third.close().await;
    second.close().await;
    scene.stop().await;
}
