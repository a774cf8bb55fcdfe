//! Connections to local services serve one visitor after the other, and each gets its own answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use shared::control::protocol::{FromRelay, HttpOptions, HttpVersion};
use shared::visit::record::{Failure, FailureReason};
use shared::visit::stream::DataStream;
use tests::http::multiplexed::Runs;
use tests::http::{Line, Multiplexed, Recorder, Reply};
use tests::rogue::{self, RogueClient};
use tests::web::{tunnel, with_http};
use tests::{Local, Tasks, World, eventually, within, within_time};
use tokio::runtime::Handle;

use super::{APP, app, world_of};

#[tokio::test]
async fn a_connection_serves_all_visitors_that_come_one_after_the_other() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    for number in 0..100 {
        let mut line = Line::connect(http).await;
        let path = format!("/{number}");
        assert_eq!(line.ask(APP, &path).await.text(), path);
        let visitor = Multiplexed::connect(http).await;
        assert_eq!(visitor.get(APP, &path).await.body(), &path);
    }
    assert_eq!(service.connections(), 1);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn those_who_come_at_once_get_a_connection_each_which_is_used_again() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    for _ in 0..20 {
        let mut visitors = Tasks::new();
        for number in 0..20 {
            visitors.spawn(async move {
                let path = format!("/{number}");
                assert_eq!(Line::connect(http).await.ask(APP, &path).await.text(), path);
            });
        }
        visitors.join().await;
    }
    let connections = service.connections();
    assert!(connections <= 20, "{connections} connections for 20 visitors at a time");
    client.finish().await;
    eventually("all connections to end", async || service.connections_now() == 0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_connection_that_the_service_has_closed_is_not_used_again() {
    let service = Recorder::start_with(|seen| Reply::ok(&seen.target).and_closes()).await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    for number in 0..200 {
        let path = format!("/{number}");
        let request = format!("POST {path} HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 1\r\n\r\nx");
        line.send(request).await;
        assert_eq!(line.answer().await.text(), path);
        // It is closed by then, and the relay knows.
        let now = async || service.connections_now() == 0;
        eventually("the connection to end", now).await;
        world.shows("no stream", |m| m.visitors("app") == 0.0).await;
    }
    assert_eq!(service.seen().len(), 200);
    client.finish().await;
    world.stop().await;
}

/// A service that takes a second request on a connection, and closes it then without an answer.
async fn forgetful() -> Recorder {
    Recorder::start_with(|seen| match seen.place {
        0 => Reply::ok(&seen.target),
        _ => Reply::none(),
    })
    .await
}

#[tokio::test]
async fn what_may_be_sent_again_is_when_a_connection_closes_in_that_moment() {
    let service = forgetful().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        assert_eq!(line.ask(APP, "/first").await.text(), "/first");
        line.send(format!("{method} /again HTTP/1.1\r\nHost: {APP}\r\n\r\n")).await;
        match method {
            "HEAD" => assert_eq!(line.head().await.unwrap().unwrap().status, 200),
            _ => assert_eq!(line.answer().await.text(), "/again", "{method}"),
        }
        let seen = service.seen();
        let again = seen.iter().filter(|seen| seen.target == "/again");
        assert_eq!(again.count(), 2, "{method}: {seen:?}");
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn what_may_not_be_sent_again_is_not() {
    let service = forgetful().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    for (method, body) in [("POST", ""), ("POST", "x"), ("PATCH", "x"), ("PUT", "x")] {
        let mut line = Line::connect(http).await;
        assert_eq!(line.ask(APP, "/first").await.text(), "/first");
        let length = body.len();
        line.send(format!(
            "{method} /once HTTP/1.1\r\nHost: {APP}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        assert_eq!(line.answer().await.status, 502, "{method} {body}");
        let seen = service.seen();
        let once = seen.iter().filter(|seen| seen.target == "/once");
        assert_eq!(once.count(), 1, "{method} {body}: {seen:?}");
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn what_the_service_says_without_being_asked_is_nobodys_answer() {
    let service = Recorder::start_with(|seen| {
        let own = Reply::ok(&seen.target);
        let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
        let bytes = match seen.target.as_str() {
            // A whole answer more; one where there may be no body, with a body; one that is longer
            // than it says.
            "/twice" => [own.bytes, stray.into()].concat(),
            "/head" => {
                [&b"HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n"[..], stray.as_bytes()].concat()
            }
            "/204" => [&b"HTTP/1.1 204 No Content\r\n\r\n"[..], stray.as_bytes()].concat(),
            "/304" => [&b"HTTP/1.1 304 Not Modified\r\n\r\n"[..], stray.as_bytes()].concat(),
            "/long" => {
                [&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], stray.as_bytes()].concat()
            }
            _ => own.bytes,
        };
        Reply { bytes, closes: false }
    })
    .await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    for round in 0..50 {
        for (method, path) in [
            ("GET", "/twice"),
            ("HEAD", "/head"),
            ("GET", "/204"),
            ("GET", "/304"),
            ("GET", "/long"),
        ] {
            line.send(format!("{method} {path} HTTP/1.1\r\nHost: {APP}\r\n\r\n")).await;
            match method {
                "HEAD" => drop(line.head().await.unwrap().unwrap()),
                _ => drop(line.answer().await),
            }
            let next = format!("/next/{round}");
            assert_eq!(line.ask(APP, &next).await.text(), next, "after {path}");
        }
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn ten_thousand_answers_reach_those_who_asked_while_the_service_closes_connections() {
    // Now and then it closes after an answer without a warning, so that the next request meets a
    // connection that is about to go.
    let served = Arc::new(AtomicUsize::new(0));
    let service = Recorder::start_with(move |seen| {
        let number = served.fetch_add(1, Ordering::Relaxed);
        let reply = Reply::ok(&seen.target);
        if number.is_multiple_of(7) { reply.and_closes() } else { reply }
    })
    .await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut visitors = Tasks::new();
    for visitor in 0..50 {
        visitors.spawn(async move {
            let mut line = Line::connect(http).await;
            for number in 0..200 {
                let path = format!("/{visitor}/{number}");
                let answer = line.ask(APP, &path).await;
                assert_eq!((answer.status, answer.text()), (200, &*path));
            }
        });
    }
    within_time(tests::wait::PATIENCE * 6, "all answers", visitors.join()).await;
    assert_eq!(service.ill_formed(), Vec::<String>::new());
    world.shows("nobody", |metrics| metrics.visitors("app") == 0.0).await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_connection_that_is_over() {
    let service = Recorder::start_with(|seen| Reply::ok(&seen.target).and_closes()).await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let mut line = Line::connect(http).await;
    let before = tasks();
    for number in 0..100 {
        let path = format!("/{number}");
        assert_eq!(line.ask(APP, &path).await.text(), path);
    }
    // The visitor's own connection is among them by now.
    eventually("all tasks of the connections to end", async || tasks() <= before + 2).await;
    drop(line);
    client.finish().await;
    world.stop().await;
}

/// The connections of a service.
#[derive(Debug, Default)]
struct Connections {
    in_all: AtomicUsize,
    now: AtomicUsize,
}

/// A service of HTTP/2 that answers with what it has been asked.
async fn http_2() -> (Local, Arc<Connections>) {
    let connections = Arc::new(Connections::default());
    let counted = Arc::clone(&connections);
    let service = Local::start(move |socket| {
        let connections = Arc::clone(&counted);
        async move {
            connections.in_all.fetch_add(1, Ordering::Relaxed);
            connections.now.fetch_add(1, Ordering::Relaxed);
            let answer = service_fn(async |request: Request<Incoming>| {
                let seen = format!("{:?} {}", request.version(), request.uri());
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(seen))))
            });
            let serving = http2::Builder::new(Runs::default());
            drop(serving.serve_connection(TokioIo::new(socket), answer).await);
            connections.now.fetch_sub(1, Ordering::Relaxed);
        }
    })
    .await;
    (service, connections)
}

#[tokio::test]
async fn a_service_of_http_2_serves_all_by_one_connection() {
    let (service, connections) = http_2().await;
    let (world, client, http) = world_of(&[format!("app=h2c://{}", service.addr())]).await;
    let expected = format!("HTTP/2.0 http://{APP}/first");
    assert_eq!(Line::connect(http).await.ask(APP, "/first").await.text(), expected);
    let mut visitors = Tasks::new();
    for visitor in 0..20 {
        visitors.spawn(async move {
            let mut line = Line::connect(http).await;
            let multiplexed = Multiplexed::connect(http).await;
            for number in 0..20 {
                let path = format!("/{visitor}/{number}");
                let expected = format!("HTTP/2.0 http://{APP}{path}");
                assert_eq!(line.ask(APP, &path).await.text(), expected);
                assert_eq!(multiplexed.get(APP, &path).await.body(), &expected);
            }
        });
    }
    visitors.join().await;
    assert_eq!(connections.in_all.load(Ordering::Relaxed), 1);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn those_who_come_at_once_to_a_service_of_http_2_share_one_connection() {
    let (service, connections) = http_2().await;
    let (world, client, http) = world_of(&[format!("app=h2c://{}", service.addr())]).await;
    let mut visitors = Tasks::new();
    for number in 0..100 {
        visitors.spawn(async move {
            let answer = Line::connect(http).await.ask(APP, &format!("/{number}")).await;
            assert_eq!(answer.text(), format!("HTTP/2.0 http://{APP}/{number}"));
        });
    }
    visitors.join().await;
    assert_eq!(connections.in_all.load(Ordering::Relaxed), 1);
    client.finish().await;
    world.stop().await;
}

/// A relay with a client that a test plays itself, whose service speaks HTTP/2.
async fn played_http_2() -> (World, RogueClient, SocketAddr) {
    let world = World::start_with(with_http).await;
    let mut hello = rogue::hello(&[]);
    let options = HttpOptions { version: HttpVersion::Http2, ..HttpOptions::default() };
    hello.tunnels = vec![tunnel("app", options)];
    let mut client = RogueClient::connect(world.addrs.control, hello).await;
    assert!(matches!(client.receive().await, FromRelay::Welcome(_)));
    let http = world.addrs.http.expect("a port for HTTP");
    (world, client, http)
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_once_for_all_who_wait_for_it() {
    let (world, mut client, http) = played_http_2().await;
    let mut visitors = Tasks::new();
    for number in 0..40 {
        visitors.spawn(async move {
            let mut line = Line::connect(http).await;
            match number % 2 {
                0 => line.get(APP, "/").await,
                _ => {
                    let length = "Content-Length: 1\r\n\r\nx";
                    line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\n{length}")).await;
                }
            }
            let answer = line.answer().await;
            assert_eq!(answer.status, 502);
            assert_eq!(answer.headers.of("x-relay-error"), Some("local_refused"));
        });
    }
    let stream = within("a stream", client.inbound.next()).await.expect("a session");
    let (mut stream, _) = DataStream::accept(stream).await.expect("a visit");
    world.shows("all requests", |metrics| metrics.requests("app") == 40.0).await;
    let refused = Failure { reason: FailureReason::Refused, explanation: String::new() };
    stream.failed(refused).await.expect("a session");
    within("all answers", visitors.join()).await;
    assert!(client.inbound.next().now_or_never().is_none(), "nobody has tried again");
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_waits_for_a_connection_goes_on_when_the_one_who_makes_it_leaves() {
    let (world, mut client, http) = played_http_2().await;
    let mut first = Line::connect(http).await;
    first.get(APP, "/").await;
    let stream = within("a stream", client.inbound.next()).await.expect("a session");
    let mut second = Line::connect(http).await;
    second.get(APP, "/").await;
    world.shows("two requests", |metrics| metrics.requests("app") == 2.0).await;
    first.reset();
    let again = within("another stream", client.inbound.next()).await.expect("a session");
    drop(stream);
    let (mut again, _) = DataStream::accept(again).await.expect("a visit");
    let refused = Failure { reason: FailureReason::TimedOut, explanation: String::new() };
    again.failed(refused).await.expect("a session");
    assert_eq!(second.answer().await.headers.of("x-relay-error"), Some("local_timeout"));
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn connections_of_a_tunnel_that_is_closed_end_with_it() {
    let [service, other] = [Recorder::start().await, Recorder::start().await];
    let (by_http_2, connections) = http_2().await;
    let tunnels = vec![
        format!("app=http://{}", service.addr()),
        format!("two=h2c://{}", by_http_2.addr()),
        format!("other=http://{}", other.addr()),
    ];
    let (world, client, http) = world_of(&tunnels).await;
    let mut line = Line::connect(http).await;
    for host in [APP, "two.t.example", "other.t.example"] {
        assert_eq!(line.ask(host, "/").await.status, 200);
    }
    assert_eq!((service.connections_now(), other.connections_now()), (1, 1));
    assert_eq!(connections.now.load(Ordering::Relaxed), 1);
    let left = client::Config::new(world.config(&tunnels[2..])).expect("settings that can run");
    client.reconfigure.apply(left);
    eventually("the connections of both tunnels to end", async || {
        service.connections_now() == 0 && connections.now.load(Ordering::Relaxed) == 0
    })
    .await;
    assert_eq!(other.connections_now(), 1);
    client.finish().await;
    world.stop().await;
}
