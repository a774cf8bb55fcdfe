//! Strangers at the control port: noise, silence and nonsense. Clients get in all the same.

use shared::control::protocol::MAX_HELLO;
use tests::raw::{self, ACK, GO_AWAY, PING, RawPeer, SYN, WINDOW, data, header, message};
use tests::rogue::hello;
use tests::usage::{resident_memory, runs_alone};
use tests::{Peer, World, local, scrape};

/// Whether a client gets in, and its visitors through.
async fn a_client_gets_in(world: &World) {
    let service = local::echo().await;
    let client = world.client(service.addr()).await;
    Peer::connect(client.public(0)).await.expect_echo(b"as ever").await;
    client.finish().await;
}

/// Waits until so many handshakes have ended in this way.
async fn handshakes(world: &World, outcome: &str, expected: usize) {
    let what = format!("{expected} handshakes that are {outcome}");
    world.shows(&what, |metrics| metrics.handshakes(outcome) == expected as f64).await;
}

#[tokio::test]
async fn five_hundred_strangers_with_noise_and_as_many_silent_ones_keep_no_client_out() {
    let name = "hostile_strangers::five_hundred_strangers_with_noise_and_as_many_silent_ones_keep_no_client_out";
    if !runs_alone(name) {
        return;
    }
    let world = World::start().await;
    a_client_gets_in(&world).await;
    let before = resident_memory();

    let mut silent = Vec::new();
    let mut noisy = Vec::new();
    for seed in 0..500 {
        silent.push(RawPeer::connect(world.addrs.control).await);
        let mut stranger = RawPeer::connect(world.addrs.control).await;
        let noise = tests::pattern::Pattern::new(seed).take(2000);
        // Whoever is cut off while it speaks has been understood.
        drop(stranger.try_send(&noise).await);
        noisy.push(stranger);
    }
    a_client_gets_in(&world).await;

    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 40_000_000, "{grown} bytes for a thousand strangers");
    for stranger in &mut noisy {
        stranger.expect_closed().await;
    }
    // The silent ones are given up in time.
    for stranger in &mut silent {
        stranger.expect_closed().await;
    }
    let metrics = world.metrics().await;
    assert_eq!(metrics.handshakes("accepted"), 2.0);
    assert_eq!(
        metrics.handshakes("invalid")
            + metrics.handshakes("evicted")
            + metrics.handshakes("lost")
            + metrics.handshakes("timeout"),
        1000.0
    );
    assert!(metrics.handshakes("timeout") > 0.0);
    world.stop().await;
}

#[tokio::test]
async fn more_strangers_than_there_is_room_for_push_each_other_out_and_no_client() {
    let world = World::start_with(|config| config.limits.max_handshakes = Some(16)).await;
    let mut strangers = Vec::new();
    for _ in 0..50 {
        strangers.push(RawPeer::connect(world.addrs.control).await);
    }
    // Room for sixteen: the oldest make way, and are not kept waiting to learn it.
    handshakes(&world, "evicted", 34).await;
    let limited = world.metrics().await.value("relay_limits_total{limit=\"handshakes\"}");
    assert_eq!(limited, Some(34.0));
    for stranger in &mut strangers[..34] {
        stranger.expect_closed().await;
    }
    a_client_gets_in(&world).await;
    drop(strangers);
    world.stop().await;
}

#[tokio::test]
async fn a_hello_that_is_not_understood_is_answered() {
    let world = World::start().await;
    let hello =
        serde_json::to_string(&shared::control::protocol::FromClient::Hello(hello(&["web"])))
            .unwrap();
    let cases = [
        (hello.replace("web", &"x".repeat(64)), "bad_request"),
        (hello.replace("\"tcp\"", "\"carrier-pigeon\""), "bad_request"),
        ("{\"type\":\"hello\",\"version\":3}".to_owned(), "version"),
        // As the first version of the protocol had it.
        (
            r#"{"type":"hello","version":1,"agent":"sallyport-client/0.1.0","instance":"00112233445566778899aabbccddeeff","max_streams":16384,"tunnels":[{"name":"web","kind":"tcp"}]}"#.to_owned(),
            "version",
        ),
    ];
    let expected = cases.len();
    for (hello, code) in cases {
        let mut stranger = RawPeer::connect(world.addrs.control).await;
        stranger.send(&data(SYN, 1, &message(hello.as_bytes()))).await;
        let answer = stranger.expect_closed().await;
        let bodies: Vec<u8> = answer.into_iter().flat_map(|frame| frame.body).collect();
        let told = String::from_utf8_lossy(&bodies).into_owned();
        assert!(told.contains(&format!("\"code\":\"{code}\"")), "{hello}: {told}");
    }
    handshakes(&world, "refused", expected).await;
    world.stop().await;
}

#[tokio::test]
async fn nonsense_ends_a_handshake_at_once() {
    let world = World::start().await;
    let hello =
        serde_json::to_vec(&shared::control::protocol::FromClient::Hello(hello(&["web"]))).unwrap();
    let nonsense: Vec<(&str, Vec<u8>)> = vec![
        ("another version of yamux", vec![1; 12]),
        ("an unknown kind of frame", header(9, 0, 0, 0)),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: relay.example\r\n\r\n".to_vec()),
        ("TLS", vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 0, 0, 0]),
        ("a frame far over the window", header(raw::DATA, SYN, 1, 300_000)),
        ("the largest frame there is", header(raw::DATA, SYN, 1, u32::MAX)),
        ("a frame too large for a stranger", header(raw::DATA, SYN, 1, 16 * 1024 + 1)),
        ("a stream with the relay's number", data(SYN, 2, &message(&hello))),
        ("a message of impossible length", data(SYN, 1, &u32::MAX.to_be_bytes())),
        ("a message over the limit", data(SYN, 1, &(MAX_HELLO as u32 + 1).to_be_bytes())),
        ("a message that is no JSON", data(SYN, 1, &message(b"{\"type\":"))),
        ("a message that is not UTF-8", data(SYN, 1, &message(b"{\"type\":\"\xff\"}"))),
        ("an unknown message", data(SYN, 1, &message(b"{\"type\":\"dance\"}"))),
        ("a heartbeat before Hello", data(SYN, 1, &message(b"{\"type\":\"heartbeat\",\"id\":1}"))),
        ("deep nesting", data(SYN, 1, &message("[".repeat(4000).as_bytes()))),
        ("a go-away with an error", header(GO_AWAY, 0, 0, 1)),
    ];
    let expected = nonsense.len();
    for (what, bytes) in nonsense {
        let mut stranger = RawPeer::connect(world.addrs.control).await;
        stranger.send(&bytes).await;
        let answer = stranger.expect_closed().await;
        let told = answer.iter().any(|frame| frame.kind == raw::DATA && frame.length > 0);
        assert!(!told, "{what} was answered with {answer:?}");
    }
    handshakes(&world, "invalid", expected).await;
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_hello_that_stops_in_the_middle_is_lost_with_its_connection() {
    let world = World::start().await;
    let hello =
        serde_json::to_vec(&shared::control::protocol::FromClient::Hello(hello(&["web"]))).unwrap();
    let whole = data(SYN, 1, &message(&hello));
    // Within a frame's header, behind it, within its body, and before everything.
    for part in [&whole[..5], &whole[..12], &whole[..30], &[]] {
        let mut stranger = RawPeer::connect(world.addrs.control).await;
        stranger.send(part).await;
        stranger.hang_up().await;
    }
    handshakes(&world, "lost", 4).await;

    let mut stranger = RawPeer::connect(world.addrs.control).await;
    stranger.send(&header(GO_AWAY, 0, 0, 0)).await;
    stranger.expect_closed().await;
    handshakes(&world, "lost", 5).await;

    // Between two frames, in the middle of the message: a broken client as much as a lost one.
    let mut stranger = RawPeer::connect(world.addrs.control).await;
    stranger.send(&data(SYN, 1, &message(&hello)[..20])).await;
    stranger.hang_up().await;
    let over = |m: &scrape::Scrape| m.handshakes("lost") + m.handshakes("invalid");
    world.shows("six handshakes to be over", |m| over(m) == 6.0).await;
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_hello_byte_by_byte_is_a_hello() {
    let world = World::start().await;
    let hello =
        serde_json::to_vec(&shared::control::protocol::FromClient::Hello(hello(&["web"]))).unwrap();
    let mut client = RawPeer::connect(world.addrs.control).await;
    for byte in data(SYN, 1, &message(&hello)) {
        client.send(&[byte]).await;
    }
    let answer = client.expect("an answer", |frame| frame.length > 4 && frame.kind == 0).await;
    assert!(String::from_utf8_lossy(&answer.body).contains("welcome"));
    drop(client);
    world.stop().await;
}

#[tokio::test]
async fn a_hello_that_cannot_be_granted_is_told_why() {
    let world = World::start().await;
    let mut old = hello(&["web"]);
    old.version = 0;
    let many: Vec<String> = (0..65).map(|i| format!("t{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = [
        (old, "version"),
        (hello(&[]), "no tunnel"),
        (hello(&["web", "web"]), "twice"),
        (hello(&many), "64 tunnels"),
    ];
    let expected = refused.len();
    for (hello, why) in refused {
        let mut client = tests::rogue::RogueClient::connect(world.addrs.control, hello).await;
        match client.receive().await {
            shared::control::protocol::FromRelay::Refused(refusal) => {
                assert!(refusal.message.contains(why), "{refusal:?}");
                assert!(!refusal.retry, "{refusal:?}");
            }
            other => panic!("{other:?} instead of a refusal: {why}"),
        }
        client.expect_end().await;
    }
    handshakes(&world, "refused", expected).await;
    world.stop().await;
}

#[tokio::test]
async fn a_stranger_that_floods_is_cut_off() {
    let world = World::start().await;
    let floods: Vec<(&str, Vec<u8>)> = vec![
        ("pings", header(PING, SYN, 0, 7).repeat(10_000)),
        ("streams", (0..60_000).flat_map(|i| header(WINDOW, SYN, 2 * i + 1, 0)).collect()),
        (
            "tiny frames",
            [data(SYN, 1, b"")]
                .concat()
                .into_iter()
                .chain(data(0, 1, b"x").repeat(100_000))
                .collect(),
        ),
    ];
    for (what, flood) in floods {
        let mut stranger = RawPeer::connect(world.addrs.control).await;
        // It never reads: what it is sent piles up in its kernel only.
        for piece in flood.chunks(64 * 1024) {
            if stranger.try_send(piece).await.is_err() {
                break;
            }
        }
        a_client_gets_in(&world).await;
        let answers = stranger.expect_closed().await;
        assert!(answers.len() < 70_000, "{} answers to {what}", answers.len());
    }
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_stranger_gets_its_pings_answered_and_no_more() {
    let world = World::start().await;
    let mut stranger = RawPeer::connect(world.addrs.control).await;
    stranger.send(&header(PING, SYN, 0, 0xbeef)).await;
    let pong = |frame: &raw::Frame| frame.kind == PING && frame.flags == ACK;
    let pong = stranger.expect("an answer to the ping", pong).await;
    assert_eq!(pong.length, 0xbeef);
    drop(stranger);
    world.stop().await;
}

#[tokio::test]
async fn strangers_at_the_admin_port_hold_nobody_up() {
    let world = World::start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Peer::connect(world.addrs.admin).await);
        let mut noisy = Peer::connect(world.addrs.admin).await;
        noisy.send(b"\x16\x03\x01 this is no request\r\n\r\n").await;
        silent.push(noisy);
    }
    assert_eq!(scrape::get(world.addrs.admin, "/healthz").await.0, 200);
    drop(silent);
    world.stop().await;
}
