//! Connections that change to another protocol.

use serde_json::Value;
use tests::http::frames::{END_STREAM, kind};
use tests::http::{Frames, Line, Multiplexed, Outcome, Recorder, Reply};
use tests::local::{self, Local};
use tests::scrape::{ask, get};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{APP, app, world_of};

/// A request for another protocol.
const ASKS: &str =
    "GET /socket HTTP/1.1\r\nHost: app.t.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// What a service says that changes to it.
const CHANGES: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// A WebSocket by HTTP/2.
const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", APP),
    (":path", "/socket"),
    ("sec-websocket-version", "13"),
];

/// Changes to an echo when it is asked to; answers with `ok` otherwise.
pub(super) async fn changing() -> Local {
    Local::start(|socket| async move {
        // Whoever is there may leave at any time.
        drop(serve(BufReader::new(socket)).await);
    })
    .await
}

async fn serve(mut stream: BufReader<TcpStream>) -> std::io::Result<()> {
    loop {
        let (mut line, mut changes) = (String::new(), false);
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            changes |= line.to_ascii_lowercase().starts_with("upgrade:");
        }
        if !changes {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
            continue;
        }
        stream.write_all(CHANGES.as_bytes()).await?;
        let (mut reader, mut writer) = tokio::io::split(stream);
        tokio::io::copy_buf(&mut BufReader::new(&mut reader), &mut writer).await?;
        return writer.shutdown().await;
    }
}

async fn changed(line: &mut Line) {
    line.send(ASKS).await;
    let head = line.head().await.expect("a head").expect("an answer");
    let found = (head.status, head.headers.of("upgrade"), head.headers.of("connection"));
    assert_eq!(found, (101, Some("echo"), Some("upgrade")));
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_and_each_end_may_end_first() {
    let service = changing().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    // One that has served a request before may change as well.
    assert_eq!(line.ask(APP, "/").await.text(), "ok");
    changed(&mut line).await;
    for message in [&b"hello"[..], &[0, 255, 13, 10], &vec![7; 100_000]] {
        line.send(message).await;
        assert_eq!(line.read(message.len()).await.expect("an echo"), message);
    }
    line.send("last").await;
    line.half_close().await;
    assert_eq!(line.read(4).await.expect("an echo"), b"last");
    line.expect_end().await;
    drop((line, service));

    let played = local::played().await;
    let other = world.client_for(&[format!("other=http://{}", played.addr())]).await;
    let mut line = Line::connect(http).await;
    line.send(ASKS.replace("app.t", "other.t")).await;
    let mut at_service = played.accept().await;
    at_service.read_until(b"\r\n\r\n").await;
    at_service.send(CHANGES.as_bytes()).await;
    at_service.half_close().await;
    assert_eq!(line.head().await.unwrap().unwrap().status, 101);
    line.expect_end().await;
    line.send("after the end of the other").await;
    line.half_close().await;
    assert_eq!(at_service.read_to_end().await, b"after the end of the other");
    drop(line);
    other.finish().await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_that_breaks_off_is_reset_at_the_other_end() {
    let service = local::played().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    for who in ["operator", "service", "visitor", "client"] {
        let mut line = Line::connect(http).await;
        line.send(ASKS).await;
        let mut at_service = service.accept().await;
        at_service.read_until(b"\r\n\r\n").await;
        at_service.send(CHANGES.as_bytes()).await;
        assert_eq!(line.head().await.unwrap().unwrap().status, 101);
        line.send("ping").await;
        at_service.expect(b"ping").await;
        match who {
            "operator" => {
                let (_, visits) = get(world.addrs.admin, "/api/v1/visits").await;
                let visits: Value = serde_json::from_str(&visits).expect("JSON");
                let all = visits["items"].as_array().expect("visits");
                let [visit] = &**all else { panic!("not one visit: {visits}") };
                assert_eq!((&visit["tunnel"], &visit["kind"]), (&"app".into(), &"http".into()));
                assert_eq!((&visit["bytes_in"], &visit["session"]), (&4.into(), &1.into()));
                let visit = format!("/api/v1/visits/{}", visit["id"].as_str().expect("an id"));
                assert_eq!(ask(world.addrs.admin, "DELETE", &visit).await.0, 204);
                line.some().await.expect_err("a reset");
                at_service.expect_reset().await;
            }
            "service" => {
                at_service.reset();
                line.some().await.expect_err("a reset");
            }
            "visitor" => {
                line.reset();
                at_service.expect_reset().await;
            }
            _ => {
                world.wire.cut();
                line.some().await.expect_err("a reset");
                world.wire.mend();
            }
        }
    }
    drop(client);
    world.stop().await;
}

#[tokio::test]
async fn a_service_may_refuse_to_change_and_the_connection_goes_on() {
    let service = Recorder::start_with(|seen| match seen.headers.of("upgrade") {
        Some("echo") => Reply::ok("as before"),
        Some(_) => Reply {
            bytes: "HTTP/1.1 426 Upgrade Required\r\nUpgrade: echo\r\nConnection: upgrade\r\n\
                    Content-Length: 2\r\n\r\nno"
                .into(),
            closes: false,
        },
        None => Reply::ok("plain"),
    })
    .await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    line.send(ASKS).await;
    assert_eq!(line.answer().await.text(), "as before");
    line.send(ASKS.replace("echo", "other")).await;
    let answer = line.answer().await;
    assert_eq!((answer.status, answer.text()), (426, "no"));
    assert_eq!(line.ask(APP, "/").await.text(), "plain");
    let mut frames = Frames::connect(http).await;
    frames.headers(1, &CONNECT, false).await;
    let Outcome::Answered(426, _) = frames.outcome(1).await else { panic!("not refused") };
    drop((line, frames));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn nobody_changes_to_http_again() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    for protocol in ["h2c", "HTTP/2.0", "echo, H2C"] {
        line.send(ASKS.replace("echo", protocol)).await;
        assert_eq!(line.answer().await.status, 200);
        assert_eq!(service.seen()[0].headers.of("upgrade"), None, "{protocol}");
    }
    let mut frames = Frames::connect(http).await;
    let h2c = CONNECT.map(|(name, value)| (name, if name == ":protocol" { "h2c" } else { value }));
    frames.headers(1, &h2c, false).await;
    let Outcome::Answered(405, _) = frames.outcome(1).await else { panic!("not refused") };
    assert!(service.seen().is_empty());
    drop((line, frames));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_websocket_by_http_2_is_one_of_http_1_for_the_service() {
    let service = changing().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut frames = Frames::connect(http).await;
    for stream in [1, 3, 5] {
        frames.headers(stream, &CONNECT, false).await;
        let head = frames.next_of(stream).await.expect("a head");
        assert_eq!((head.kind, head.flags & END_STREAM), (kind::HEADERS, 0));
        assert_eq!(head.payload.iter().find(|byte| **byte & 0xe0 != 0x20), Some(&0x88));
        for message in ["hello", "again"] {
            frames.data(stream, message.as_bytes(), false).await;
            let data = frames.next_of(stream).await.expect("an echo");
            assert_eq!((data.kind, &*data.payload), (kind::DATA, message.as_bytes()));
        }
        frames.data(stream, b"", true).await;
        let end = frames.next_of(stream).await.expect("an end");
        assert_eq!((end.kind, end.flags & END_STREAM, end.payload.len()), (kind::DATA, 1, 0));
    }
    drop(frames);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_has_to_ask_for_another_protocol_learns_which() {
    let service = Recorder::start_with(|_| {
        let head = "HTTP/1.1 426 Upgrade Required\r\nConnection: keep-alive, Upgrade, x-hop\r\n";
        let rest = "Upgrade: HTTP/3.0, echo/2\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n";
        Reply { bytes: [head, rest].concat().into(), closes: false }
    })
    .await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    for _ in 0..2 {
        // The connection goes on.
        let answer = line.ask(APP, "/").await;
        assert_eq!(answer.status, 426);
        assert_eq!(answer.headers.of("upgrade"), Some("HTTP/3.0, echo/2"));
        assert_eq!(answer.headers.of("connection"), Some("upgrade"));
        assert_eq!(answer.headers.of("x-hop"), None);
    }
    let answer = Multiplexed::connect(http).await.get(APP, "/").await;
    assert_eq!(answer.status(), 426);
    assert!(!answer.headers().contains_key("upgrade"), "{answer:?}");
    client.finish().await;
    world.stop().await;
}
