//! Answers that the relay compresses for visitors who take that.

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::tokio::write;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Response};
use parking_lot::Mutex;
use shared::control::protocol::HttpOptions;
use tests::web::{Answered, Visitor, ask, get, whole, with_http};
use tests::{WebClient, WebService, World, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

fn compress() -> HttpOptions {
    HttpOptions { compress: true, ..HttpOptions::default() }
}

fn text() -> String {
    "All the same and yet not the same. ".repeat(1000)
}

/// What a service answers, whatever it is asked.
fn answer(fields: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Answered> {
    let body = body.into();
    let mut response = Response::builder();
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(whole(body)).expect("an answer")
}

async fn expanded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match coding {
        "zstd" => ZstdDecoder::new(bytes).read_to_end(&mut out).await,
        "br" => BrotliDecoder::new(bytes).read_to_end(&mut out).await,
        "gzip" => GzipDecoder::new(bytes).read_to_end(&mut out).await,
        other => panic!("{other:?} is no coding"),
    };
    read.expect("bytes that are compressed");
    out
}

#[tokio::test]
async fn text_is_compressed_as_the_visitor_likes_it() {
    let world = World::start_with(with_http).await;
    let service = WebService::start_with(|_| {
        answer(
            &[("content-type", "text/plain"), ("etag", "\"a\""), ("accept-ranges", "bytes")],
            text(),
        )
    })
    .await;
    let client = WebClient::open(&world, compress(), service.addr()).await;
    let mut visitor = Visitor::connect(&world).await;
    for (accept, coding) in [
        ("gzip", "gzip"),
        ("gzip, br;q=0.9", "gzip"),
        ("gzip, br", "br"),
        ("gzip, br, zstd", "zstd"),
        ("*;q=0.1", "zstd"),
    ] {
        let request = get("/").header("accept-encoding", accept).body("").unwrap();
        let answer = visitor.ask(request).await;
        let headers = answer.headers();
        assert_eq!(
            (&headers["content-encoding"], &headers["etag"]),
            (&coding.parse().unwrap(), &"W/\"a\"".parse().unwrap())
        );
        assert_eq!(headers["vary"], "Accept-Encoding");
        assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));
        assert!(answer.body().len() < 1000, "{}", answer.body().len());
        assert!(expanded(coding, answer.body()).await == text().into_bytes(), "{coding}");
        // What the visitor takes is for the local service to know as well.
        assert_eq!(service.request().headers()["accept-encoding"], accept);

        let head = get("/").method(Method::HEAD).header("accept-encoding", accept);
        let head = visitor.ask(head.body("").unwrap()).await;
        for name in ["content-encoding", "etag", "vary", "content-type"] {
            assert_eq!(head.headers().get(name), headers.get(name), "{name}");
        }
        assert!(!head.headers().contains_key("content-length") && head.body().is_empty());
        drop(service.requests());
    }
    for accept in ["identity", "gzip;q=0", "deflate", "identity, gzip;q=0.5"] {
        let request = get("/").header("accept-encoding", accept).body("").unwrap();
        let answer = visitor.ask(request).await;
        assert!(!answer.headers().contains_key("content-encoding"), "{accept}");
        assert_eq!(answer.headers()["vary"], "Accept-Encoding");
        assert!(answer.body() == &text());
    }
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_to_be_compressed_comes_as_it_is() {
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("/short", vec![("content-type", "text/plain")]),
        ("/image", vec![("content-type", "image/png")]),
        ("/zip", vec![("content-type", "application/zip")]),
        ("/events", vec![("content-type", "text/event-stream")]),
        ("/own", vec![("content-type", "text/plain"), ("content-encoding", "gzip")]),
        ("/kept", vec![("content-type", "text/plain"), ("cache-control", "no-transform")]),
        ("/part", vec![("content-type", "text/plain"), ("content-range", "bytes 0-9/99")]),
    ];
    let world = World::start_with(with_http).await;
    let served = cases.clone();
    let service = WebService::start_with(move |request| {
        let (path, fields) = served.iter().find(|(path, _)| *path == request.uri()).unwrap();
        let body = if *path == "/short" { "short".to_owned() } else { text() };
        answer(fields, body)
    })
    .await;
    let client = WebClient::open(&world, compress(), service.addr()).await;
    let mut visitor = Visitor::connect(&world).await;
    for (path, fields) in cases {
        let request = get(path).header("accept-encoding", "gzip").body("").unwrap();
        let answer = visitor.ask(request).await;
        for (name, value) in fields {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
        let length = if path == "/short" { 5 } else { text().len() };
        assert_eq!((path, answer.body().len()), (path, length));
        assert_eq!(answer.headers()["content-length"], length.to_string(), "{path}");
        assert!(!answer.headers().contains_key("vary"), "{path}");
    }
    client.close().await;

    // Without the option nothing is.
    let service =
        WebService::start_with(|_| answer(&[("content-type", "text/plain")], text())).await;
    let client = WebClient::open(&world, HttpOptions::default(), service.addr()).await;
    let request = get("/").header("accept-encoding", "gzip").body("").unwrap();
    assert!(ask(&world, request).await.body() == &text());
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_stream_of_lines_is_as_quick_as_without() {
    let world = World::start_with(with_http).await;
    let (lines, receive) = mpsc::channel::<Bytes>(8);
    let receive = Mutex::new(Some(receive));
    let service = WebService::start_with(move |_| {
        let lines = receive.lock().take().expect("one request");
        let frames = stream::unfold(lines, async |mut lines| {
            Some((Ok(Frame::data(lines.recv().await?)), lines))
        });
        let body = StreamBody::new(frames.boxed()).boxed_unsync();
        Response::builder().header("content-type", "application/x-ndjson").body(body).unwrap()
    })
    .await;
    let client = WebClient::open(&world, compress(), service.addr()).await;
    let mut visitor = Visitor::connect(&world).await;
    let request = get("/").header("accept-encoding", "gzip").body("").unwrap();
    let answer = visitor.begin(request).await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let mut body = answer.into_body();
    let mut decoder = write::GzipDecoder::new(Vec::new());
    for n in 0..3 {
        let line = format!("{{\"line\": {n}}}\n");
        lines.send(line.clone().into()).await.expect("somebody who reads");
        // Each comes before the next one is there.
        while decoder.get_ref() != line.as_bytes() {
            let frame = within("a line", body.frame()).await.expect("more").expect("a body");
            decoder.write_all(&frame.into_data().expect("data")).await.expect("gzip");
            decoder.flush().await.expect("gzip");
        }
        decoder.get_mut().clear();
    }
    drop(lines);
    let rest = within("the end", body.collect()).await.expect("a whole answer").to_bytes();
    decoder.write_all(&rest).await.expect("gzip");
    decoder.shutdown().await.expect("a whole answer");
    assert!(decoder.get_ref().is_empty());
    client.close().await;
    world.stop().await;
}
