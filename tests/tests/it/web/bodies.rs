//! Bodies arrive as they were sent, whatever they are framed by, and nobody holds them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tests::http::frames::{END_STREAM, kind};
use tests::http::{Frames, Line, Multiplexed, Outcome, Recorder, Reply};
use tests::pattern::Pattern;
use tests::usage::{resident_memory, runs_alone};
use tests::{Local, within_time};

use super::{APP, app, world_of};

const MEGABYTE: usize = 1024 * 1024;

/// Sends back each body while it comes.
async fn echo() -> Local {
    Local::start(|socket| async move {
        let service = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        // The relay may leave at any time.
        drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
    })
    .await
}

/// A body of so many bytes of a pattern, which takes up no memory.
struct Patterned {
    pattern: Pattern,
    left: usize,
}

impl Body for Patterned {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let most = self.left.min(16 * 1024);
        let piece = self.pattern.next(most);
        self.left -= piece.len();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }
}

/// Sends so many bytes up and gets them back, by HTTP/1.1 and by HTTP/2.
async fn there_and_back(http: SocketAddr, length: usize) {
    let mut line = Line::connect(http).await;
    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: {length}\r\n\r\n")).await;
    let head = line.head().await.expect("a head").expect("an answer");
    assert_eq!(head.headers.of("content-length"), Some(&*length.to_string()));
    line.exchange(1, 1, length).await;

    let visitor = Multiplexed::connect(http).await;
    let body = Patterned { pattern: Pattern::new(2), left: length }.boxed_unsync();
    let request = Request::post(format!("http://{APP}/")).body(body).expect("a request");
    let mut body = visitor.begin_with(request).await.expect("an answer").into_body();
    let (mut pattern, mut got) = (Pattern::new(2), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.expect("a whole body").into_data().expect("no trailers");
        pattern.check(&data);
        got += data.len();
    }
    assert_eq!(got, length);
}

#[tokio::test]
async fn large_bodies_go_up_and_down_unchanged_and_memory_stays_flat() {
    if !runs_alone("web::bodies::large_bodies_go_up_and_down_unchanged_and_memory_stays_flat") {
        return;
    }
    let is_soaking = std::env::var("SALLYPORT_SOAK").is_ok();
    let length = if is_soaking { 5 * 1024 * MEGABYTE } else { 64 * MEGABYTE };
    let service = echo().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    there_and_back(http, 8 * MEGABYTE).await;
    let before = resident_memory();
    let patience = std::time::Duration::from_secs(if is_soaking { 3600 } else { 120 });
    within_time(patience, "all bytes", there_and_back(http, length)).await;
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 24 * MEGABYTE, "{grown} bytes more after bodies of {length}");
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_request_has_its_body_however_that_is_framed() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let requests = [
        "POST / HTTP/1.1\r\nHost: app.t.example\r\nContent-Length: 4\r\n\r\nbody",
        "POST / HTTP/1.0\r\nHost: app.t.example\r\nContent-Length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nHost: app.t.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3\r\nody\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.t.example\r\nContent-Length: 4\r\n\r\nbody",
        "DELETE / HTTP/1.1\r\nHost: app.t.example\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ];
    for request in requests {
        let mut line = Line::connect(http).await;
        line.send(request).await;
        assert_eq!(line.answer().await.status, 200);
        assert_eq!(service.seen()[0].body, b"body", "{request:?}");
    }
    let mut frames = Frames::connect(http).await;
    for (stream, length) in [(1, Some("4")), (3, None)] {
        let post = [(":method", "POST"), (":scheme", "http"), (":authority", APP), (":path", "/")];
        let length = length.map(|length| ("content-length", length));
        frames.headers(stream, &[&post[..], length.as_slice()].concat(), false).await;
        frames.data(stream, b"bo", false).await;
        frames.data(stream, b"dy", true).await;
        assert_eq!(frames.outcome(stream).await, Outcome::Answered(200, b"/".to_vec()));
        assert_eq!(service.seen()[0].body, b"body");
    }
    assert_eq!(service.ill_formed(), Vec::<String>::new());
    drop(frames);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_has_its_body_however_that_is_framed() {
    let service = Recorder::start_with(|seen| {
        let (bytes, closes) = match seen.target.as_str() {
            "/length" => ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", false),
            "/chunks" => {
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3\r\nody\r\n0\r\n\r\n", false)
            }
            "/both" => {
                ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", false)
            }
            "/close" => ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody", true),
            "/old" => ("HTTP/1.0 200 OK\r\n\r\nbody", true),
            _ => ("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", true),
        };
        Reply { bytes: bytes.into(), closes }
    })
    .await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    let mut frames = Frames::connect(http).await;
    let paths = ["/length", "/chunks", "/both", "/close", "/old", "/old-length"];
    for (path, stream) in paths.into_iter().zip((1..).step_by(2)) {
        // The visitor's own connection is kept, whatever becomes of that behind it.
        assert_eq!(line.ask(APP, path).await.text(), "body", "{path}");
        let mut old = Line::connect(http).await;
        old.send(format!("GET {path} HTTP/1.0\r\nHost: {APP}\r\n\r\n")).await;
        let answer = old.answer().await;
        assert_eq!((answer.text(), answer.headers.of("transfer-encoding")), ("body", None));
        frames.get(stream, APP, path).await;
        assert_eq!(frames.outcome(stream).await, Outcome::Answered(200, b"body".to_vec()));
    }
    drop((line, frames));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn what_comes_behind_a_body_arrives_behind_it() {
    let service = Recorder::start_with(|_| Reply {
        bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 8\r\n\r\n".into(),
        closes: false,
    })
    .await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nTE: trailers\r\nTrailer: x-sum, x-forwarded-for\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")).await;
    let answer = line.answer().await;
    assert_eq!((answer.text(), answer.trailers.of("x-sum")), ("body", Some("8")));
    let seen = service.seen().remove(0);
    assert_eq!((&*seen.body, seen.trailers.of("x-sum")), (&b"body"[..], Some("7")));
    // Who visits is said in front of a body, and by the relay.
    assert_eq!(seen.trailers.of("x-forwarded-for"), None);

    let mut frames = Frames::connect(http).await;
    let post = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", APP),
        (":path", "/"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
    ];
    frames.headers(1, &post, false).await;
    frames.data(1, b"body", false).await;
    frames.headers(1, &[("x-sum", "7")], true).await;
    let mut kinds = Vec::new();
    loop {
        let frame = frames.next_of(1).await.expect("a frame");
        kinds.push(frame.kind);
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(kinds, [kind::HEADERS, kind::DATA, kind::HEADERS]);
    let seen = service.seen().remove(0);
    assert_eq!((&*seen.body, seen.trailers.of("x-sum")), (&b"body"[..], Some("7")));
    // Answers with trailers are whole, and their connection is kept.
    assert_eq!(service.connections(), 1);
    drop((line, frames));
    client.finish().await;
    let answered = "relay_requests_total{status=\"2xx\",tunnel=\"app\"}";
    world.shows("both requests", |metrics| metrics.value(answered) == Some(2.0)).await;
    let aborted = "relay_requests_aborted_total{tunnel=\"app\"}";
    assert_eq!(world.metrics().await.value(aborted), Some(0.0));
    world.stop().await;
}

#[tokio::test]
async fn answers_that_have_no_body_have_none_and_say_how_long_it_would_be() {
    let service = Recorder::start_with(|seen| {
        let bytes = match (seen.method.as_str(), seen.target.as_str()) {
            (_, "/204") => "HTTP/1.1 204 No Content\r\n\r\n",
            (_, "/304") => "HTTP/1.1 304 Not Modified\r\n\r\n",
            ("HEAD", "/chunks") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ("HEAD", _) => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        };
        Reply { bytes: bytes.into(), closes: false }
    })
    .await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    let mut frames = Frames::connect(http).await;
    let cases = [
        ("HEAD", "/", 200, Some("4")),
        ("HEAD", "/chunks", 200, None),
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, None),
        ("HEAD", "/204", 204, None),
        ("HEAD", "/304", 304, None),
    ];
    for (at, (method, path, status, length)) in cases.into_iter().enumerate() {
        line.send(format!("{method} {path} HTTP/1.1\r\nHost: {APP}\r\n\r\n")).await;
        let head = line.head().await.expect("a head").expect("an answer");
        let found = (head.status, head.headers.of("content-length"));
        assert_eq!(found, (status, length), "{method} {path}");
        assert_eq!(line.ask(APP, "/").await.text(), "body", "after {method} {path}");

        let stream = 4 * at as u32 + 1;
        let fields =
            [(":method", method), (":scheme", "http"), (":authority", APP), (":path", path)];
        frames.headers(stream, &fields, true).await;
        assert_eq!(frames.outcome(stream).await, Outcome::Answered(status, Vec::new()));
        frames.get(stream + 2, APP, "/").await;
        assert_eq!(frames.outcome(stream + 2).await, Outcome::Answered(200, b"body".to_vec()));
    }
    assert_eq!(service.connections(), 1);
    drop((line, frames));
    client.finish().await;
    world.stop().await;
}
