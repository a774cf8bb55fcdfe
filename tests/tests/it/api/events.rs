//! What happens, for those who watch.

use std::net::SocketAddr;

use serde_json::Value;
use tests::http::Line;
use tests::kept::{Kept, client};
use tests::process::Signal;
use tests::{World, local, within};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Place;

/// Somebody who watches.
struct Watcher {
    line: Line,
    unread: String,
}

impl Watcher {
    async fn of(admin: SocketAddr, token: Option<&str>) -> Self {
        let mut line = Line::connect(admin).await;
        let who = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let who = who.unwrap_or_default();
        line.send(format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{who}\r\n")).await;
        let head = line.head().await.expect("a head").expect("an answer");
        assert_eq!(head.status, 200);
        assert_eq!(head.headers.of("content-type"), Some("text/event-stream"));
        let mut watcher = Self { line, unread: String::new() };
        assert_eq!(watcher.next().await.expect("an event").0, "hello");
        watcher
    }

    /// The next event with its data. `None`: none comes any more.
    async fn next(&mut self) -> Option<(String, Value)> {
        within("an event", async {
            loop {
                if let Some((event, rest)) = self.unread.split_once("\n\n") {
                    let (event, rest) = (event.to_owned(), rest.to_owned());
                    self.unread = rest;
                    let Some(kind) = event.strip_prefix("event: ") else { continue };
                    let (kind, data) = kind.split_once("\ndata: ").expect("data");
                    return Some((kind.into(), serde_json::from_str(data).expect("JSON")));
                }
                let chunk = self.line.chunk().await.ok().flatten()?;
                self.unread.push_str(&String::from_utf8(chunk).expect("UTF-8"));
            }
        })
        .await
    }

    /// Whatever comes until there is an event of this kind about a tunnel.
    async fn until(&mut self, kind: &str, tunnel: &str) -> String {
        let mut all = String::new();
        loop {
            let (_, tick) = self.next().await.expect("it goes on");
            all.push_str(&tick.to_string());
            let mut events = tick["events"].as_array().into_iter().flatten();
            if events.any(|event| event["event"] == kind && event["tunnel"] == tunnel) {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn what_happens_is_told_to_those_alone_whose_it_is() {
    let place = Place::of(Kept::in_a_file()).await;
    let at = place.relay.admin;
    let scoped = async |user, scope| place.kept.token(user, "watch", &["--scope", scope]).await.0;
    let mut admin = Watcher::of(at, Some(&scoped("root", "admin").await)).await;
    let mut bob = Watcher::of(at, Some(&scoped("bob", "own").await)).await;
    let service = local::echo().await;
    let tunnel = |name: &str| format!("{name}={}", service.addr());
    let (anns, _) = place.kept.token("ann", "another", &[]).await;
    let mut ann = client(&place.relay, &anns, &["--tunnel", &tunnel("secret")]);
    ann.event("live").await;
    let seen = admin.until("tunnel_live", "ann.secret").await;
    assert!(seen.contains("session_joined") && seen.contains("tunnel_opened"), "{seen}");
    let (bobs, _) = place.kept.token("bob", "another", &[]).await;
    let mut second = client(&place.relay, &bobs, &["--tunnel", &tunnel("mine")]);
    second.event("live").await;
    let seen = bob.until("tunnel_live", "bob.mine").await;
    assert!(!seen.contains("ann"), "{seen}");
    ann.signal(Signal::TERM);
    let seen = admin.until("tunnel_waiting", "ann.secret").await;
    assert!(seen.contains("session_left"), "{seen}");
}

/// The text of the next message of a web socket, a short one (RFC 6455, section 5.2).
async fn message<S: AsyncRead + AsyncWrite + Unpin>(line: &mut Line<S>) -> String {
    let head = line.read(2).await.expect("a frame");
    assert_eq!(head[0], 0x81, "a whole message of text");
    let length = match head[1] {
        126 => {
            let long = line.read(2).await.expect("a length");
            usize::from(u16::from_be_bytes([long[0], long[1]]))
        }
        short => usize::from(short),
    };
    String::from_utf8(line.read(length).await.expect("a payload")).expect("UTF-8")
}

/// Asks for a web socket.
fn websocket(host: &str, path: &str, token: &str) -> String {
    format!(
        "GET /api/v1/ws{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[tokio::test]
async fn a_web_socket_tells_the_same_of_everything_or_of_one_tunnel() {
    let place = Place::of(Kept::in_a_file()).await;
    let (token, _) = place.kept.token("ann", "socket", &["--scope", "own"]).await;
    let mut all = Line::connect(place.relay.admin).await;
    let mut one = Line::connect(place.relay.admin).await;
    for (line, path) in [(&mut all, "/user"), (&mut one, "/tunnels/anns")] {
        line.send(websocket("localhost", path, &token)).await;
        assert_eq!(line.head().await.expect("a head").expect("an answer").status, 101);
        assert_eq!(message(line).await, r#"{"event":"hello"}"#);
    }
    let (other, _) = place.kept.token("ann", "another", &[]).await;
    let mut more = client(&place.relay, &other, &["--tunnel", "more=1", "--tunnel", "anns=1"]);
    let mut public = None;
    for _ in 0..2 {
        let live = more.event("live").await;
        public = public.or_else(|| (live["tunnel"] == "anns").then(|| live["public"].clone()));
    }
    let mut seen = String::new();
    while !seen.contains("ann.more") {
        seen = message(&mut all).await;
    }
    assert!(seen.starts_with(r#"{"event":"tick","data":{"#), "{seen}");
    let public = public.expect("it is live");
    let public = public.as_str().expect("an address").trim_start_matches("tcp://");
    let _visitor = tests::Peer::connect(public.parse().expect("an address")).await;
    let seen = message(&mut one).await;
    assert!(seen.contains("ann.anns") && !seen.contains("ann.more"), "{seen}");
    let mut stranger = Line::connect(place.relay.admin).await;
    stranger.send(websocket("localhost", "/tunnels/bob.bobs", &token)).await;
    assert_eq!(stranger.head().await.expect("a head").expect("an answer").status, 404);
    place.ann.get("/ws/user").await.is_problem(400, "invalid");
}

#[tokio::test]
async fn a_hundred_who_watch_are_told_and_do_not_hold_up_the_end() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let mut watchers = Vec::new();
    for _ in 0..100 {
        watchers.push(Watcher::of(world.addrs.admin, None).await);
    }
    world.expose_all(&[format!("web={}", service.addr())]).await;
    for watcher in &mut watchers {
        let seen = watcher.until("tunnel_live", "(anybody).web").await;
        assert!(seen.contains("\"sums\""), "{seen}");
    }
    world.relay_stop.gracefully.cancel();
    for watcher in &mut watchers {
        while watcher.next().await.is_some() {}
    }
    world.stop().await;
}
