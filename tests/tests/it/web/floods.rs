//! Visitors who do not play by the rules: good ones are served all the same, and memory stays flat.

use std::net::SocketAddr;
use std::time::Duration;

use tests::http::frames::{END_HEADERS, END_STREAM, INITIAL_WINDOW_SIZE, encode, get, kind};
use tests::http::{Frames, Line, Multiplexed, Recorder, frames};
use tests::usage::{resident_memory, runs_alone};
use tests::{Local, Peer, RunningClient, World, local};
use tokio::io::AsyncWriteExt;

use super::{APP, app, world_of, world_with};

const MEGABYTE: usize = 1024 * 1024;

/// So much more may be in memory while an attack lasts.
const MOST_GROWN: usize = 64 * MEGABYTE;

/// A relay that is attacked, with a tunnel of good requests and one whose answers have no end.
struct Scene {
    world: World,
    client: RunningClient,
    http: SocketAddr,
    memory: usize,
    _services: (Recorder, Local),
}

impl Scene {
    async fn new() -> Self {
        let service = Recorder::start().await;
        let endless = Local::start(async |mut socket: tokio::net::TcpStream| {
            let piece = vec![b'x'; 64 * 1024];
            let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            if socket.write_all(head).await.is_ok() {
                while socket.write_all(&piece).await.is_ok() {}
            }
        })
        .await;
        let tunnels = [
            format!("app=http://{}", service.addr()),
            format!("endless=http://{}", endless.addr()),
        ];
        let (world, client, http) = world_of(&tunnels).await;
        let mut this = Self { world, client, http, memory: 0, _services: (service, endless) };
        this.serves_others().await;
        this.memory = resident_memory();
        this
    }

    /// Checks that good visitors are served, new ones and old ones.
    async fn serves_others(&self) {
        for _ in 0..5 {
            let mut line = Line::connect(self.http).await;
            let visitor = Multiplexed::connect(self.http).await;
            for _ in 0..5 {
                assert_eq!(line.ask(APP, "/good").await.text(), "/good");
                assert_eq!(visitor.get(APP, "/good").await.body(), "/good");
            }
        }
    }

    fn is_flat(&self, what: &str) {
        let grown = resident_memory().saturating_sub(self.memory);
        assert!(grown < MOST_GROWN, "{grown} bytes more in memory by {what}");
    }

    /// After an attack: nothing of it is in anybody's way.
    async fn stop(self, what: &str) {
        self.serves_others().await;
        self.is_flat(what);
        self.client.finish().await;
        self.world.stop().await;
    }
}

#[tokio::test]
async fn heads_and_bodies_that_do_not_come_to_an_end_keep_nobody_up() {
    if !runs_alone("web::floods::heads_and_bodies_that_do_not_come_to_an_end_keep_nobody_up") {
        return;
    }
    let scene = Scene::new().await;
    let begun = [
        "G".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: {APP}\r\nX-Slow: "),
        format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 1000\r\n\r\nx"),
        format!("POST / HTTP/1.1\r\nHost: {APP}\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx"),
        "PRI * HTTP/2.0\r\n".to_owned(),
    ];
    let mut slow = Vec::new();
    for number in 0..1000 {
        let mut line = Line::connect(scene.http).await;
        line.send(&begun[number % begun.len()]).await;
        slow.push(line);
    }
    scene.serves_others().await;
    for line in &mut slow {
        line.send("x").await;
    }
    scene.serves_others().await;
    scene.is_flat("visitors who are slow");
    drop(slow);
    scene.stop("visitors who were slow").await;
}

#[tokio::test]
async fn visitors_who_do_not_read_their_answers_hold_little_memory() {
    if !runs_alone("web::floods::visitors_who_do_not_read_their_answers_hold_little_memory") {
        return;
    }
    let scene = Scene::new().await;
    let host = "endless.t.example";
    let mut deaf = Vec::new();
    for _ in 0..40 {
        let mut peer = Peer::connect_narrow(scene.http).await;
        peer.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        // The answer is on its way.
        peer.expect(b"HTTP/1.1 200 OK\r\n").await;
        deaf.push(peer);
    }
    // And those whose windows are shut, who keep the connection itself alive.
    let mut shut = Vec::new();
    for _ in 0..2 {
        let mut frames = Frames::connect_with(scene.http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
        for stream in 0..20 {
            frames.get(2 * stream + 1, host, "/").await;
        }
        for _ in 0..20 {
            while frames.next().await.expect("a head").kind != kind::HEADERS {}
        }
        // A byte more each is no way to make the relay busy.
        for round in 0..1000 {
            frames.widen(2 * (round % 20) + 1, 1).await;
        }
        shut.push(frames);
    }
    scene.serves_others().await;
    scene.is_flat("visitors who do not read");
    drop((deaf, shut));
    scene.stop("visitors who did not read").await;
}

#[tokio::test]
async fn requests_that_are_cancelled_at_once_end_the_connection_and_nothing_else() {
    if !runs_alone(
        "web::floods::requests_that_are_cancelled_at_once_end_the_connection_and_nothing_else",
    ) {
        return;
    }
    let scene = Scene::new().await;
    let mut attacker = Frames::connect(scene.http).await;
    let cancel = 8_u32.to_be_bytes();
    let fields = frames::block(&get(APP, "/cancelled"));
    for number in 0..10_000 {
        let stream = 2 * number + 1;
        let headers = encode(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields);
        let reset = encode(kind::RST_STREAM, 0, stream, &cancel);
        attacker.bytes(&[headers, reset].concat()).await;
        if number % 1000 == 0 {
            scene.serves_others().await;
        }
    }
    drop(attacker);
    scene.stop("requests that are cancelled").await;
}

#[tokio::test]
async fn frames_that_are_of_no_use_end_the_connection_or_cost_nothing() {
    if !runs_alone("web::floods::frames_that_are_of_no_use_end_the_connection_or_cost_nothing") {
        return;
    }
    let scene = Scene::new().await;
    let fields = frames::block(&get(APP, "/"));
    let headers = encode(kind::HEADERS, END_STREAM, 1, &fields);
    let small_window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &9_u32.to_be_bytes()].concat();
    let empty_field = frames::block(&[("x", &"y".repeat(16_000))]);
    // A field is put into the table, and then said again in one byte each.
    let bomb = {
        let mut bomb = frames::block(&get(APP, "/"));
        let mut big = frames::block(&[("x", &"y".repeat(4_000))]);
        big[0] = 0x40;
        bomb.extend(big);
        bomb.extend([0xbe; 10_000]);
        encode(kind::HEADERS, END_HEADERS | END_STREAM, 1, &bomb)
    };
    let floods = [
        ("continuations", headers.clone(), encode(kind::CONTINUATION, 0, 1, &empty_field), 2_000),
        ("empty continuations", headers, encode(kind::CONTINUATION, 0, 1, &[]), 50_000),
        ("settings", Vec::new(), encode(kind::SETTINGS, 0, 0, &small_window), 50_000),
        ("pings", Vec::new(), encode(kind::PING, 0, 0, &[7; 8]), 50_000),
        ("priorities", Vec::new(), encode(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), 50_000),
        ("windows", Vec::new(), encode(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()), 50_000),
        (
            "empty data",
            encode(kind::HEADERS, END_HEADERS, 1, &fields),
            encode(kind::DATA, 0, 1, &[]),
            50_000,
        ),
        ("a bomb of fields", Vec::new(), bomb, 1),
    ];
    for (what, first, frame, count) in floods {
        let mut attacker = Peer::connect(scene.http).await;
        let begin = [frames::PREFACE, &encode(kind::SETTINGS, 0, 0, &[]), &first].concat();
        attacker.send(&begin).await;
        // Whoever is not listened to any more has had its say.
        let hundred = frame.repeat(count.min(100));
        let flood = async {
            for _ in 0..count.div_ceil(100) {
                if !attacker.tries_to_send(&hundred).await {
                    break;
                }
            }
        };
        tokio::join!(flood, scene.serves_others());
        scene.serves_others().await;
        scene.is_flat(what);
    }
    scene.stop("frames").await;
}

#[tokio::test]
async fn ten_thousand_hosts_that_nobody_has_leave_nothing_behind() {
    if !runs_alone("web::floods::ten_thousand_hosts_that_nobody_has_leave_nothing_behind") {
        return;
    }
    let scene = Scene::new().await;
    let series = scene.world.metrics().await.text.lines().count();
    let mut line = Line::connect(scene.http).await;
    for number in 0..10_000 {
        let host = format!("host-{number}.{}", if number % 2 == 0 { "t.example" } else { "x" });
        assert_eq!(line.ask(&host, "/").await.status, 404);
    }
    let now = scene.world.metrics().await.text.lines().count();
    assert!(now < series + 20, "{now} lines of metrics, and {series} before");
    drop(line);
    scene.stop("hosts").await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_costs_its_visitors_their_time_and_no_more() {
    let service = local::silent().await;
    let (world, client, http) = world_with(&app(service.addr()), |settings| {
        // Long enough for all to come before the first one's is over.
        settings.web.request_timeout = Duration::from_secs(10);
        settings.max_visitors = 50;
    })
    .await;
    let mut lines = Vec::new();
    for _ in 0..50 {
        let mut line = Line::connect(http).await;
        line.get(APP, "/").await;
        lines.push(line);
    }
    let all = "relay_requests{tunnel=\"app\"}";
    world.shows("fifty of them", |metrics| metrics.value(all) == Some(50.0)).await;
    for _ in 0..10 {
        assert_eq!(Line::connect(http).await.ask(APP, "/").await.status, 503);
    }
    for line in &mut lines {
        assert_eq!(line.answer().await.status, 504);
    }
    world.shows("all places to be free", |metrics| metrics.value(all) == Some(0.0)).await;
    let mut line = Line::connect(http).await;
    line.get(APP, "/").await;
    world.shows("another one", |metrics| metrics.value(all) == Some(1.0)).await;
    drop(line);
    drop(lines);
    client.finish().await;
    world.stop().await;
}
