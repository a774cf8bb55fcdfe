//! Visitors who do not play by the rules: good ones are served all the same, and memory stays flat.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tests::http::frames::{END_HEADERS, END_STREAM, INITIAL_WINDOW_SIZE, MOST, encode, get, kind};
use tests::http::{Frames, Line, Multiplexed, Recorder, frames};
use tests::usage::{resident_memory, runs_alone};
use tests::{Local, Peer, RunningClient, World, local, within};
use tokio::io::AsyncWriteExt;

use super::{APP, app, turn_clock, world_of, world_with};

const MEGABYTE: usize = 1024 * 1024;

/// So much more may be in memory while an attack lasts.
const MOST_GROWN: usize = 64 * MEGABYTE;

/// Longer than a head may take, and shorter than what else has a time.
const HEAD_TIME: Duration = Duration::from_secs(16);

/// How long a service may take: long enough for fifty requests to come meanwhile.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// A relay that is attacked, with a tunnel of good requests and one whose answers have no end.
struct Scene {
    world: World,
    client: RunningClient,
    http: SocketAddr,
    memory: usize,
    services: (Recorder, Local),
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
        let mut this = Self { world, client, http, memory: 0, services: (service, endless) };
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

    /// The series that the relay shows, without their values.
    async fn series(&self) -> BTreeSet<String> {
        let text = self.world.metrics().await.text;
        // That of heartbeats comes with the first one, whatever else there is.
        let is_other = |line: &&str| !line.starts_with('#') && !line.contains("_rtt_seconds");
        let lines = text.lines().filter(is_other);
        let series = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        series.collect()
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
    let heads = [
        "G".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: {APP}\r\nX-Slow: "),
        "PRI * HTTP/2.0\r\n".to_owned(),
    ];
    let bodies = [
        format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 1000\r\n\r\nx"),
        format!("POST / HTTP/1.1\r\nHost: {APP}\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx"),
    ];
    // The same by HTTP/2.
    let fields = frames::block(&get(APP, "/"));
    let multiplexed = [(0, &fields[..9]), (END_HEADERS, &fields)].map(|(flags, fields)| {
        let begun = encode(kind::HEADERS, flags, 1, fields);
        [frames::PREFACE, &encode(kind::SETTINGS, 0, 0, &[]), &begun].concat()
    });
    let heads = heads.map(String::into_bytes);
    let others = [bodies.map(String::into_bytes), multiplexed].concat();
    let mut slow = Vec::new();
    for number in 0..1000 {
        let mut line = Line::connect(scene.http).await;
        line.send(heads.iter().chain(&others).cycle().nth(number).expect("one of them")).await;
        slow.push(line);
    }
    scene.serves_others().await;
    for line in &mut slow {
        line.send("x").await;
    }
    scene.serves_others().await;
    scene.is_flat("visitors who are slow");
    // A head has a time to be whole in, which is over.
    turn_clock(HEAD_TIME).await;
    for (number, line) in slow.iter_mut().enumerate() {
        if number % (heads.len() + others.len()) < heads.len() {
            line.expect_gone().await;
        }
    }
    scene.serves_others().await;
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
    attacker.expect_gone().await;
    let seen = scene.services.0.seen();
    let seen = seen.iter().filter(|seen| seen.target == "/cancelled").count();
    assert!(seen < 100, "{seen} requests reached the service");
    scene.stop("requests that are cancelled").await;
}

/// A frame in a number that no honest visitor sends.
struct Flood {
    what: &'static str,
    /// What comes before it.
    first: Vec<u8>,
    frame: Vec<u8>,
    count: usize,
    /// The relay has nothing more to do with whoever sends it.
    ends: bool,
}

fn floods() -> Vec<Flood> {
    let fields = frames::block(&get(APP, "/"));
    let headers = encode(kind::HEADERS, END_STREAM, 1, &fields);
    let small_window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &9_u32.to_be_bytes()].concat();
    let changes = {
        let [shut, wide] = [0, MOST].map(|most: u32| {
            let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &most.to_be_bytes()].concat();
            encode(kind::SETTINGS, 0, 0, &setting)
        });
        [shut, wide].concat()
    };
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
    let window = |by: u32| encode(kind::WINDOW_UPDATE, 0, 0, &by.to_be_bytes());
    let begun = encode(kind::HEADERS, END_HEADERS, 1, &fields);
    let none = Vec::new;
    let ending = [
        ("continuations", headers.clone(), encode(kind::CONTINUATION, 0, 1, &empty_field), 2_000),
        ("empty continuations", headers, encode(kind::CONTINUATION, 0, 1, &[]), 50_000),
        ("windows of nothing", none(), window(0), 50_000),
        ("windows beyond all", none(), window(MOST), 2),
        ("empty data", begun, encode(kind::DATA, 0, 1, &[]), 50_000),
        ("a bomb of fields", none(), bomb, 1),
    ];
    let borne = [
        ("settings", none(), encode(kind::SETTINGS, 0, 0, &small_window), 50_000),
        ("windows that change", none(), changes, 25_000),
        ("pings", none(), encode(kind::PING, 0, 0, &[7; 8]), 50_000),
        ("priorities", none(), encode(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), 50_000),
        ("windows", none(), window(1), 50_000),
    ];
    let all =
        ending.map(|flood| (flood, true)).into_iter().chain(borne.map(|flood| (flood, false)));
    all.map(|((what, first, frame, count), ends)| Flood { what, first, frame, count, ends })
        .collect()
}

#[tokio::test]
async fn frames_that_are_of_no_use_end_the_connection_or_cost_nothing() {
    if !runs_alone("web::floods::frames_that_are_of_no_use_end_the_connection_or_cost_nothing") {
        return;
    }
    let scene = Scene::new().await;
    for Flood { what, first, frame, count, ends } in floods() {
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
        if ends {
            within(what, attacker.drain()).await;
        }
    }
    scene.stop("frames").await;
}

#[tokio::test]
async fn a_hundred_thousand_hosts_that_nobody_has_leave_nothing_behind() {
    const HOSTS: u64 = 100_000;
    const AT_ONCE: u64 = 100;
    if !runs_alone("web::floods::a_hundred_thousand_hosts_that_nobody_has_leave_nothing_behind") {
        return;
    }
    let scene = Scene::new().await;
    let mut line = Line::connect(scene.http).await;
    // What counts them is there from the first one on.
    for host in ["nobody.t.example", "nobody.example"] {
        assert_eq!(line.ask(host, "/").await.status, 404);
    }
    let series = scene.series().await;
    for first in (0..HOSTS).step_by(AT_ONCE as usize) {
        let requests = (first..first + AT_ONCE).map(|number| {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let below = if number % 2 == 0 { "t.example" } else { "example" };
            format!("HEAD / HTTP/1.1\r\nHost: h{random:x}.{below}\r\n\r\n")
        });
        line.send(requests.collect::<String>()).await;
        for _ in 0..AT_ONCE {
            assert_eq!(line.head().await.unwrap().expect("an answer").status, 404);
        }
    }
    assert_eq!(&scene.series().await ^ &series, BTreeSet::new());
    drop(line);
    scene.stop("hosts").await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_costs_its_visitors_their_time_and_no_more() {
    let service = local::silent().await;
    let (world, client, http) = world_with(&app(service.addr()), |settings| {
        settings.web.request_timeout = ANSWER_TIME;
        // Of which one source has half.
        settings.max_visitors = 100;
    })
    .await;
    let mut lines = Vec::new();
    for _ in 0..50 {
        let mut line = Line::connect(http).await;
        line.get(APP, "/").await;
        lines.push(line);
    }
    world.shows("fifty of them", |metrics| metrics.requests("app") == 50.0).await;
    for _ in 0..10 {
        assert_eq!(Line::connect(http).await.ask(APP, "/").await.status, 503);
    }
    turn_clock(ANSWER_TIME).await;
    for line in &mut lines {
        assert_eq!(line.answer().await.status, 504);
    }
    world.shows("all places to be free", |metrics| metrics.requests("app") == 0.0).await;
    let mut line = Line::connect(http).await;
    line.get(APP, "/").await;
    world.shows("another one", |metrics| metrics.requests("app") == 1.0).await;
    drop(line);
    drop(lines);
    client.finish().await;
    world.stop().await;
}
