//! Clients that have been admitted and then flood the relay with frames of one kind or another. Each
//! loses its session, for a reason that an operator can read and count; others notice nothing.

use std::net::SocketAddr;
use std::pin::pin;

use tests::process::{Client, Relay};
use tests::raw::{ACK, DATA, FIN, GO_AWAY, PING, RST, RawPeer, SYN, WINDOW, data, header};
use tests::rogue::{RogueClient, hello};
use tests::scrape::{Scrape, scrape, shows};
use tests::usage::raise_file_limit;
use tests::{Peer, Tasks, World, local, within};

/// How much of a flood is sent at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// What the relay may hold more than before once all floods are over, in bytes.
const GROWTH: f64 = 32e6;

/// A flood, and what becomes of it.
struct Flood {
    what: &'static str,
    /// Repeated as often as `times` says.
    frames: Vec<u8>,
    times: usize,
    /// What the log says of the end of the session, and what is counted.
    reason: &'static str,
    kind: &'static str,
}

fn flood(
    what: &'static str,
    frames: Vec<u8>,
    times: usize,
    (reason, kind): (&'static str, &'static str),
) -> Flood {
    Flood { what, frames, times, reason, kind }
}

/// What ends a session, as it is logged and counted.
const PINGS: (&str, &str) = ("a flood of pings", "ping_flood");
const TINY: (&str, &str) = ("too many frames of next to nothing", "tiny_frames");
const UPDATES: (&str, &str) = ("more window updates than anything sent", "window_updates");
const STRAY: (&str, &str) = ("too many frames of streams that are not there", "stray_frames");
const OPENED: (&str, &str) = ("opened a stream that it may not open", "stream_not_allowed");
const REFUSED: (&str, &str) = ("go-away code 1 (protocol error) sent in answer", "bad_frame");

fn floods() -> Vec<Flood> {
    let streams = |flags, kind| (0..50_000).flat_map(move |i| header(kind, flags, 2 * i + 3, 0));
    vec![
        flood("pings", header(PING, SYN, 0, 1), 1_000_000, PINGS),
        flood("pings that ask for nothing", header(PING, 0, 0, 1), 1_000_000, PINGS),
        flood("answers that nobody asked for", header(PING, ACK, 0, 77), 1000, REFUSED),
        flood("new streams", streams(SYN, WINDOW).collect(), 2, OPENED),
        flood("empty frames", header(DATA, 0, 1, 0), 1_000_000, TINY),
        flood("empty acknowledgements", header(DATA, ACK, 1, 0), 1_000_000, TINY),
        flood("window updates of nothing", header(WINDOW, 0, 1, 0), 1_000_000, UPDATES),
        flood("window updates of next to nothing", header(WINDOW, 0, 1, 1), 1_000_000, UPDATES),
        flood("more credit than there can be", header(WINDOW, 0, 1, u32::MAX), 1, REFUSED),
        flood("data for streams of the relay", data(0, 2000, &[7; 4000]), 10_000, STRAY),
        flood("data for streams of its own", data(0, 5, &[7; 4000]), 10_000, STRAY),
        flood("data for no stream", data(0, 0, &[7; 4000]), 10_000, STRAY),
        flood("resets", (0..50_000).flat_map(|i| header(DATA, RST, 2 * i, 0)).collect(), 20, STRAY),
        flood("ends", header(DATA, FIN, 4000, 0), 1_000_000, STRAY),
        flood(
            "go-aways",
            header(GO_AWAY, 0, 0, 2),
            100_000,
            ("code 2 (internal error)", "go_away"),
        ),
    ]
}

impl Flood {
    /// Sends all of it, or as much as is taken.
    async fn send(&self, rogue: &mut RawPeer<tokio::net::TcpStream>) {
        let many = self.frames.repeat((PIECE / self.frames.len()).clamp(1, self.times));
        let mut left = self.times * self.frames.len();
        while left > 0 {
            let piece = &many[..many.len().min(left)];
            for piece in piece.chunks(PIECE) {
                if rogue.try_send(piece).await.is_err() {
                    return;
                }
            }
            left -= piece.len();
        }
    }
}

/// Visits come one after the other for as long as `meanwhile` takes, each completed.
async fn visits_during(public: SocketAddr, meanwhile: impl Future<Output = ()>) {
    let visits = async {
        loop {
            let mut visitor = Peer::connect(public).await;
            visitor.expect_echo(b"undisturbed").await;
            visitor.half_close().await;
            visitor.expect_end().await;
        }
    };
    let (mut meanwhile, mut visits) = (pin!(meanwhile), pin!(visits));
    tokio::select! {
        () = &mut meanwhile => (),
        () = &mut visits => (),
    }
}

fn breaches(metrics: &Scrape, kind: &str) -> f64 {
    let series = format!("relay_breaches_total{{kind=\"{kind}\"}}");
    metrics.value(&series).unwrap_or_else(|| panic!("no series {series}"))
}

async fn memory(relay: &Relay) -> f64 {
    scrape(relay.admin).await.value("process_resident_memory_bytes").expect("a size")
}

#[tokio::test]
async fn each_flood_of_frames_ends_the_session_it_came_in_for_a_reason_that_is_told() {
    raise_file_limit();
    let service = local::echo().await;
    let relay = Relay::start(&[]).await;
    let _client = Client::expose(relay.control, service.addr()).await;
    let mut before = None;
    for flood in floods() {
        let counted = breaches(&scrape(relay.admin).await, flood.kind);
        visits_during(relay.public, async {
            let mut rogue = RawPeer::admitted(relay.control, hello(&["rogue"])).await;
            flood.send(&mut rogue).await;
            rogue.expect_closed().await;
            let one = |m: &Scrape| breaches(m, flood.kind) == counted + 1.0;
            shows(relay.admin, &format!("a {} after {}", flood.kind, flood.what), one).await;
        })
        .await;
        relay.logged(flood.reason).await;
        if before.is_none() {
            before = Some(memory(&relay).await);
        }
    }
    let grown = memory(&relay).await - before.expect("a flood");
    assert!(grown < GROWTH, "{grown} bytes");
    let lost = scrape(relay.admin).await;
    for outcome in ["reset", "lost", "limit", "timeout", "no_client"] {
        // The last visit may have been given up in the middle by the test itself.
        assert!(lost.visits("default", outcome) <= floods().len() as f64, "{outcome}");
    }
}

#[tokio::test]
async fn whoever_sends_more_than_a_visitor_takes_loses_its_session() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose_all(&[format!("good={}", service.addr())]).await[0];
    let mut rogue = RawPeer::admitted(world.addrs.control, hello(&["default"])).await;
    let _visitor = Peer::connect(world.addrs.public).await;
    let open = rogue.expect("a visit", |frame| frame.stream == 2 && frame.length > 0).await;
    // SEEN, CONNECTED, and the header of a record that never ends.
    let record = [2, 0, 0, 0, 3, 0, 0, 0, 5, 0xff, 0xff, 0xff];
    rogue.send(&data(ACK, open.stream, &record)).await;
    visits_during(public, async {
        let frame = data(0, open.stream, &[7; 100_000]);
        while rogue.try_send(&frame).await.is_ok() {}
        let one = |m: &Scrape| breaches(m, "bad_frame") == 1.0;
        world.shows("the session to end", one).await;
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_resets_each_visit_at_once_harms_its_own_visitors_alone() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose_all(&[format!("good={}", service.addr())]).await[0];
    let mut rogue = RogueClient::admitted(world.addrs.control).await;
    let mut visitors = Tasks::new();
    for _ in 0..500 {
        let public = world.addrs.public;
        visitors.spawn(async move { drop(Peer::connect(public).await.expect_reset().await) });
    }
    visits_during(public, async {
        for _ in 0..500 {
            drop(within("a visit", rogue.inbound.next()).await.expect("a session"));
        }
        visitors.join().await;
        world.counts("lost", 500).await;
    })
    .await;
    let breaches = world.metrics().await;
    let breaches = breaches.text.lines().filter(|line| line.starts_with("relay_breaches_total"));
    assert!(
        breaches.clone().all(|line| line.ends_with(" 0")),
        "{:?}",
        breaches.collect::<Vec<_>>()
    );
    drop(rogue);
    world.stop().await;
}
