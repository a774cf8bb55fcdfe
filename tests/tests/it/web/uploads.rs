//! A local service may say whether it wants a body before it comes, and answer while it does.

use std::time::Duration;

use tests::http::{Frames, Line, Outcome, Recorder};
use tests::local;

use super::{APP, app, world_of, world_with};

/// How long connections are kept of which nothing more is to come.
const SOON: Duration = Duration::from_secs(1);

/// A request that waits for leave to send its body of 4 bytes.
const ASKS: &str =
    "POST / HTTP/1.1\r\nHost: app.t.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[tokio::test]
async fn a_body_that_waits_for_leave_comes_when_the_service_gives_it() {
    let service = local::played().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    line.send(ASKS).await;
    let mut at_service = service.accept().await;
    at_service.expect(b"POST / HTTP/1.1\r\n").await;
    at_service.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(line.head().await.unwrap().unwrap().status, 100);
    line.send(b"body").await;
    at_service.read_until(b"body").await;
    at_service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(line.answer().await.text(), "ok");
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_does_not_want_a_body_is_not_sent_it() {
    let service = local::played().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    for status in ["417 Expectation Failed", "413 Content Too Large"] {
        let mut line = Line::connect(http).await;
        line.send(ASKS).await;
        let mut at_service = service.accept().await;
        at_service.read_until(b"\r\n\r\n").await;
        let refusal =
            format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        at_service.send(refusal.as_bytes()).await;
        let answer = line.answer().await;
        assert_eq!((&*answer.status.to_string(), answer.text()), (&status[..3], "no"));
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_knows_nothing_of_leave_gets_the_body_all_the_same() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    line.send(ASKS).await;
    assert_eq!(line.head().await.unwrap().unwrap().status, 100);
    line.send(b"body").await;
    assert_eq!(line.answer().await.status, 200);
    assert_eq!(service.seen()[0].body, b"body");
    // Those who do not wait are served too.
    line.send([ASKS.as_bytes(), b"body"].concat()).await;
    let mut head = line.head().await.unwrap().unwrap();
    if head.status == 100 {
        head = line.head().await.unwrap().unwrap();
    }
    assert_eq!(head.status, 200);
    assert_eq!(service.seen()[0].body, b"body");
    drop(line);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_while_the_body_does_reaches_the_visitor() {
    let service = local::played().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let piece = vec![b'x'; 256 * 1024];
    let early =
        b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly";
    for framing in ["Content-Length: 100000000", "Transfer-Encoding: chunked"] {
        let mut line = Line::connect(http).await;
        line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\n{framing}\r\n\r\n")).await;
        if framing.ends_with("chunked") {
            line.send("fffffff\r\n").await;
        }
        line.send(&piece).await;
        let mut at_service = service.accept().await;
        at_service.expect(b"POST / HTTP/1.1\r\n").await;
        at_service.send(early).await;
        let answer = line.answer().await;
        assert_eq!((answer.status, answer.text()), (413, "early"));
        // It is still sending when the service leaves, and is not cut off before it has looked.
        drop(at_service);
        line.send(&piece).await;
        line.expect_end().await;
    }
    let mut frames = Frames::connect(http).await;
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", APP), (":path", "/")];
    frames.headers(1, &post, false).await;
    frames.data(1, &piece[..16 * 1024], false).await;
    let mut at_service = service.accept().await;
    at_service.expect(b"POST / HTTP/1.1\r\n").await;
    at_service.send(early).await;
    assert_eq!(frames.outcome(1).await, Outcome::Answered(413, b"early".to_vec()));
    drop((frames, at_service));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_body_of_which_nothing_comes_any_more_is_not_waited_for_after_its_answer() {
    let service = local::played().await;
    let (world, client, http) = world_with(&app(service.addr()), |settings| {
        settings.stall_timeout = Duration::from_millis(100);
        // However long others may stay.
        settings.web.keep_alive = Duration::from_secs(3600);
    })
    .await;
    let early = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
    let mut line = Line::connect(http).await;
    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 9\r\n\r\nfirst")).await;
    let mut at_service = service.accept().await;
    at_service.expect(b"POST / HTTP/1.1\r\n").await;
    at_service.send(early).await;
    assert_eq!(line.answer().await.text(), "early");
    line.expect_gone().await;

    let mut frames = Frames::connect(http).await;
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", APP), (":path", "/")];
    frames.headers(1, &post, false).await;
    frames.data(1, b"first", false).await;
    let mut at_service = service.accept().await;
    at_service.expect(b"POST / HTTP/1.1\r\n").await;
    at_service.send(early).await;
    assert_eq!(frames.outcome(1).await, Outcome::Answered(200, b"early".to_vec()));
    frames.expect_gone().await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_left_of_a_body_is_no_request_however_late_it_comes() {
    let service = local::played().await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.web.keep_alive = SOON).await;
    let mut line = Line::connect(http).await;
    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 100000\r\n\r\nfirst"))
        .await;
    let mut at_service = service.accept().await;
    at_service.expect(b"POST / HTTP/1.1\r\n").await;
    at_service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await;
    assert_eq!(line.answer().await.text(), "early");
    // A connection of which nothing more is to come is over sooner, although it began later.
    let mut whole = Line::connect(http).await;
    assert_eq!(whole.ask("nobody.example", "/").await.status, 404);
    whole.expect_end().await;
    assert_eq!(world.metrics().await.bytes("app", "in"), 5.0);
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {APP}\r\n\r\n");
    line.send(&smuggled).await;
    let length = 5.0 + smuggled.len() as f64;
    world.shows("more of the body", |metrics| metrics.bytes("app", "in") == length).await;
    let mut other = Line::connect(http).await;
    other.get(APP, "/other").await;
    let mut next = service.accept().await;
    next.expect(b"GET /other HTTP/1.1\r\n").await;
    next.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother").await;
    assert_eq!(other.answer().await.text(), "other");
    drop((line, other, at_service, next));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_body_that_is_larger_than_the_tunnel_takes_is_refused() {
    let service = Recorder::start().await;
    let (world, client, http) =
        world_of(&[format!("app=http://{}?max-body=10", service.addr())]).await;
    let mut line = Line::connect(http).await;
    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 11\r\n\r\n")).await;
    assert_eq!(line.answer().await.status, 413);
    let mut line = Line::connect(http).await;
    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nTransfer-Encoding: chunked\r\n\r\n"))
        .await;
    line.send("6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n").await;
    assert_eq!(line.answer().await.status, 413);
    let mut line = Line::connect(http).await;
    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 10\r\n\r\n0123456789"))
        .await;
    assert_eq!(line.answer().await.status, 200);
    assert_eq!(service.seen().len(), 1);
    drop(line);
    client.finish().await;
    world.stop().await;
}
