//! Relays that do not play by the rules, and what a client makes of them.

use std::time::Duration;

use client::{Event, Reconnect, Settings, Status};
use shared::control::protocol::{
    FromClient, FromRelay, Refusal, RefusalCode, TunnelAnswer, TunnelOutcome, Welcome,
};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::record::{Abort, FailureReason, Item, Record, data_header};
use tests::rogue::{RogueRelay, open_at_1, read_to_end, write};
use tests::{Local, Peer, RunningClient, local, within};
use tokio::io::AsyncWriteExt;

/// A client of `relay` whose tunnel `default` leads to `service`.
fn client(relay: &RogueRelay, service: std::net::SocketAddr) -> RunningClient {
    RunningClient::start(config(relay, service))
}

fn config(relay: &RogueRelay, service: std::net::SocketAddr) -> Settings {
    let tunnel = format!("default={service}").parse().expect("a tunnel");
    Settings::loopback(relay.addr(), vec![tunnel])
}

fn open(tunnel: &str) -> Vec<u8> {
    let visitor = ([127, 0, 0, 1], 1).into();
    let tunnel = tunnel.parse().expect("a name");
    Record::Open(Open::new(VisitIds::new().next(), tunnel, visitor)).encode()
}

/// The records in `bytes`, without `DATA`.
fn records(bytes: &[u8]) -> Vec<Record> {
    let mut decoder = shared::visit::record::Decoder::default();
    let (mut at, mut records) = (0, Vec::new());
    while let Some(item) = decoder.next(bytes, &mut at).expect("records") {
        if let Item::Record(record) = item {
            records.push(record);
        }
    }
    records
}

#[tokio::test]
async fn what_is_no_relay_is_named_as_such() {
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.9\r\n"] {
        let relay = RogueRelay::start().await;
        let mut config = config(&relay, local::nobody().await);
        config.reconnect = Reconnect::OnFailure;
        let client = RunningClient::start(config);
        let mut socket = relay.accept().await;
        socket.write_all(said).await.unwrap();
        let err = format!("{:#}", client.ended().await.unwrap_err());
        assert!(err.contains("no relay"), "{err}");
    }
}

#[tokio::test]
async fn a_relay_that_hangs_up_or_resets_cannot_be_reached() {
    for reset in [true, false] {
        let relay = RogueRelay::start().await;
        let client = client(&relay, local::nobody().await);
        let socket = relay.accept().await;
        if reset {
            socket.set_zero_linger().unwrap();
        }
        drop(socket);
        let err = format!("{:#}", client.ended().await.unwrap_err());
        assert!(err.contains("cannot be reached"), "{err}");
    }
}

#[tokio::test]
async fn a_relay_that_says_nothing_is_given_up() {
    let relay = RogueRelay::start().await;
    let client = client(&relay, local::nobody().await);
    let _socket = relay.accept().await;
    let err = format!("{:#}", client.ended().await.unwrap_err());
    assert!(err.contains("no answer"), "{err}");
}

#[tokio::test]
async fn a_wrong_first_answer_ends_the_client_with_the_reason() {
    let other = Welcome { session: 1, heartbeat_ms: 1000, tunnels: vec![open_at_1("other")] };
    let more = Welcome { tunnels: vec![open_at_1("default"); 2], ..other.clone() };
    let none = Welcome { tunnels: Vec::new(), ..other.clone() };
    let answers = [
        FromRelay::Heartbeat { id: 1 },
        FromRelay::Draining,
        FromRelay::Welcome(other),
        FromRelay::Welcome(more),
        FromRelay::Welcome(none),
    ];
    for answer in answers {
        let relay = RogueRelay::start().await;
        let client = client(&relay, local::nobody().await);
        let mut session = relay.greeted().await;
        session.control.send(&answer).await.unwrap();
        let err = format!("{:#}", client.ended().await.unwrap_err());
        assert!(err.contains("no relay"), "{answer:?}: {err}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_and_tried_again_only_if_that_can_help() {
    for (code, again) in [(RefusalCode::PortTaken, true), (RefusalCode::Version, false)] {
        let relay = RogueRelay::start().await;
        let mut config = config(&relay, local::nobody().await);
        config.reconnect = Reconnect::Always;
        let mut client = RunningClient::start(config);
        let mut session = relay.greeted().await;
        let refused = FromRelay::Refused(Refusal::new(code, "not like this"));
        session.control.send(&refused).await.unwrap();
        if again {
            let waits = |event: &Event| matches!(event, Event::Reconnecting(_));
            client.event("another attempt", waits).await;
            drop(relay.welcomed().await);
            client.finish().await;
        } else {
            let err = format!("{:#}", client.ended().await.unwrap_err());
            assert!(err.contains("not like this"), "{err}");
        }
    }
}

#[tokio::test]
async fn a_relay_that_breaks_the_protocol_is_left_and_tried_again() {
    let relay = RogueRelay::start().await;
    let mut client = client(&relay, local::nobody().await);
    let welcome = Welcome { session: 1, heartbeat_ms: 1, tunnels: Vec::new() };
    let mut session = relay.welcomed().await;
    client.live().await;
    session.control.send(&FromRelay::Welcome(welcome)).await.unwrap();
    let lost = |event: &Event| matches!(event, Event::Lost(_));
    client.event("the loss", lost).await;
    drop(session);

    let session = relay.welcomed().await;
    client.event("to be live again", |event| matches!(event, Event::Live(_))).await;
    drop(session);
    client.event("the next loss", lost).await;
    client.finish().await;
}

#[tokio::test]
async fn a_goodbye_ends_the_client_well_even_if_the_connection_ends_with_it() {
    for _ in 0..20 {
        let relay = RogueRelay::start().await;
        let mut client = client(&relay, local::nobody().await);
        let mut session = relay.welcomed().await;
        client.live().await;
        let goodbye = FromRelay::Goodbye { reason: "closing time".into() };
        session.control.send(&goodbye).await.unwrap();
        session.close().await;
        client.ended().await.unwrap();
    }
}

#[tokio::test]
async fn strange_heartbeats_and_standings_do_no_harm() {
    for heartbeat_ms in [0, 1, u64::MAX] {
        let relay = RogueRelay::start().await;
        let client = client(&relay, local::nobody().await);
        let mut session = relay.greeted().await;
        let tunnels = vec![open_at_1("default")];
        let welcome = Welcome { session: 1, heartbeat_ms, tunnels };
        session.control.send(&FromRelay::Welcome(welcome)).await.unwrap();
        for message in [
            FromRelay::Standby { tunnel: "unknown".parse().unwrap() },
            FromRelay::Live { tunnel: "unknown".parse().unwrap() },
            FromRelay::HeartbeatAck { id: u64::MAX },
            FromRelay::Heartbeat { id: 77 },
        ] {
            session.control.send(&message).await.unwrap();
        }
        within("the answer to the heartbeat", async {
            loop {
                match session.control.receive().await.unwrap() {
                    FromClient::HeartbeatAck { id: 77 } => return,
                    FromClient::Heartbeat { .. } => (),
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
        assert!(matches!(*client.status.borrow(), Status::Live(_)));
        drop(session);
        client.finish().await;
    }
}

#[tokio::test]
async fn streams_that_are_no_visits_are_reset_and_visits_go_on() {
    let service = local::echo().await;
    let relay = RogueRelay::start().await;
    let client = client(&relay, service.addr());
    let session = relay.welcomed().await;

    let mut unknown = session.open(&open("other")).await;
    let answer = records(&read_to_end(&mut unknown).await);
    assert_eq!(answer[0], Record::Seen);
    assert!(
        matches!(&answer[1], Record::Failed(failure) if failure.reason == FailureReason::UnknownTunnel)
    );

    let nonsense: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[99, 0, 0, 0],
        &Record::Seen.encode(),
        &[5, 0, 0, 3, 1, 2, 3],
        &[1, 0, 255, 255],
    ];
    for bytes in nonsense {
        let mut stream = session.open(bytes).await;
        let answer = read_to_end(&mut stream).await;
        assert!(answer.is_empty(), "{} got {answer:?}", bytes.escape_ascii());
    }

    let visit = [open("default"), data_header(4).to_vec(), b"ping".to_vec(), Record::End.encode()];
    let mut stream = session.open(&visit.concat()).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.windows(4).any(|bytes| bytes == b"ping"));
    assert_eq!(records(&answer), [Record::Seen, Record::Connected, Record::End]);
    drop((stream, session));
    client.finish().await;
}

#[tokio::test]
async fn a_visit_that_goes_wrong_resets_the_local_service() {
    let service = local::played().await;
    let relay = RogueRelay::start().await;
    let client = client(&relay, service.addr());
    let session = relay.welcomed().await;
    let wrong = [
        open("default"),
        Record::Connected.encode(),
        Record::Abort(Abort::Reset).encode(),
        data_header(100).to_vec(),
        vec![99, 0, 0, 0],
    ];
    for bytes in wrong {
        let mut stream = session.open(&open("default")).await;
        let mut local = service.accept().await;
        write(&mut stream, &[&data_header(2)[..], b"hi"].concat()).await;
        local.expect(b"hi").await;
        write(&mut stream, &bytes).await;
        drop(stream);
        local.expect_reset().await;
    }
    drop(session);
    client.finish().await;
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_given_up() {
    let relay = RogueRelay::start().await;
    let client = client(&relay, local::nobody().await);
    let session = relay.welcomed().await;
    // The first byte of OPEN: the stream exists, and no visit follows.
    let mut stream = session.open(&open("default")[..1]).await;
    assert!(read_to_end(&mut stream).await.is_empty());
    drop(session);
    client.finish().await;
}

#[tokio::test]
async fn a_relay_that_falls_silent_is_left() {
    let relay = RogueRelay::start().await;
    let mut client = client(&relay, local::nobody().await);
    let mut session = relay.greeted().await;
    let tunnels = vec![open_at_1("default")];
    let beat = Duration::from_millis(100);
    let welcome = Welcome { session: 1, heartbeat_ms: beat.as_millis() as u64, tunnels };
    session.control.send(&FromRelay::Welcome(welcome)).await.unwrap();
    // The driver answers pings, but a rogue sends none and no heartbeat either.
    let lost = |event: &Event| matches!(event, Event::Lost(why) if why.contains("nothing heard"));
    client.event("the loss", lost).await;
    client.finish().await;
}

#[tokio::test]
async fn a_flood_of_visits_is_served_as_far_as_it_may_go() {
    let service = Local::start(async |socket| Peer::from(socket).drain().await).await;
    let relay = RogueRelay::start().await;
    let client = client(&relay, service.addr());
    let session = relay.welcomed().await;
    let mut streams = Vec::new();
    for _ in 0..600 {
        streams.push(session.open(&open("default")).await);
    }
    for stream in &mut streams {
        use futures::AsyncReadExt as _;
        let mut seen = [0; 8];
        within("a visit to be taken", stream.read_exact(&mut seen)).await.unwrap();
        assert_eq!(records(&seen), [Record::Seen, Record::Connected]);
    }
    drop((streams, session));
    client.finish().await;
}

#[tokio::test]
async fn something_else_at_the_relays_port_is_waited_out_by_a_client_that_had_a_session() {
    let relay = RogueRelay::start().await;
    let mut client = client(&relay, local::nobody().await);
    let session = relay.welcomed().await;
    client.live().await;
    drop(session);
    client.event("the loss", |event| matches!(event, Event::Lost(_))).await;

    let mut socket = relay.accept().await;
    socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    // Not before the client has heard it: closing now would be a reset.
    Peer::from(socket).read_to_end_or_reset().await;
    let session = relay.welcomed().await;
    client.event("to be live again", |event| matches!(event, Event::Live(_))).await;
    drop(session);
    client.finish().await;
}

#[tokio::test]
async fn a_relay_that_answers_what_nobody_has_asked_is_left() {
    let relay = RogueRelay::start().await;
    let mut client = client(&relay, local::nobody().await);
    let mut session = relay.welcomed().await;
    client.live().await;
    session.control.send(&FromRelay::Answer { id: 9, tunnels: Vec::new() }).await.unwrap();
    let lost =
        |event: &Event| matches!(event, Event::Lost(why) if why.contains("another question"));
    client.event("the loss", lost).await;
    drop(session);
    client.finish().await;
}

#[tokio::test]
async fn a_tunnel_has_one_address_for_each_of_its_entrances() {
    for addresses in [0, 2, 4000] {
        let relay = RogueRelay::start().await;
        let client = client(&relay, local::nobody().await);
        let mut session = relay.greeted().await;
        let public = vec!["tcp://relay:1".parse().unwrap(); addresses];
        let name = session.hello.tunnels[0].name.clone();
        let tunnels = vec![TunnelAnswer { name, outcome: TunnelOutcome::Open { public } }];
        let welcome = Welcome { session: 1, heartbeat_ms: 1000, tunnels };
        session.control.send(&FromRelay::Welcome(welcome)).await.unwrap();
        let err = format!("{:#}", client.ended().await.unwrap_err());
        assert!(err.contains("no relay"), "{err}");
    }
}

#[tokio::test]
async fn a_tunnel_that_another_client_takes_while_more_are_opened_stands_by() {
    // More tunnels than one message has room for.
    let relay = RogueRelay::start().await;
    let tunnels = (0..100).map(|n| format!("t{n}=1").parse().unwrap()).collect();
    let mut client = RunningClient::start(Settings::loopback(relay.addr(), tunnels));
    let mut session = relay.welcomed().await;
    let taken = session.hello.tunnels[0].name.clone();
    let asked = within("more tunnels to be asked for", session.control.receive()).await.unwrap();
    let FromClient::Open { id, tunnels } = asked else { panic!("{asked:?}") };
    let standby = FromRelay::Standby { tunnel: taken.clone() };
    session.control.send(&standby).await.unwrap();
    let tunnels = tunnels.iter().map(|t| open_at_1(t.name.as_str())).collect();
    session.control.send(&FromRelay::Answer { id, tunnels }).await.unwrap();

    client.event("to stand by", |event| *event == Event::Standby(taken.clone())).await;
    drop(session);
    client.finish().await;
}

#[tokio::test]
async fn a_relay_that_owes_an_answer_for_too_long_is_left() {
    // More tunnels than one message has room for.
    let relay = RogueRelay::start().await;
    let tunnels = (0..100).map(|n| format!("t{n}=1").parse().unwrap()).collect();
    let config = Settings::loopback(relay.addr(), tunnels);
    let client = RunningClient::start(config);
    let mut session = relay.greeted().await;
    let tunnels = session.hello.tunnels.iter().map(|t| open_at_1(t.name.as_str())).collect();
    let welcome = Welcome { session: 1, heartbeat_ms: 100, tunnels };
    session.control.send(&FromRelay::Welcome(welcome)).await.unwrap();
    let asked = within("more tunnels to be asked for", session.control.receive()).await.unwrap();
    assert!(matches!(asked, FromClient::Open { .. }), "{asked:?}");
    // It beats, and says nothing else.
    let beating = async {
        loop {
            match session.control.receive().await {
                Ok(FromClient::Heartbeat { id }) => {
                    let answer = FromRelay::HeartbeatAck { id };
                    if session.control.send(&answer).await.is_err() {
                        return;
                    }
                }
                Ok(_) => (),
                Err(_) => return,
            }
        }
    };
    let (err, ()) = tokio::join!(client.ended(), beating);
    let err = format!("{:#}", err.unwrap_err());
    assert!(err.contains("does not answer"), "{err}");
}
