//! Heads that are short on the wire and long in the relay.

use std::net::SocketAddr;

use tests::http::frames::{self, END_HEADERS, END_STREAM, encode, get, kind};
use tests::http::{Frames, Line, Outcome, Recorder};
use tests::local;
use tests::peer::dial_from;
use tests::within;

use super::upgrades::changing;
use super::{APP, app, world_of};

/// Requests on one connection, fewer than it may have at a time.
const ON_ONE: u32 = 100;

/// The tunnel whose service does not answer.
const SILENT: &str = "silent.t.example";

/// A GET with some 28 KB of cookies, most of it said in a byte each: by the second time all of it.
fn large(host: &str, is_first: bool) -> Vec<u8> {
    let mut block = frames::block(&get(host, "/"));
    if is_first {
        let mut cookie = frames::block(&[("cookie", &"c".repeat(3_900))]);
        // It goes into the table, where it is the only one.
        cookie[0] = 0x40;
        block.extend(cookie);
    }
    block.extend([0xbe; 6]);
    if !is_first {
        block.push(0xbe);
    }
    block
}

/// Sends so many of them on one connection, and waits until all of them are read.
async fn send(frames: &mut Frames, host: &str, count: u32) {
    for number in 0..count {
        let head = large(host, number == 0);
        let request = encode(kind::HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head);
        frames.bytes(&request).await;
    }
    frames.is_read().await;
}

/// The status of an answer to one of them.
async fn ask_large(mut frames: Frames) -> u16 {
    send(&mut frames, APP, 1).await;
    match frames.outcome(1).await {
        Outcome::Answered(status, _) => status,
        other => panic!("{other:?}"),
    }
}

/// The same from the usual address.
async fn ask_large_here(http: SocketAddr) -> u16 {
    ask_large(Frames::connect(http).await).await
}

#[tokio::test]
async fn large_heads_that_are_under_way_are_bounded_and_small_ones_pass() {
    let (service, silent) = (Recorder::start().await, local::silent().await);
    let tunnels =
        [format!("app=http://{}", service.addr()), format!("silent=http://{}", silent.addr())];
    let (world, client, http) = world_of(&tunnels).await;
    assert_eq!(ask_large_here(http).await, 200);
    assert_eq!(service.seen()[0].headers.of("cookie").map(str::len), Some(7 * 3_900 + 6 * 2));
    let mut visitors = Vec::new();
    for _ in 0..5 {
        let mut frames = Frames::connect(http).await;
        send(&mut frames, SILENT, ON_ONE).await;
        visitors.push(frames);
    }
    // 8 MiB of 28 KB each.
    let some = 250.0..320.0;
    world.shows("as many as fit", |metrics| some.contains(&metrics.requests("silent"))).await;
    assert_eq!(ask_large_here(http).await, 503);
    let over = "relay_limits_total{limit=\"request_heads\"}";
    world.shows("the others", |metrics| metrics.value(over) > Some(180.0)).await;
    // Whoever has little to say is not concerned, nor who comes from elsewhere.
    assert_eq!(Line::connect(http).await.ask(APP, "/").await.status, 200);
    let elsewhere = within("a connection", dial_from([127, 0, 0, 2], http)).await;
    let elsewhere = Frames::over(elsewhere.expect("a connection"), &[]).await;
    assert_eq!(ask_large(elsewhere).await, 200);
    drop(visitors);
    world.shows("all of them gone", |metrics| metrics.requests("silent") == 0.0).await;
    tests::eventually("room again", async || ask_large_here(http).await == 200).await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn the_large_head_of_a_connection_that_has_changed_takes_up_nothing() {
    let service = changing().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let cookies = format!("Cookie: {}\r\n", "c".repeat(7_000)).repeat(4);
    let asks = format!(
        "GET / HTTP/1.1\r\nHost: {APP}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n{cookies}\r\n"
    );
    let mut changed = Vec::new();
    // There is room for 300 heads of one source.
    for _ in 0..320 {
        let mut line = Line::connect(http).await;
        line.send(&asks).await;
        let head = line.head().await.expect("a head").expect("an answer");
        assert_eq!(head.status, 101, "behind {} others", changed.len());
        changed.push(line);
    }
    drop(changed);
    client.finish().await;
    world.stop().await;
}
