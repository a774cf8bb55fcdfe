//! Connections that have changed to another protocol wait for what ought to happen as long as any
//! visit, and no longer.

use std::net::SocketAddr;
use std::time::Duration;

use tests::http::frames::{INITIAL_WINDOW_SIZE, MOST, kind};
use tests::http::{Frames, Line, Outcome};
use tests::local::{self, Played};
use tests::scrape::Scrape;
use tests::{Peer, RunningClient, World};

use super::{APP, app, world_with};

/// How long data, or an end, may wait.
const SOON: Duration = Duration::from_millis(300);

const ASKS: &str =
    "GET /socket HTTP/1.1\r\nHost: app.t.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

const CHANGES: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", APP),
    (":path", "/socket"),
];

/// A service that changes to another protocol whenever it is asked to.
struct Scene {
    world: World,
    client: RunningClient,
    service: Played,
    http: SocketAddr,
}

impl Scene {
    async fn new(adjust: impl FnOnce(&mut relay::Settings)) -> Self {
        let service = local::played().await;
        let (world, client, http) = world_with(&app(service.addr()), adjust).await;
        Self { world, client, service, http }
    }

    async fn changes(&self) -> Peer {
        let mut at_service = self.service.accept().await;
        at_service.read_until(b"\r\n\r\n").await;
        at_service.send(CHANGES).await;
        at_service
    }

    /// The two ends of a connection by HTTP/1.1.
    async fn changed(&self) -> (Line, Peer) {
        let mut line = Line::connect(self.http).await;
        line.send(ASKS).await;
        let at_service = self.changes().await;
        assert_eq!(line.head().await.expect("a head").expect("an answer").status, 101);
        (line, at_service)
    }

    /// The end of the service of one by HTTP/2.
    async fn changed_on(&self, frames: &mut Frames, stream: u32) -> Peer {
        frames.headers(stream, &CONNECT, false).await;
        let at_service = self.changes().await;
        assert_eq!(frames.next_of(stream).await.expect("a head").kind, kind::HEADERS);
        at_service
    }

    /// So many were given up, and nothing is left.
    async fn stop(self, given_up: f64) {
        let shows = |metrics: &Scrape| {
            metrics.timed_out("app") == given_up && metrics.requests("app") == 0.0
        };
        self.world.shows("all of them to be over", shows).await;
        self.client.finish().await;
        self.world.stop().await;
    }
}

#[tokio::test]
async fn an_upgraded_connection_whose_service_takes_nothing_is_reset() {
    let scene = Scene::new(|settings| settings.stall_timeout = SOON).await;
    // Whoever is only silent may stay.
    let (mut silent, mut silent_service) = scene.changed().await;
    let mut visitor = Peer::connect(scene.http).await;
    visitor.send(ASKS.as_bytes()).await;
    let mut at_service = scene.changes().await;
    visitor.read_until(b"\r\n\r\n").await;
    // What the other way says does not hide it.
    tokio::join!(at_service.trickle_for(2 * tests::wait::PATIENCE), async {
        // More than anybody on the way holds.
        visitor.send(&vec![b'x'; 64 << 20]).await;
        visitor.expect_reset().await;
    });
    silent.send("ping").await;
    silent_service.expect(b"ping").await;
    drop((silent, silent_service));
    scene.stop(1.0).await;
}

#[tokio::test]
async fn an_upgraded_connection_of_which_one_side_has_ended_does_not_wait_for_ever() {
    let scene = Scene::new(|settings| settings.half_closed_timeout = SOON).await;
    for who in ["visitor", "service"] {
        let (mut line, mut at_service) = scene.changed().await;
        match who {
            "visitor" => {
                line.send("all").await;
                line.half_close().await;
                assert_eq!(at_service.read(3).await, b"all");
                at_service.expect_end().await;
            }
            _ => at_service.half_close().await,
        }
        at_service.read_to_end_or_reset().await;
        // An end first, if it was the service's.
        while line.some().await.is_ok_and(|some| !some.is_empty()) {}
    }
    scene.stop(2.0).await;
}

#[tokio::test]
async fn an_upgraded_stream_that_gets_no_window_is_reset_and_the_others_go_on() {
    let scene = Scene::new(|settings| settings.stall_timeout = SOON).await;
    let mut frames = Frames::connect_with(scene.http, &[(INITIAL_WINDOW_SIZE, 100)]).await;
    let mut other = scene.changed_on(&mut frames, 1).await;
    frames.widen(1, MOST / 2).await;
    let mut at_service = scene.changed_on(&mut frames, 3).await;
    // More than the client takes on its way.
    let sending = at_service.send(&[b'x'; 1 << 20]);
    let (piece, ()) = tokio::join!(frames.next_of(3), sending);
    assert_eq!(piece.expect("a piece").payload.len(), 100);
    let end = frames.next_of(3).await.expect("an end");
    assert_eq!(end.kind, kind::RST_STREAM, "{end:?}");
    at_service.expect_reset().await;
    frames.data(1, b"ping", false).await;
    other.expect(b"ping").await;
    other.send(b"pong").await;
    assert_eq!(frames.next_of(1).await.expect("a pong").payload, b"pong");
    drop((frames, other));
    scene.stop(1.0).await;
}

#[tokio::test]
async fn an_upgraded_stream_of_which_one_side_has_ended_does_not_wait_for_what_others_get() {
    let scene = Scene::new(|settings| settings.half_closed_timeout = SOON).await;
    let mut frames = Frames::connect(scene.http).await;
    let mut other = scene.changed_on(&mut frames, 1).await;
    let mut at_service = scene.changed_on(&mut frames, 3).await;
    frames.data(3, b"all", true).await;
    assert_eq!(at_service.read(3).await, b"all");
    at_service.expect_end().await;
    let end = tokio::select! {
        end = frames.next_of(3) => end.expect("an end"),
        () = other.trickle_for(2 * tests::wait::PATIENCE) => panic!("no end"),
    };
    assert_eq!(end.kind, kind::RST_STREAM, "{end:?}");
    drop((frames, other));
    scene.stop(1.0).await;
}

#[tokio::test]
async fn an_upgraded_stream_that_is_silent_keeps_its_connection() {
    let scene = Scene::new(|settings| {
        settings.stall_timeout = SOON;
        settings.web.keep_alive = SOON;
    })
    .await;
    let mut frames = Frames::connect(scene.http).await;
    let mut silent = scene.changed_on(&mut frames, 1).await;
    // Longer than connections last on which there is nothing, one after the other.
    for _ in 0..10 {
        Frames::connect(scene.http).await.expect_gone().await;
    }
    frames.data(1, b"ping", false).await;
    silent.expect(b"ping").await;
    silent.send(b"pong").await;
    assert_eq!(frames.next_of(1).await.expect("a pong").payload, b"pong");
    // It takes more requests, and rests when there is nothing on it any more.
    frames.get(3, "nobody.t.example", "/").await;
    let Outcome::Answered(404, _) = frames.outcome(3).await else { panic!("not answered") };
    frames.data(1, b"", true).await;
    drop(silent);
    frames.expect_gone().await;
    scene.stop(0.0).await;
}

#[tokio::test]
async fn an_upgraded_stream_that_breaks_off_does_not_look_whole() {
    let scene = Scene::new(|_| ()).await;
    let mut frames = Frames::connect(scene.http).await;
    let mut at_service = scene.changed_on(&mut frames, 1).await;
    at_service.send(b"begun").await;
    assert_eq!(frames.next_of(1).await.expect("a piece").payload, b"begun");
    at_service.reset();
    let end = frames.next_of(1).await.expect("an end");
    assert_eq!(end.kind, kind::RST_STREAM, "{end:?}");
    // And one that comes to its end does.
    let mut at_service = scene.changed_on(&mut frames, 3).await;
    at_service.half_close().await;
    frames.data(3, b"all", true).await;
    assert_eq!(at_service.read_to_end().await, b"all");
    let end = frames.next_of(3).await.expect("an end");
    assert_eq!((end.kind, end.payload.len()), (kind::DATA, 0), "{end:?}");
    drop((frames, at_service));
    scene.stop(0.0).await;
}
