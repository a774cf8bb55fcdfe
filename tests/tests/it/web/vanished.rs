//! Whoever disappears in the middle of an answer leaves none that looks whole; and a visitor who
//! disappears leaves nothing behind.

use std::net::SocketAddr;

use tests::http::frames::{END_STREAM, kind};
use tests::http::{Frames, Line};
use tests::local::{self, Played};
use tests::{Peer, RunningClient, World};

use super::{APP, app, world_with};

/// So many requests at a time are let in.
const MOST: usize = 3;

/// What an answer begins with, and never ends.
const BEGUN: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbegun",
];

/// How a request is written.
const ASKED: [&str; 2] = [
    "GET / HTTP/1.1\r\nHost: app.t.example\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: app.t.example\r\n\r\n",
];

/// Who disappears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The local service resets its connection.
    Service,
    /// It closes its connection, although more was to come.
    ServiceQuietly,
    /// The client is gone from one moment to the next.
    Client,
}

/// A world, and a local service that has begun an answer.
struct Scene {
    world: World,
    client: Option<RunningClient>,
    service: Played,
    http: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let service = local::played().await;
        let (world, client, http) =
            world_with(&app(service.addr()), |settings| settings.max_visitors = 2 * MOST).await;
        Self { world, client: Some(client), service, http }
    }

    /// Has the service begin its answer to a request that is there.
    async fn begins(&self, answer: &str) -> Peer {
        let mut at_service = self.service.accept().await;
        at_service.expect(b"GET / HTTP/1.1\r\n").await;
        at_service.send(answer.as_bytes()).await;
        at_service
    }

    async fn loses(&mut self, who: Who, at_service: Peer) {
        match who {
            Who::Service => at_service.reset(),
            Who::ServiceQuietly => {
                // All of the request is read, so that this is no reset.
                let mut at_service = at_service;
                at_service.half_close().await;
                at_service.read_to_end_or_reset().await;
            }
            Who::Client => self.client.take().expect("a client").vanish().await,
        }
    }

    /// A client is there again.
    async fn mend(&mut self) {
        if self.client.is_none() {
            self.client = Some(self.world.client_for(&app(self.service.addr())).await);
        }
    }

    /// Checks that nothing takes up the place of a request any more, sooner or later: as many come
    /// in at once as may be there.
    async fn has_room(&self) {
        let (mut lines, mut at_service) = (Vec::new(), Vec::new());
        while at_service.len() < MOST {
            let mut line = Line::connect(self.http).await;
            line.get(APP, "/").await;
            tokio::select! {
                answer = line.answer() => assert_eq!(answer.status, 503, "no place is free"),
                peer = self.service.accept() => {
                    lines.push(line);
                    at_service.push(peer);
                }
            }
        }
        for mut peer in at_service {
            peer.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        }
        for mut line in lines {
            assert_eq!(line.answer().await.status, 204);
        }
    }

    async fn stop(self) {
        self.has_room().await;
        self.client.expect("a client").finish().await;
        self.world.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole_by_http_1() {
    let mut scene = Scene::new().await;
    for who in [Who::Service, Who::ServiceQuietly, Who::Client] {
        for (answer, asked) in BEGUN.iter().flat_map(|one| ASKED.map(|asked| (*one, asked))) {
            if who == Who::ServiceQuietly && answer == BEGUN[2] {
                // This is how such an answer ends.
                continue;
            }
            scene.mend().await;
            let mut line = Line::connect(scene.http).await;
            line.send(asked).await;
            let at_service = scene.begins(answer).await;
            let head = line.head().await.expect("a head").expect("an answer");
            assert_eq!(head.status, 200);
            let begun = match head.headers.of("transfer-encoding") {
                Some(_) => line.chunk().await.expect("a chunk").expect("a body"),
                None => line.read(5).await.expect("a body"),
            };
            assert_eq!(begun, b"begun");
            scene.loses(who, at_service).await;
            let rest = line.some().await;
            let is_known_length = head.headers.of("content-length").is_some();
            let is_chunked = head.headers.of("transfer-encoding").is_some();
            match rest {
                // A reset, which nobody takes for an end.
                Err(_) => (),
                // The end before the length, or before the last chunk.
                Ok(rest) if rest.is_empty() => assert!(is_known_length || is_chunked, "{asked:?}"),
                Ok(rest) => panic!("{who:?}, {answer:?}, {asked:?}: {}", rest.escape_ascii()),
            }
        }
    }
    scene.mend().await;
    scene.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole_by_http_2() {
    let mut scene = Scene::new().await;
    for who in [Who::Service, Who::ServiceQuietly, Who::Client] {
        for answer in &BEGUN[..if who == Who::ServiceQuietly { 2 } else { 3 }] {
            scene.mend().await;
            let mut frames = Frames::connect(scene.http).await;
            frames.get(1, APP, "/").await;
            let at_service = scene.begins(answer).await;
            let head = frames.next_of(1).await.expect("a head");
            assert_eq!((head.kind, head.flags & END_STREAM), (kind::HEADERS, 0));
            let data = frames.next_of(1).await.expect("data");
            assert_eq!((data.kind, &data.payload[..]), (kind::DATA, &b"begun"[..]));
            scene.loses(who, at_service).await;
            let end = frames.next_of(1).await.expect("an end");
            assert_eq!(end.kind, kind::RST_STREAM, "{who:?}, {answer:?}: {end:?}");
            // The others are not touched.
            scene.mend().await;
            frames.get(3, APP, "/").await;
            let mut at_service = scene.service.accept().await;
            at_service.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            let outcome = frames.outcome(3).await;
            assert!(matches!(outcome, tests::http::Outcome::Answered(204, _)), "{outcome:?}");
        }
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_request_whose_service_or_client_disappears_before_the_answer_gets_one_of_the_relay() {
    let mut scene = Scene::new().await;
    for (who, status) in [(Who::Service, 502), (Who::ServiceQuietly, 502), (Who::Client, 503)] {
        scene.mend().await;
        let mut line = Line::connect(scene.http).await;
        let request = format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 10\r\n\r\nbegun");
        line.send(request).await;
        let mut at_service = scene.service.accept().await;
        at_service.expect(b"POST / HTTP/1.1\r\n").await;
        if who == Who::ServiceQuietly {
            // Otherwise the kernel has what was not read, and resets.
            at_service.half_close().await;
        } else {
            scene.loses(who, at_service).await;
        }
        assert_eq!(line.answer().await.status, status, "{who:?}");
    }
    scene.mend().await;
    scene.stop().await;
}

#[tokio::test]
async fn a_visitor_who_disappears_takes_the_request_along() {
    let scene = Scene::new().await;
    let get = format!("GET / HTTP/1.1\r\nHost: {APP}\r\n\r\n");
    let post = format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 10\r\n\r\nbegun");
    for request in [&get, &post] {
        for (answer, goes_by_reset) in
            [("", true), ("", false), (BEGUN[0], true), (BEGUN[0], false), (BEGUN[1], true)]
        {
            let mut line = Line::connect(scene.http).await;
            line.send(request).await;
            let mut at_service = scene.service.accept().await;
            at_service.expect(&request.as_bytes()[..5]).await;
            at_service.send(answer.as_bytes()).await;
            if !answer.is_empty() {
                line.head().await.expect("a head").expect("an answer");
            }
            match goes_by_reset {
                true => line.reset(),
                false => drop(line),
            }
            at_service.expect_reset().await;
            scene.has_room().await;
        }
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_visitor_who_cancels_takes_the_request_along_by_http_2() {
    let scene = Scene::new().await;
    let mut frames = Frames::connect(scene.http).await;
    for (number, answer) in [(1, ""), (3, BEGUN[0]), (5, BEGUN[1])] {
        frames.get(number, APP, "/").await;
        let mut at_service = scene.begins(answer).await;
        if !answer.is_empty() {
            frames.next_of(number).await.expect("a head");
        }
        frames.cancel(number).await;
        at_service.expect_reset().await;
        scene.has_room().await;
    }
    // And one who goes with all of them.
    let mut at_service = Vec::new();
    for number in [7, 9, 11] {
        frames.get(number, APP, "/").await;
        at_service.push(scene.begins(BEGUN[0]).await);
    }
    frames.reset();
    for mut at_service in at_service {
        at_service.expect_reset().await;
    }
    scene.stop().await;
}
