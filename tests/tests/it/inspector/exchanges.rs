//! Requests and their answers.

use std::time::Duration;

use hyper::{Request, Response};
use serde_json::{Value, json};
use tests::http::Line;
use tests::sockets::{self, Socket};
use tests::web::{self, DOMAIN, WebService, whole};

use super::{Place, header};

/// What nobody is to find in what is kept.
const HUSH: &str = "hush-hush-hush";

#[tokio::test]
async fn a_request_and_its_answer_are_shown_as_they_were_and_without_secrets() {
    let service = WebService::start_with(|_| {
        Response::builder()
            .status(201)
            .header("content-type", "application/json")
            .header("set-cookie", format!("id={HUSH}; Path=/"))
            .body(whole(format!(r#"{{"token":"{HUSH}","made":true}}"#)))
            .expect("an answer")
    })
    .await;
    let place = Place::of(&format!("app=http://{}", service.addr()), |s| {
        s.inspect.mask = "iban".parse().expect("a name");
    })
    .await;
    place.inspect(json!({})).await;
    let body = format!(r#"{{"password":"{HUSH}","iban":"{HUSH}","name":"ann"}}"#);
    let request = Request::post(format!("/things?token={HUSH}&x=1"))
        .header("host", format!("app.{DOMAIN}"))
        .header("authorization", format!("Bearer {HUSH}"))
        .header("cookie", format!("a={HUSH}"))
        .header("x-api-key", HUSH)
        .header("connection", "keep-alive")
        .header("content-type", "application/json")
        .body(body.clone())
        .expect("a request");
    let answer = web::ask(&place.world, request).await;
    assert_eq!(answer.status(), 201);
    assert!(service.request().body().ends_with(b"\"ann\"}"), "nothing of it is changed");

    let exchange = place.over("/exchanges", 1).await.remove(0);
    assert!(!exchange.to_string().contains(HUSH), "{exchange}");
    assert_eq!(exchange["target"], "/things?token=***&x=1");
    assert_eq!((&exchange["status"], &exchange["outcome"]), (&201.into(), &"complete".into()));
    let (received, sent) = (&exchange["request"]["received"], &exchange["request"]["sent"]);
    for (name, value) in [
        ("authorization", "Bearer ***"),
        ("cookie", "a=***"),
        ("x-api-key", "***"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(&received["headers"], name), value);
        assert_eq!(header(&sent["headers"], name), value);
    }
    assert_eq!(header(&received["headers"], "connection"), "keep-alive");
    assert_eq!(header(&sent["headers"], "connection"), "(none)");
    assert_eq!(header(&received["headers"], "x-forwarded-for"), "(none)");
    assert_eq!(header(&sent["headers"], "x-forwarded-for"), "***", "nobody said it may be kept");
    assert_eq!(
        exchange["request"]["body"]["text"],
        r#"{"password":"***","iban":"***","name":"ann"}"#
    );
    assert_eq!(exchange["request"]["body"]["bytes"], body.len());
    let response = &exchange["response"];
    assert_eq!(response["body"]["text"], r#"{"token":"***","made":true}"#);
    assert_eq!(header(&response["headers"], "set-cookie"), "id=***; Path=/");
    let timing = &exchange["timing"];
    for time in ["waiting_seconds", "connecting_seconds", "first_byte_seconds", "transfer_seconds"]
    {
        assert!(timing[time].as_f64().is_some_and(|time| (0.0..5.0).contains(&time)), "{timing}");
    }
    assert!(exchange["visitor"].is_null());
    place.stop().await;
}

#[tokio::test]
async fn what_the_relay_says_itself_is_told_apart() {
    let gone = tests::local::nobody().await;
    let place = Place::of(&format!("app=http://{gone}"), |_| ()).await;
    place.inspect(json!({})).await;
    let answer = web::ask(&place.world, web::get("/").body("").expect("a request")).await;
    assert_eq!(answer.status(), 502);
    let exchange = place.over("/exchanges", 1).await.remove(0);
    assert_eq!(
        (&exchange["status"], &exchange["fault"]),
        (&502.into(), &"local_refused".into()),
        "{exchange}"
    );
    assert!(exchange["request"]["sent"].is_null());
    place.stop().await;
}

#[tokio::test]
async fn long_bodies_are_cut_and_pass_whole() {
    let long = "x".repeat(100_000);
    let answer = long.clone();
    let service = WebService::start_with(move |_| Response::new(whole(answer.clone()))).await;
    let place = Place::of(&format!("app=http://{}", service.addr()), |s| {
        s.inspect.body = "1000".parse().expect("a size");
    })
    .await;
    place.inspect(json!({})).await;
    let request = Request::post("/").header("host", format!("app.{DOMAIN}"));
    let answer = web::ask(&place.world, request.body(long.clone()).expect("a request")).await;
    assert_eq!(answer.body(), long.as_bytes());
    assert_eq!(service.request().body(), long.as_bytes());
    let exchange = place.over("/exchanges", 1).await.remove(0);
    for body in [&exchange["request"]["body"], &exchange["response"]["body"]] {
        assert_eq!((&body["bytes"], &body["cut"]), (&100_000.into(), &true.into()));
        assert_eq!(body["text"].as_str().map(str::len), Some(1000));
    }
    place.inspect(json!({ "bodies": false })).await;
    web::ask(&place.world, web::get("/").body("").expect("a request")).await;
    let heads = place.over("/exchanges", 2).await.remove(0);
    let body = &heads["response"]["body"];
    assert_eq!((&body["bytes"], &body["text"]), (&100_000.into(), &"".into()));
    assert!(body["left_out"].is_string(), "{body}");
    place.stop().await;
}

#[tokio::test]
async fn exchanges_are_found_by_what_is_in_them_page_by_page() {
    let service = WebService::start_with(|request| {
        let status = if request.uri().path() == "/missing" { 404 } else { 200 };
        let answer = Response::builder().status(status).header("x-kind", request.uri().path());
        answer.body(whole(format!("you asked for {}", request.uri()))).expect("an answer")
    })
    .await;
    let place = Place::of(&format!("app=http://{}", service.addr()), |_| ()).await;
    place.inspect(json!({})).await;
    let mut visitor = web::Visitor::connect(&place.world).await;
    for path in ["/one", "/two", "/missing", "/one?again"] {
        visitor.ask(web::get(path).body("").expect("a request")).await;
    }
    place.over("/exchanges", 4).await;
    for (query, expected) in [
        ("", vec!["/one?again", "/missing", "/two", "/one"]),
        ("?path=one", vec!["/one?again", "/one"]),
        ("?status=404", vec!["/missing"]),
        ("?status=2xx&path=two", vec!["/two"]),
        ("?header=X-Kind:two", vec!["/two"]),
        ("?body=FOR%20/one?", vec!["/one?again"]),
        ("?q=missing", vec!["/missing"]),
        ("?method=POST", vec![]),
        ("?host=app", vec!["/one?again", "/missing", "/two", "/one"]),
    ] {
        let found = place.get(&format!("/exchanges{query}")).await.is(200).each("target");
        assert_eq!(found, expected, "{query}");
    }
    let first = place.get("/exchanges?limit=3").await.is(200);
    assert_eq!(first.each("target"), ["/one?again", "/missing", "/two"]);
    let next = first.json["next"].as_str().expect("more");
    let rest = place.get(&format!("/exchanges?limit=3&cursor={next}")).await.is(200);
    assert_eq!(rest.each("target"), ["/one"]);
    place.stop().await;
}

#[tokio::test]
async fn messages_of_a_websocket_and_events_of_a_stream_are_listed() {
    let service = sockets::beside(async |_| {
        let events = "event: tick\ndata: {\"token\":\"hush\"}\n\ndata: two\n\n";
        let answer = Response::builder().header("content-type", "text/event-stream");
        answer.body(whole(events)).expect("an answer")
    })
    .await;
    let place = Place::of(&format!("app=http://{}", service.addr()), |_| ()).await;
    place.inspect(json!({})).await;
    let http = place.world.addrs.http.expect("a port for HTTP");
    let mut socket = Socket::open(http, &format!("app.{DOMAIN}")).await;
    socket.expect_echo("hello").await;
    socket.expect_echo(r#"{"password":"hush"}"#).await;
    socket.close().await;
    let exchange = place.over("/exchanges", 1).await.remove(0);
    assert_eq!(exchange["status"], 101, "{exchange}");
    let list = exchange["websocket"]["list"].as_array().expect("messages");
    let texts = |from: &str| -> Vec<&Value> {
        let theirs = list.iter().filter(|one| one["from"] == from && one["kind"] == "text");
        theirs.map(|one| &one["text"]).collect()
    };
    for from in ["visitor", "service"] {
        assert_eq!(texts(from), ["hello", r#"{"password":"***"}"#], "{exchange}");
    }

    let mut line = Line::connect(http).await;
    assert_eq!(line.ask(&format!("app.{DOMAIN}"), "/events").await.status, 200);
    let exchange = place.over("/exchanges", 2).await.remove(0);
    let events = exchange["response"]["body"]["events"].as_array().expect("events");
    let seen: Vec<_> = events.iter().map(|one| (&one["event"], &one["data"])).collect();
    assert_eq!(
        seen,
        [(&json!("tick"), &json!("{\"token\":\"***\"}")), (&json!(""), &json!("two"))]
    );
    assert!(!exchange.to_string().contains("hush"));
    place.stop().await;
}

#[tokio::test]
async fn an_inspection_goes_off_by_itself() {
    let service = WebService::start().await;
    let place = Place::of(&format!("app=http://{}", service.addr()), |_| ()).await;
    place.inspect(json!({ "for_seconds": 1 })).await;
    tests::wait::eventually_within(Duration::from_secs(10), "it to go off", async || {
        place.get("/inspection").await.is(200).json["on"] == false
    })
    .await;
    web::ask(&place.world, web::get("/").body("").expect("a request")).await;
    assert_eq!(place.get("/exchanges").await.is(200).each("id"), [""; 0]);
    place.stop().await;
}
