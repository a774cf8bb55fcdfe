//! Clients and their relay over TLS: what passes, whom they trust, and what happens when something
//! is wrong or changes.

use std::sync::Arc;

use client::{Reconnect, TlsSettings};
use relay::TlsSource;
use shared::carry::tls::{Tls, TlsMin};
use tests::authority::Validity;
use tests::rogue::RogueRelay;
use tests::secured::pinned;
use tests::{Authority, Identity, Peer, RunningClient, Secured, World, local, within};
use tokio::net::TcpStream;

/// Whether a client gets in, and its visitors through.
async fn a_client_gets_in(world: &World) {
    let service = local::echo().await;
    let client = world.client(service.addr()).await;
    Peer::connect(client.public(0)).await.expect_echo(b"as ever").await;
    client.finish().await;
}

/// Why a client with these settings does not get in. It does not try a second time, whatever it
/// was told.
async fn why_not(world: &World, tls: TlsSettings) -> String {
    let mut settings = world.config(&["default=1".into()]);
    (settings.tls, settings.reconnect) = (tls, Reconnect::Always);
    format!("{:#}", RunningClient::start(settings).ended().await.expect_err("no session"))
}

#[tokio::test]
async fn visits_get_through_with_their_halves_and_their_resets() {
    let service = local::counts_to_the_end().await;
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    let public = world.expose(service.addr()).await;

    let mut visitor = Peer::connect(public).await;
    visitor.send_pattern(1, 3_000_000).await;
    visitor.half_close().await;
    assert_eq!(visitor.read_to_end().await, b"3000000 bytes");
    world.counts("completed", 1).await;

    let played = local::played().await;
    let client = world.client(played.addr()).await;
    let visitor = Peer::connect(public).await;
    let mut local = played.accept().await;
    visitor.reset();
    local.expect_reset().await;
    client.finish().await;
    assert_eq!(world.metrics().await.tls_handshakes("full"), 2.0);
    world.stop().await;
}

#[tokio::test]
async fn bulk_goes_both_ways_at_once() {
    let service = local::echo().await;
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    let public = world.expose(service.addr()).await;
    Peer::connect(public).await.exchange_patterns(1, 1, 5_000_000).await;
    world.stop().await;
}

#[tokio::test]
async fn a_pin_is_enough_to_trust_a_relay_and_another_key_is_told_with_its_pin() {
    let authority = Authority::new();
    // With whatever else can be wrong.
    let identity = authority.issue("other.example", Validity::Expired, Authority::FOR_RELAYS);
    let secured = Secured::new();
    secured.replace(&identity);
    let other = Authority::new().relay("127.0.0.1").pin();
    let mut world = World::start_secured(&secured).await;

    let why = why_not(&world, pinned(&[other])).await;
    assert!(why.contains(&format!("has the pin {}", identity.pin())), "{why}");
    // The old one and the new one, while it changes.
    world.client_tls = pinned(&[other, identity.pin()]);
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_certificate_is_said_with_what_to_do() {
    type Issue = fn(&Authority) -> Identity;
    let cases: [(Issue, &[&str]); 4] = [
        (
            |authority| authority.relay("other.example"),
            &["is for other.example, not for 127.0.0.1", "--tls-name"],
        ),
        (|authority| authority.issue_expired(), &["has expired on 2001-01-01"]),
        (
            |authority| authority.issue("127.0.0.1", Validity::Future, Authority::FOR_RELAYS),
            &["is not valid before 4000-01-01"],
        ),
        (|_| Authority::new().relay("127.0.0.1"), &["--tls-ca", "--tls-pin"]),
    ];
    for (issue, expected) in cases {
        let secured = Secured::of(issue);
        let world = World::start_secured(&secured).await;
        let why = why_not(&world, secured.client_tls()).await;
        for expected in expected {
            assert!(why.contains(expected), "{expected} is not in: {why}");
        }
        world.shows("the failure", |metrics| metrics.tls_handshakes("failed") == 1.0).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_relay_may_have_another_name_than_its_address() {
    let secured = Secured::of(|authority| authority.relay("relay.example"));
    let mut world = World::start_secured(&secured).await;
    world.client_tls.name = Some("relay.example".try_into().unwrap());
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_without_tls_is_told_when_it_has_to_have_it_and_gets_in_otherwise() {
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    world.client_tls = TlsSettings::default();
    a_client_gets_in(&world).await;
    world.stop().await;

    let required = relay::TlsSettings { require: true, ..secured.relay_tls() };
    let mut world = World::start_with(|settings| settings.tls = required).await;
    let why = why_not(&world, TlsSettings::default()).await;
    assert!(why.contains("the relay accepts TLS only: use --server tls://"), "{why}");
    world.client_tls = secured.client_tls();
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_relay_without_tls_is_told_from_one_that_is_away() {
    let world = World::start().await;
    let mut settings = world.config(&["default=1".into()]);
    settings.tls = Secured::new().client_tls();
    // The file with the authority is gone already, and that is said first.
    let why = RunningClient::start(settings.clone()).ended().await.expect_err("no session");
    assert!(format!("{why:#}").contains("ca.pem: is not there"), "{why:#}");

    let secured = Secured::new();
    settings.tls = secured.client_tls();
    let why = RunningClient::start(settings.clone()).ended().await.expect_err("no session");
    assert!(format!("{why:#}").contains("--tls self-signed"), "{why:#}");
    world.shows("that it was no client", |metrics| metrics.handshakes("invalid") == 1.0).await;
    world.stop().await;

    // Neither is it one that answers something else.
    let rogue = RogueRelay::start().await;
    settings.server.port = rogue.addr().port();
    let client = RunningClient::start(settings);
    let mut other = Peer::from(rogue.accept().await);
    other.send(b"220 mail.example ready\r\n").await;
    let why = client.ended().await.expect_err("no session");
    assert!(format!("{why:#}").contains("it does not speak TLS"), "{why:#}");
}

#[tokio::test]
async fn a_client_is_told_that_what_it_has_found_speaks_tls() {
    let rogue = RogueRelay::start().await;
    let tunnels = vec!["default=1".parse().unwrap()];
    let client = RunningClient::start(client::Settings::loopback(rogue.addr(), tunnels));
    let mut other = Peer::from(rogue.accept().await);
    // The alert `unexpected_message`.
    other.send(&[0x15, 3, 1, 0, 2, 2, 10]).await;
    let why = client.ended().await.expect_err("no session");
    assert!(format!("{why:#}").contains("it speaks TLS: use --server tls://"), "{why:#}");
}

#[tokio::test]
async fn clients_need_a_certificate_where_the_relay_wants_one() {
    let secured = Secured::new();
    let wanted = relay::TlsSettings { client_ca: Some(secured.ca.clone()), ..secured.relay_tls() };
    let mut world = World::start_with(|settings| settings.tls = wanted).await;

    let why = why_not(&world, secured.client_tls()).await;
    assert!(why.contains("use --tls-client-cert"), "{why}");
    let stranger = secured.client_with_identity(&Authority::new());
    let why = why_not(&world, stranger).await;
    assert!(why.contains("does not accept the certificate of --tls-client-cert"), "{why}");

    let why = why_not(&world, TlsSettings::default()).await;
    assert!(why.contains("the relay accepts TLS only"), "{why}");
    world.client_tls = secured.client_with_identity(&secured.authority);
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_clients_and_no_session_is_lost() {
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    let service = local::echo().await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;

    let mut pins = Vec::new();
    for _ in 0..3 {
        let identity = secured.authority.relay("127.0.0.1");
        secured.replace(&identity);
        pins.push(identity.pin());
        let settings = TlsSettings { ca: None, ..pinned(&[identity.pin()]) };
        // Under load, and until the relay has noticed.
        loop {
            visitor.exchange_patterns(1, 1, 100_000).await;
            if gets_in(&world, settings.clone()).await {
                break;
            }
        }
    }
    // One that is half there, or not good, changes nothing.
    secured.folder.replace("cert.pem", "nothing");
    world.relay_reconfigure.look_at_files();
    visitor.expect_echo(b"still here").await;
    world.client_tls = pinned(&pins[2..]);
    a_client_gets_in(&world).await;
    world.first_client().live().await;
    assert_eq!(world.metrics().await.value("relay_sessions"), Some(1.0), "the first one");
    world.stop().await;
}

/// Whether a TLS handshake with these settings comes to its end.
async fn gets_in(world: &World, tls: TlsSettings) -> bool {
    let mut settings = world.config(&["other=1".into()]);
    (settings.tls, settings.reconnect) = (tls, Reconnect::Never);
    let mut client = RunningClient::start(settings);
    let live = within("the client to be live or over", async {
        client.status.wait_for(|status| status.is_live() || *status == client::Status::Ended).await
    });
    let is_live = live.await.is_ok_and(|status| status.is_live());
    client.stop.gracefully.cancel();
    drop(client.ended().await);
    is_live
}

#[tokio::test]
async fn tls_can_come_and_go_while_the_relay_runs() {
    let secured = Secured::new();
    let mut world = World::start().await;
    let plain = world.config(&["default=1".into()]).tls;
    let mut settings = relay::Settings::loopback();
    settings.tls = secured.relay_tls();
    settings.tls.require = true;
    world.relay_reconfigure.apply(relay::Config::new(settings).unwrap());
    within("TLS to be there", async { while !gets_in(&world, secured.client_tls()).await {} })
        .await;
    assert!(!gets_in(&world, plain.clone()).await);

    world.relay_reconfigure.apply(relay::Config::new(relay::Settings::loopback()).unwrap());
    world.client_tls = plain;
    a_client_gets_in(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_does_not_need_the_whole_handshake() {
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    let service = local::echo().await;
    world.expose(service.addr()).await;
    for resumed in 1..=3 {
        world.wire.cut();
        world.first_client().lost().await;
        world.wire.mend();
        world.first_client().live().await;
        world
            .shows("a handshake that was resumed", |metrics| {
                metrics.tls_handshakes("resumed") == f64::from(resumed)
            })
            .await;
    }
    assert_eq!(world.metrics().await.tls_handshakes("full"), 1.0);
    world.stop().await;
}

#[tokio::test]
async fn a_key_exchange_that_quantum_computers_do_not_break_is_what_both_ends_choose() {
    let secured = Secured::new();
    let world = World::start_secured(&secured).await;
    let config = Arc::new(secured.authority.client_config());
    let socket = TcpStream::connect(world.addrs.control).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let name = "127.0.0.1".try_into().unwrap();
    let stream = within("a handshake", connector.connect(name, socket)).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().expect("a key exchange");
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn another_protocol_within_tls_is_refused_and_none_is_taken_for_ours() {
    let secured = Secured::new();
    let world = World::start_secured(&secured).await;
    for (protocols, expected) in [(vec![b"h2".to_vec()], false), (Vec::new(), true)] {
        let mut config = secured.authority.client_config();
        config.alpn_protocols = protocols;
        let socket = TcpStream::connect(world.addrs.control).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        let shaken = within("an answer", Tls::connect(Arc::new(config), name, socket)).await;
        assert_eq!(shaken.is_ok(), expected, "{:?}", shaken.err());
    }
    world.stop().await;
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_where_both_ends_allow_it() {
    let secured = Secured::new();
    let old = relay::TlsSettings { min: TlsMin::Tls12, ..secured.relay_tls() };
    for (relay_tls, expected) in [(secured.relay_tls(), false), (old, true)] {
        let world = World::start_with(|settings| settings.tls = relay_tls).await;
        let config = secured.authority.old_client_config();
        let socket = TcpStream::connect(world.addrs.control).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        let shaken = within("an answer", Tls::connect(Arc::new(config), name, socket)).await;
        assert_eq!(shaken.is_ok(), expected, "{:?}", shaken.err());
        drop(shaken);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_relay_that_keeps_nothing_has_another_key_after_each_start() {
    let mut pins = Vec::new();
    for _ in 0..2 {
        let world = World::start_with(|settings| {
            settings.tls.source = Some(TlsSource::SelfSigned);
        })
        .await;
        let nobody = Authority::new().relay("127.0.0.1").pin();
        let why = why_not(&world, pinned(&[nobody])).await;
        let (_, pin) = why.split_once("has the pin ").expect("the pin that was seen");
        pins.push(
            pin.split_once(':').and_then(|(_, rest)| rest.split(':').next()).unwrap().to_owned(),
        );
        world.stop().await;
    }
    assert_ne!(pins[0], pins[1]);
}
