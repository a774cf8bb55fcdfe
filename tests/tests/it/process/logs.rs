//! What the log says, at which level, and what it never says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};
use shared::control::protocol::FromClient;
use tests::files::Folder;
use tests::process::{Client, Process, Program, Relay, Signal, visit};
use tests::raw::{self, RawPeer};
use tests::rogue::RogueClient;
use tests::{Peer, local, rogue, within_time};

/// Whether any line so far is of `level`.
fn has_level(process: &Process, level: &str) -> bool {
    process.stderr.as_json().iter().any(|line| line["level"] == level)
}

/// The lines at the ends of visits, so far.
fn visits_over(process: &Process) -> Vec<Value> {
    let over = |line: &Value| line["message"].as_str().is_some_and(|m| m.contains("visit over"));
    process.stderr.as_json().into_iter().filter(over).collect()
}

/// Has one visit led through a relay and a client that were started as told.
async fn one_visit(relay: Program, client: Program) -> (Relay, Client) {
    let relay = Relay::of(relay).await;
    let service = local::echo().await;
    let args = ["--server", &relay.control.to_string(), "--local", &service.addr().to_string()];
    let mut client = Client::of(client.args(args));
    client.event("live").await;
    let mut visitor = visit(relay.public).await;
    visitor.half_close().await;
    visitor.expect_end().await;
    for process in [&*relay, &*client] {
        process.logged("visit over").await;
    }
    (relay, client)
}

#[tokio::test]
async fn the_level_is_info_unless_flag_variable_or_rust_log_say_otherwise() {
    let none: [(&str, &str); 0] = [];
    let cases = [
        (none.to_vec(), None, false),
        (vec![("RUST_LOG", "debug")], None, true),
        (vec![("RUST_LOG", "relay=debug,client=debug")], None, true),
        (vec![("RUST_LOG", "debug"), ("LOG", "info")], None, false),
        (vec![("RUST_LOG", "info"), ("LOG", "debug")], None, true),
        (vec![("RUST_LOG", "debug"), ("LOG", "debug")], Some("info"), false),
        (vec![("LOG", "info")], Some("debug"), true),
        (vec![("RUST_LOG", "=this is no filter=")], None, false),
        (vec![("RUST_LOG", "[[[")], None, false),
        (vec![("RUST_LOG", "")], None, false),
        (vec![("LOG", "")], None, false),
    ];
    for (environment, flag, debug) in cases {
        let with = |mut program: Program, prefix: &str| {
            for (name, value) in &environment {
                let name = name.replace("RUST_LOG", "?").replace("LOG", prefix);
                program = program.env(&name.replace('?', "RUST_LOG"), value);
            }
            program.args(flag.map(|flag| format!("--log={flag}")))
        };
        let (relay, client) =
            one_visit(with(Program::relay(), "RELAY_LOG"), with(Program::client(), "CLIENT_LOG"))
                .await;
        for process in [&*relay, &*client] {
            assert!(has_level(process, "INFO"), "{environment:?} {flag:?}");
            assert_eq!(has_level(process, "DEBUG"), debug, "{environment:?} {flag:?}");
        }
    }
}

#[tokio::test]
async fn text_is_the_default_and_has_no_colour_in_a_file() {
    let relay = Program::bare("relay")
        .args(["--control=127.0.0.1:0", "--public=127.0.0.1:0", "--admin=127.0.0.1:0"])
        .start();
    let ready = |line: &str| line.contains("is ready").then(|| line.to_owned());
    let (_, line) = relay.stderr.find("the relay to be ready", 0, ready).await;
    assert!(line.contains(" INFO ") && line.contains("control=127.0.0.1:"), "{line}");
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[tokio::test]
async fn each_visit_has_one_line_at_each_end_with_the_same_number() {
    let relay = Relay::start(&[]).await;
    let service = local::played().await;
    let local = service.addr().to_string();
    let client = Client::live_with(relay.control, &["--local", &local]).await;
    for outcome in ["completed", "reset"] {
        let mut visitor = Peer::connect(relay.public).await;
        let mut at_service = service.accept().await;
        visitor.send(&[b'i'; 1000]).await;
        at_service.expect(&[b'i'; 1000]).await;
        at_service.send(&[b'o'; 2000]).await;
        visitor.expect(&[b'o'; 2000]).await;
        if outcome == "reset" {
            at_service.reset();
            visitor.expect_reset().await;
        } else {
            at_service.half_close().await;
            visitor.expect_end().await;
            visitor.half_close().await;
            at_service.expect_end().await;
        }
        relay.visit_over(outcome).await;
    }
    let number = |line: &Value| line["visit"].as_str().map(str::to_owned);
    let is_second = |line: &Value| number(line).is_some_and(|n| n.ends_with("-2"));
    let is_over = |line: &Value| line["bytes_in"].is_u64();
    client.logged_where("the second visit", |line| is_second(line) && is_over(line)).await;

    let (at_relay, at_client) = (visits_over(&relay), visits_over(&client));
    let numbers = |lines: &[Value]| lines.iter().filter_map(number).collect::<Vec<_>>();
    assert_eq!(numbers(&at_relay), numbers(&at_client));
    let runs: Vec<_> = ["-1", "-2"]
        .iter()
        .zip(numbers(&at_relay))
        .map(|(n, id)| id.strip_suffix(n).map(str::to_owned))
        .collect();
    assert!(runs.len() == 2 && runs[0].is_some() && runs[0] == runs[1], "{runs:?}");
    for line in at_relay.iter().chain(&at_client) {
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&1000.into(), &2000.into()), "{line}");
        assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");
        assert!(line["addr"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")));
    }
    let said =
        |line: &Value, words: &str| line["message"].as_str().is_some_and(|m| m.contains(words));
    for lines in [&at_relay, &at_client] {
        assert!(said(&lines[0], "completed"), "{}", lines[0]);
        assert!(said(&lines[1], "reset"), "{}", lines[1]);
    }
}

#[tokio::test]
async fn both_ends_say_why_the_local_service_could_not_be_reached() {
    let relay = Relay::start(&[]).await;
    let client = Client::expose(relay.control, local::nobody().await).await;
    Peer::connect(relay.public).await.expect_reset().await;
    relay.counts(1, "local_refused").await;
    let at_client = client.logged("visit over").await;
    let at_relay = relay.visit_over("local_refused").await;
    for line in [&at_client, &at_relay] {
        assert!(
            line["message"].as_str().is_some_and(|m| m.contains("Connection refused")),
            "{line}"
        );
        assert_eq!(line["visit"], at_relay["visit"]);
    }
}

#[tokio::test]
async fn a_breach_of_the_protocol_is_logged_with_its_code_and_what_was_wrong() {
    let relay = Relay::start(&[]).await;
    let cases = [
        // The client gives up, for a reason of its own.
        (raw::header(raw::GO_AWAY, 0, 0, 1), "go-away code 1 (protocol error)"),
        (raw::header(raw::GO_AWAY, 0, 0, 2), "go-away code 2 (internal error)"),
        // A stream with a number that only the relay may give.
        (raw::data(raw::SYN, 2, b"x"), "the peer opened a stream that it may not open"),
        // More credit than there can be.
        (
            raw::header(raw::WINDOW, 0, 1, u32::MAX),
            "go-away code 1 (protocol error) sent in answer to",
        ),
        // More than the window.
        (raw::header(raw::DATA, 0, 1, 300_000), "a frame of 300000 bytes, allowed are 262144"),
        (b"GET / HTTP/1.1\r\n".to_vec(), "the peer does not speak yamux (byte 0x47)"),
    ];
    for (bytes, reason) in cases {
        let mut peer = RawPeer::admitted(relay.control, rogue::hello(&["default"])).await;
        peer.send(&bytes).await;
        peer.expect_closed().await;
        let line = relay.logged(reason).await;
        assert_eq!(line["level"], "WARN", "{line}");
        assert!(line["span"]["client"].as_str().is_some_and(|c| c.starts_with("127.0.0.1:")));
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_and_every_line_is_json() {
    let trace = |program: Program| program.args(["--log", "trace"]);
    let (mut relay, mut client) =
        one_visit(trace(Program::relay()), trace(Program::client())).await;
    // A client whose secret is known here, which then misbehaves.
    let hello = rogue::hello(&["default"]);
    let secret = String::from(hello.instance);
    let mut peer = RawPeer::admitted(relay.control, hello).await;
    peer.send(b"GET / HTTP/1.1\r\n").await;
    peer.hang_up().await;
    relay.logged("session broken off").await;
    // A stranger whose hello is nonsense.
    let mut stranger = RawPeer::connect(relay.control).await;
    let bad = format!(r#"{{"type":"hello","instance":"{secret}","version":"?"}}"#);
    stranger.send(&raw::data(raw::SYN, 1, &raw::message(bad.as_bytes()))).await;
    stranger.expect_closed().await;

    relay.signal(Signal::TERM);
    relay.exit().await;
    client.exit().await;
    for process in [&*relay, &*client] {
        assert!(!process.stderr.as_json().is_empty());
        for line in process.stderr.so_far() {
            assert!(!line.contains(&secret), "{line}");
            let digits = line.split(|c: char| !c.is_ascii_hexdigit());
            assert!(digits.map(str::len).all(|length| length < 32), "an instance? {line}");
        }
    }
}

/// What would be a line of its own, in red, and be read backwards.
const FORGED: &str =
    "x\r\n2026-01-01T00:00:00.000000Z ERROR relay: forged\n{} \u{1b}[31m\u{202e}\u{7}";

/// Whether a line of the log or the audit log is one that a relay wrote.
fn is_valid(line: &str, format: &str) -> bool {
    let is_harmless = !line.chars().any(|c| c.is_control() || c == '\u{202e}');
    let is_whole = match format {
        "json" => serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"].is_string()),
        _ => line.get(..11).is_some_and(|date| date.ends_with('T') && date != "2026-01-01T"),
    };
    is_harmless && is_whole
}

#[tokio::test]
async fn whatever_others_say_stays_within_its_line() {
    for format in ["json", "text"] {
        let folder = Folder::new();
        let audit = folder.file("audit.log");
        let mut relay = Program::relay()
            .env("RELAY_LOG_FORMAT", format)
            .args(["--log", "trace", "--audit-log", &audit.display().to_string()])
            .start();
        let control = |line: &str| {
            let (_, control) = line.split_once("is ready")?.1.split_once("127.0.0.1:")?;
            let port = control.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
            Some(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        let (_, control) = relay.stderr.find("the relay to be ready", 0, control).await;

        let mut hello = rogue::hello(&["default"]);
        hello.agent = FORGED.into();
        hello.tunnels[0].local = FORGED.into();
        let mut client = RogueClient::connect(control, hello).await;
        client.receive().await;
        client.say(&FromClient::Goodbye { reason: FORGED.into() }).await;
        client.close().await;
        let logged = |text: &'static str| move |line: &str| line.contains(text).then_some(());
        relay.stderr.find("a goodbye", 0, logged("the client ended it")).await;
        // Quoted in what is wrong with them.
        for message in
            [json!({ "type": FORGED }), json!({ "version": 1, "type": "hello", FORGED: 1 })]
        {
            let mut stranger = RawPeer::connect(control).await;
            let message = raw::message(message.to_string().as_bytes());
            stranger.send(&raw::data(raw::SYN, 1, &message)).await;
            stranger.expect_closed().await;
        }
        let mut stranger = Peer::connect(control).await;
        stranger.send(format!("GET /{FORGED} HTTP/1.1\r\n\r\n").as_bytes()).await;
        stranger.read_to_end_or_reset().await;
        relay.stderr.find("a stranger", 0, logged("not a client")).await;

        relay.signal(Signal::TERM);
        relay.exit().await;
        let lines = relay.stderr.so_far();
        assert!(lines.iter().any(|line| line.contains("relay: forged")), "nobody was quoted");
        for line in lines {
            assert!(is_valid(&line, format), "{line:?}");
        }
        for line in std::fs::read_to_string(audit).expect("an audit log").lines() {
            assert!(is_valid(line, "json"), "{line:?}");
        }
    }
}

/// Somebody who is turned away.
async fn stranger(public: SocketAddr) {
    let mut peer = Peer::connect(public).await;
    peer.send(b"x").await;
    peer.read_to_end_or_reset().await;
}

#[tokio::test]
async fn a_hundred_thousand_strangers_write_few_lines_and_harm_no_visit() {
    const STRANGERS: u64 = 100_000;
    let mut relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let tunnel = format!("beside={}", service.addr());
    let mut client = Client::begin(relay.control, &["--tunnel", &tunnel]);
    let beside = client.live("beside").await;
    let mut visitor = visit(beside).await;

    let start = Instant::now();
    let public = relay.public;
    let strangers = stream::iter(0..STRANGERS).map(|_| stranger(public));
    let mut strangers = strangers.buffer_unordered(50).chunks(1_000);
    let flood = async {
        while strangers.next().await.is_some() {
            visitor.expect_echo(b"still here").await;
            visit(beside).await.expect_echo(b"so am I").await;
        }
    };
    within_time(Duration::from_secs(300), "the strangers to be turned away", flood).await;
    relay.signal(Signal::TERM);
    drop(visitor);
    relay.exit().await;

    let lines = relay.stderr.as_json();
    let turned_away = lines.iter().filter(|line| line["outcome"] == "no_client").count() as u64;
    let left_out: u64 = lines.iter().filter_map(|line| line["left_out"].as_u64()).sum();
    assert_eq!(turned_away + left_out, STRANGERS);
    assert!(turned_away <= 25 * (start.elapsed().as_secs() / 10 + 1), "{turned_away} lines");
    let served = lines.iter().filter(|line| line["outcome"] == "completed").count();
    assert!(served >= 100, "visits that were served are logged each: {served}");
}

#[tokio::test]
async fn a_client_that_comes_and_goes_without_end_writes_a_bounded_number_of_lines() {
    const SESSIONS: usize = 1_500;
    let mut relay = Relay::start(&[]).await;
    let start = Instant::now();
    for _ in 0..SESSIONS {
        RawPeer::admitted(relay.control, rogue::hello(&["coming"])).await.hang_up().await;
    }
    relay.signal(Signal::TERM);
    relay.exit().await;

    let lines = relay.stderr.as_json();
    // Each has a beginning and an end.
    let sessions = |line: &&Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("client connected") || message.starts_with("session ")
    };
    let written = lines.iter().filter(sessions).count() as u64;
    let came_and_went = |line: &&Value| {
        line["message"].as_str().is_some_and(|message| message.starts_with("clients came and went"))
    };
    let left_out: u64 =
        lines.iter().filter(came_and_went).filter_map(|line| line["left_out"].as_u64()).sum();
    assert_eq!(written + left_out, 2 * SESSIONS as u64);
    assert!(written <= 1_000 * (start.elapsed().as_secs() / 10 + 1), "{written} lines");
}

/// With the target `audit`, so that they can be kept apart.
#[tokio::test]
async fn the_audit_log_says_who_was_let_in_and_who_was_not() {
    let secret = "correct horse battery staple";
    let mut relay = Relay::of(Program::relay().env("RELAY_TOKEN", secret)).await;
    let service = local::echo().await;
    let server = relay.control.to_string();
    let args = ["--server", &server, "--local", &service.addr().to_string()];
    let program = |token: &str| Program::client().env("CLIENT_TOKEN", token).args(args);
    let mut client = Client::of(program(secret));
    client.event("live").await;
    let mut stranger = Client::of(program("another secret altogether"));
    stranger.exit().await;
    let admitted = relay.logged_where("admitted", |line| line["event"] == "admitted").await;
    assert_eq!((&admitted["target"], &admitted["owner"]), (&"audit".into(), &"(shared)".into()));
    let refused = relay.logged_where("refused", |line| line["event"] == "refused").await;
    assert_eq!(refused["code"], "Unauthorized");
    assert!(refused["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")));
    relay.signal(Signal::TERM);
    relay.exit().await;
    assert!(!relay.stderr.so_far().concat().contains(secret), "the secret is in the log");
}
