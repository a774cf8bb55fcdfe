//! Clients that have been admitted and then do not play by the rules. Others are not harmed.

use std::time::Duration;

use futures::future::join_all;
use shared::control::protocol::{FromClient, FromRelay};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::record::{Abort, Failure, FailureReason, Record, data_header};
use tests::raw::{self, ACK, FIN, GO_AWAY, PING, RST, RawPeer, SYN, WINDOW, data, header};
use tests::rogue::{RogueClient, hello, read_to_end, write};
use tests::usage::{resident_memory, runs_alone};
use tests::{Peer, World, local, within};

/// A world with an honest client for the tunnel `good`, which has a visitor.
struct Honest {
    world: World,
    visitor: Peer,
    _service: tests::Local,
}

impl Honest {
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(adjust: impl FnOnce(&mut relay::Settings)) -> Self {
        let service = local::echo().await;
        let mut world = World::start_with(adjust).await;
        let public = world.expose_all(&[format!("good={}", service.addr())]).await[0];
        let mut visitor = Peer::connect(public).await;
        visitor.expect_echo(b"before").await;
        Self { world, visitor, _service: service }
    }

    /// The honest client and its visitor have not noticed anything.
    async fn undisturbed(&mut self) {
        self.visitor.expect_echo(b"undisturbed").await;
        let metrics = self.world.metrics().await;
        assert_eq!(metrics.visits("good", "reset") + metrics.visits("good", "lost"), 0.0);
    }

    async fn stop(mut self) {
        self.undisturbed().await;
        drop(self.visitor);
        self.world.stop().await;
    }
}

#[tokio::test]
async fn frames_against_the_protocol_end_only_the_session_they_came_in() {
    let mut honest = Honest::start().await;
    let control = honest.world.addrs.control;
    let breaches: Vec<(&str, Vec<u8>)> = vec![
        ("a frame over the window", data(0, 1, &vec![0; 300_000])),
        ("another version", vec![1; 12]),
        ("an unknown kind", header(9, 0, 0, 0)),
        ("a go-away", header(GO_AWAY, 0, 0, 0)),
        ("a go-away with an error", header(GO_AWAY, 0, 0, 2)),
        ("a stream of its own", header(WINDOW, SYN, 3, 0)),
        ("a stream opened twice", data(SYN, 1, b"again")),
        ("the end of its control stream", header(raw::DATA, RST, 1, 0)),
        ("a message too long", data(0, 1, &0x10_0000_u32.to_be_bytes())),
        ("a message that is no JSON", data(0, 1, &raw::message(b"?"))),
        (
            "a flood of tiny frames",
            data(0, 1, &[0, 0, 0xff, 0xff])
                .into_iter()
                .chain(data(0, 1, b"x").repeat(20_000))
                .collect(),
        ),
        ("a flood of pings", header(PING, SYN, 0, 1).repeat(200_000)),
        (
            "a flood of streams",
            (0..20_000).flat_map(|i| header(WINDOW, SYN, 2 * i + 3, 0)).collect(),
        ),
    ];
    for (what, bytes) in breaches {
        let mut rogue = RawPeer::admitted(control, hello(&["default"])).await;
        let served = |m: &tests::scrape::Scrape| m.value("relay_sessions") == Some(2.0);
        honest.world.shows("two sessions", served).await;
        for piece in bytes.chunks(64 * 1024) {
            if rogue.try_send(piece).await.is_err() {
                break;
            }
        }
        rogue.expect_closed().await;
        let one = |m: &tests::scrape::Scrape| m.value("relay_sessions") == Some(1.0);
        honest.world.shows(&format!("the session to end after {what}"), one).await;
        honest.undisturbed().await;
    }
    honest.stop().await;
}

#[tokio::test]
async fn records_against_the_protocol_reset_only_the_visitor_of_that_stream() {
    let honest = Honest::start().await;
    let public = honest.world.addrs.public;
    let mut rogue = RogueClient::admitted(honest.world.addrs.control).await;
    let seen = Record::Seen.encode();
    let failure = Failure { reason: FailureReason::Refused, explanation: "no".into() };
    let flowing = [seen.clone(), Record::Connected.encode()].concat();
    let open =
        Open::new(VisitIds::new().next(), "default".parse().unwrap(), ([127, 0, 0, 1], 1).into());
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("no record", vec![99, 0, 0, 0]),
        ("a record of a wrong length", vec![2, 0, 0, 1, 0]),
        ("an empty DATA", [flowing.clone(), data_header(1)[..1].to_vec(), vec![0, 0, 0]].concat()),
        ("CONNECTED before SEEN", Record::Connected.encode()),
        ("DATA before SEEN", [data_header(1).to_vec(), vec![7]].concat()),
        ("DATA before CONNECTED", [seen.clone(), data_header(1).to_vec(), vec![7]].concat()),
        ("END before CONNECTED", [seen.clone(), Record::End.encode()].concat()),
        ("SEEN twice", [seen.clone(), seen.clone()].concat()),
        ("CONNECTED twice", [flowing.clone(), Record::Connected.encode()].concat()),
        ("OPEN from a client", [seen.clone(), Record::Open(open).encode()].concat()),
        ("FAILED after CONNECTED", [flowing.clone(), Record::Failed(failure).encode()].concat()),
        ("an unknown failure", [seen.clone(), vec![4, 0, 0, 1, 99]].concat()),
        ("an explanation that is not UTF-8", [seen.clone(), vec![4, 0, 0, 2, 1, 255]].concat()),
        ("an unknown reason to abort", [flowing.clone(), vec![7, 0, 0, 1, 99]].concat()),
    ];
    let bad = answers.len();
    for (what, bytes) in answers {
        let mut visitor = Peer::connect(public).await;
        let mut stream = rogue.stream().await;
        write(&mut stream, &bytes).await;
        let before = visitor.expect_reset().await;
        assert!(before.is_empty(), "{what} got {before:?} through");
        drop(stream);
    }
    honest.world.counts("lost", bad).await;

    // DATA and END right, and then more: what came before the end is not taken back.
    let after = [flowing.clone(), Record::End.encode(), Record::Abort(Abort::Reset).encode()];
    let mut visitor = Peer::connect(public).await;
    let mut stream = rogue.stream().await;
    write(&mut stream, &after.concat()).await;
    visitor.send(b"still talking").await;
    drop(stream);
    visitor.read_to_end_or_reset().await;

    drop(rogue);
    honest.stop().await;
}

#[tokio::test]
async fn a_stream_dropped_without_a_word_resets_its_visitor() {
    let honest = Honest::start().await;
    let mut rogue = RogueClient::admitted(honest.world.addrs.control).await;
    let flowing = [Record::Seen.encode(), Record::Connected.encode()].concat();
    let cut_short = [flowing.clone(), data_header(10).to_vec(), vec![7]].concat();
    let whole = [flowing.clone(), data_header(1).to_vec(), vec![7]].concat();
    for (i, said) in [Vec::new(), flowing, cut_short, whole].into_iter().enumerate() {
        let mut visitor = Peer::connect(honest.world.addrs.public).await;
        let mut stream = rogue.stream().await;
        write(&mut stream, &said).await;
        drop(stream);
        visitor.expect_reset().await;
        honest.world.counts("lost", i + 1).await;
    }
    drop(rogue);
    honest.stop().await;
}

#[tokio::test]
async fn each_failure_that_a_client_reports_is_counted_as_what_it_is() {
    let honest = Honest::start().await;
    let mut rogue = RogueClient::admitted(honest.world.addrs.control).await;
    let failures = [
        (FailureReason::Refused, "local_refused"),
        (FailureReason::UnknownTunnel, "local_refused"),
        (FailureReason::TimedOut, "local_timeout"),
        (FailureReason::Limit, "limit"),
    ];
    for (reason, outcome) in failures {
        let before = honest.world.metrics().await.visits("default", outcome);
        let mut visitor = Peer::connect(honest.world.addrs.public).await;
        let mut stream = rogue.stream().await;
        let failed = Record::Failed(Failure { reason, explanation: "\x1b[31mred".into() });
        write(&mut stream, &[Record::Seen.encode(), failed.encode()].concat()).await;
        visitor.expect_reset().await;
        honest.world.counts(outcome, before as usize + 1).await;
    }
    for (abort, outcome) in [(Abort::Reset, "reset"), (Abort::TimedOut, "timeout")] {
        let mut visitor = Peer::connect(honest.world.addrs.public).await;
        let mut stream = rogue.stream().await;
        write(&mut stream, &[Record::Seen.encode(), Record::Connected.encode()].concat()).await;
        write(&mut stream, &Record::Abort(abort).encode()).await;
        visitor.expect_reset().await;
        honest.world.counts(outcome, 1).await;
    }
    drop(rogue);
    honest.stop().await;
}

#[tokio::test]
async fn a_client_that_opens_streams_is_thrown_out() {
    let honest = Honest::start().await;
    let mut rogue = RogueClient::admitted(honest.world.addrs.control).await;
    let mut stream = within("a stream", rogue.mux.open()).await.unwrap();
    write(&mut stream.io, b"let me in").await;
    rogue.expect_end().await;
    honest.stop().await;
}

#[tokio::test]
async fn a_client_that_says_hello_twice_is_thrown_out() {
    let honest = Honest::start().await;
    let mut rogue = RogueClient::admitted(honest.world.addrs.control).await;
    rogue.control.send(&FromClient::Hello(hello(&["good"]))).await.unwrap();
    rogue.expect_end().await;
    honest.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_no_stream_holds_up_only_its_own_visitors() {
    let honest = Honest::start().await;
    let public = honest.world.addrs.public;
    let rogue = RogueClient::admitted(honest.world.addrs.control).await;
    let mut waiting = Vec::new();
    for _ in 0..300 {
        waiting.push(Peer::connect(public).await);
    }
    // yamux keeps 256 of them; the others are turned away in time.
    honest.world.counts("timeout", 300 - 256).await;
    for visitor in &mut waiting[256..] {
        visitor.expect_reset().await;
    }
    drop(rogue);
    for visitor in &mut waiting[..256] {
        visitor.expect_reset().await;
    }
    honest.stop().await;
}

#[tokio::test]
async fn a_client_takes_no_more_streams_than_it_said() {
    let honest = Honest::start().await;
    let mut few = hello(&["default"]);
    few.max_streams = 2;
    let mut rogue = RogueClient::connect(honest.world.addrs.control, few).await;
    assert!(matches!(rogue.receive().await, FromRelay::Welcome(_)));
    let mut visitors = Vec::new();
    for _ in 0..2 {
        visitors.push(Peer::connect(honest.world.addrs.public).await);
    }
    let (_one, _two) = (rogue.stream().await, rogue.stream().await);
    Peer::connect(honest.world.addrs.public).await.expect_reset().await;
    honest.world.counts("limit", 1).await;
    drop(rogue);
    honest.stop().await;
}

#[tokio::test]
async fn a_client_that_falls_silent_is_forgotten() {
    let beat = Duration::from_millis(150);
    let honest = Honest::start_with(|config| config.heartbeat = beat).await;
    let mut rogue = RawPeer::admitted(honest.world.addrs.control, hello(&["default"])).await;
    // A raw peer says nothing by itself.
    rogue.expect_closed().await;
    honest.stop().await;
}

#[tokio::test]
async fn nothing_that_a_client_claims_makes_memory_grow() {
    if !runs_alone("hostile_clients::nothing_that_a_client_claims_makes_memory_grow") {
        return;
    }
    let honest = Honest::start().await;
    let control = honest.world.addrs.control;
    let mut before = 0;
    for round in 0..60 {
        let mut rogue = RawPeer::admitted(control, hello(&["default"])).await;
        // As large as allowed, and never completed.
        rogue.send(&header(raw::DATA, 0, 1, 256 * 1024)).await;
        rogue.send(&60_000_u32.to_be_bytes()).await;
        rogue.send(&vec![b' '; 30_000]).await;
        drop(rogue);
        let one = |m: &tests::scrape::Scrape| m.value("relay_sessions") == Some(1.0);
        honest.world.shows("one session", one).await;
        if round == 19 {
            before = resident_memory();
        }
    }
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 4_000_000, "{grown} bytes in forty rounds");
    honest.stop().await;
}

#[tokio::test]
async fn a_stream_that_says_nothing_ends_with_its_visitor() {
    let honest = Honest::start().await;
    let mut rogue = RogueClient::admitted(honest.world.addrs.control).await;
    let visitor = Peer::connect(honest.world.addrs.public).await;
    let mut stream = rogue.stream().await;
    write(&mut stream, &Record::Seen.encode()).await;
    visitor.reset();
    let told = read_to_end(&mut stream).await;
    assert!(told.ends_with(&Record::Abort(Abort::Reset).encode()), "{told:?}");
    honest.world.counts("reset", 1).await;
    drop((rogue, stream));
    honest.stop().await;
}

#[tokio::test]
async fn frames_for_visits_that_are_over_fill_no_memory_whatever_their_flags() {
    let name =
        "hostile_clients::frames_for_visits_that_are_over_fill_no_memory_whatever_their_flags";
    if !runs_alone(name) {
        return;
    }
    let world = World::start().await;
    let mut rogue = RawPeer::admitted(world.addrs.control, hello(&["default"])).await;
    // It never reads again: with all this on the way to it, the relay cannot even reset a stream.
    let mut visitors = Vec::new();
    for _ in 0..100 {
        visitors.push(Peer::connect(world.addrs.public).await);
    }
    join_all(visitors.iter_mut().map(Peer::send_until_full)).await;
    visitors.into_iter().for_each(Peer::reset);
    world.counts("reset", 100).await;
    let before = resident_memory();
    for flags in [ACK, FIN, ACK | FIN] {
        // Visits have even numbers. All of this fits their windows.
        for stream in (2..=40).step_by(2) {
            rogue.send(&data(flags, stream, b"four").repeat(20_000)).await;
        }
    }
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 32_000_000, "{grown} bytes");
    drop(rogue);
    world.stop().await;
}
