//! Who is let in, how far, and for how long.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relay::Anonymous;
use shared::control::protocol::{Credential, FromClient, FromRelay, Hello, RefusalCode};
use shared::token::{Challenge, Grant, Nonce, Secret, Token};
use tests::rogue::{RogueClient, hello};
use tests::{Peer, RunningClient, Secured, World, local, within};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the relay and its clients both know.
const SECRET: &str = "correct horse battery staple";

fn secret(text: &str) -> Secret {
    text.parse().expect("a secret")
}

fn token(text: &str) -> Token {
    match secret(text) {
        Secret::Token(token) => token,
        Secret::Jwt(_) => panic!("a JSON Web Token"),
    }
}

/// A relay that lets in those who know the secret, and nobody else.
async fn closed_world() -> World {
    World::start_with(|settings| settings.access.token = Some(secret(SECRET))).await
}

/// The same, where a source may fail twice, and then has to wait.
async fn penalising_world() -> World {
    World::start_with(|settings| {
        settings.access.token = Some(secret(SECRET));
        settings.limits.penalise_after = Some(2);
    })
    .await
}

/// A client's settings with this secret.
fn with(world: &World, secret: Option<Secret>, tunnels: &[String]) -> client::Settings {
    client::Settings { token: secret, ..world.config(tunnels) }
}

async fn live(settings: client::Settings) -> RunningClient {
    let mut client = RunningClient::start(settings);
    client.live().await;
    client
}

/// What a client with these settings is refused with.
async fn refusal(settings: client::Settings) -> String {
    format!("{:#}", RunningClient::start(settings).ended().await.expect_err("a refusal"))
}

fn narrowed(grant: &Grant) -> Option<Secret> {
    Some(Secret::Token(token(SECRET).narrow(grant).expect("a grant")))
}

fn in_seconds(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    now.as_secs() + seconds
}

#[tokio::test]
async fn whoever_knows_the_secret_is_let_in_and_nobody_else() {
    let service = local::echo().await;
    let world = closed_world().await;
    let tunnels = [format!("default={}", service.addr())];
    let client = live(with(&world, Some(secret(SECRET)), &tunnels)).await;
    Peer::connect(client.public(0)).await.expect_echo(b"one of us").await;

    let other = Some("correct horse battery stable".parse().unwrap());
    let strangers = [other, Some(Secret::Token(Token::random()))];
    for stranger in strangers {
        let refused = refusal(with(&world, stranger, &tunnels)).await;
        assert!(refused.contains("does not know this token"), "{refused}");
    }
    let refused = refusal(with(&world, None, &tunnels)).await;
    assert!(refused.contains("wants a token") && refused.contains("client login"), "{refused}");
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn without_any_token_the_relay_lets_in_whom_it_is_told_to() {
    let world =
        World::start_with(|settings| settings.access.anonymous = Some(Anonymous::Never)).await;
    let tunnels = ["default=1".to_owned()];
    let refused = refusal(with(&world, None, &tunnels)).await;
    assert!(refused.contains("wants a token"), "{refused}");
    world.stop().await;

    let world = World::start_with(|settings| {
        settings.access.anonymous = Some(Anonymous::Private);
        settings.access.token = Some(secret(SECRET));
    });
    let world = world.await;
    live(with(&world, None, &tunnels)).await.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_narrowed_token_goes_as_far_as_it_says() {
    let service = local::echo().await;
    let world = closed_world().await;
    let addr = service.addr();
    let grant = Grant { tunnels: vec!["web-*".parse().unwrap()], ..Grant::default() };
    let client = live(with(&world, narrowed(&grant), &[format!("web-1={addr}")])).await;
    Peer::connect(client.public(0)).await.expect_echo(b"within").await;
    for name in ["db", "default"] {
        let refused = refusal(with(&world, narrowed(&grant), &[format!("{name}={addr}")])).await;
        assert!(refused.contains("it is for `web-*`"), "{refused}");
    }

    let port = super::ports::free_port();
    let grant = Grant { ports: Some(port.to_string().parse().unwrap()), ..Grant::default() };
    let narrow = live(with(&world, narrowed(&grant), &[format!("a={addr}")])).await;
    assert_eq!(narrow.public(0).port(), port, "the one that it may have");
    let other = super::ports::free_port();
    let tunnel = format!("b={addr}?port={other}");
    let refused = refusal(with(&world, narrowed(&grant), &[tunnel])).await;
    assert!(refused.contains(&format!("not for port {other}: it is for {port}")), "{refused}");
    let refused = refusal(with(&world, narrowed(&grant), &[format!("default={addr}")])).await;
    assert!(refused.contains("the token is not for port"), "{refused}");
    client.finish().await;
    narrow.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_token_for_some_hosts_opens_no_tunnel_at_others_and_joins_none() {
    let service = local::echo().await;
    let world = World::start_with(|settings| {
        tests::web::with_http(settings);
        settings.access.token = Some(secret(SECRET));
    })
    .await;
    let tunnel = |name: &str| [format!("{name}=http://{}", service.addr())];
    let grant = Grant { hosts: vec!["app*.t.example".parse().unwrap()], ..Grant::default() };
    let narrow = live(with(&world, narrowed(&grant), &tunnel("app-1"))).await;
    let words = "the token is not for the host shop.t.example: it is for `app*.t.example`";
    let refused = refusal(with(&world, narrowed(&grant), &tunnel("shop"))).await;
    assert!(refused.contains(words), "{refused}");
    let wide = live(with(&world, Some(secret(SECRET)), &tunnel("shop"))).await;
    let refused = refusal(with(&world, narrowed(&grant), &tunnel("shop"))).await;
    assert!(refused.contains(words), "{refused}");
    narrow.finish().await;
    wide.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_ends_the_visits_that_go_on() {
    let service = local::echo().await;
    let world = closed_world().await;
    let tunnels = [format!("default={}", service.addr())];
    let grant = Grant { expires: Some(in_seconds(3)), ..Grant::default() };
    let client = live(with(&world, narrowed(&grant), &tunnels)).await;
    let mut visitor = Peer::connect(client.public(0)).await;
    visitor.expect_echo(b"still good").await;
    visitor.expect_reset().await;
    // It tries once more, which tells it that there is no sense in that.
    let ended = format!("{:#}", client.ended().await.expect_err("the token's end"));
    assert!(ended.contains("the token has expired"), "{ended}");

    let grant = Grant { expires: Some(in_seconds(0) - 1), ..Grant::default() };
    let refused = refusal(with(&world, narrowed(&grant), &tunnels)).await;
    assert!(refused.contains("the token has expired"), "{refused}");
    world.stop().await;
}

#[tokio::test]
async fn another_secret_ends_the_sessions_that_came_with_the_one_before() {
    let service = local::echo().await;
    let world = closed_world().await;
    let tunnels = [format!("default={}", service.addr())];
    let client = live(with(&world, Some(secret(SECRET)), &tunnels)).await;
    let mut visitor = Peer::connect(client.public(0)).await;
    visitor.expect_echo(b"before").await;

    let other = "quite another secret".parse::<Secret>().unwrap();
    let mut settings = relay::Settings::loopback();
    settings.access.token = Some(other.clone());
    world.relay_reconfigure.apply(relay::Config::new(settings).unwrap());
    visitor.expect_reset().await;
    let ended = format!("{:#}", client.ended().await.expect_err("a refusal"));
    assert!(ended.contains("does not know this token"), "{ended}");
    live(with(&world, Some(other), &tunnels)).await.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_came_without_a_token_has_to_go_when_the_relay_wants_one() {
    let service = local::echo().await;
    let world = World::start().await;
    let client = live(world.config(&[format!("default={}", service.addr())])).await;
    let mut visitor = Peer::connect(client.public(0)).await;
    visitor.expect_echo(b"before").await;

    let mut settings = relay::Settings::loopback();
    settings.access.anonymous = Some(Anonymous::Never);
    world.relay_reconfigure.apply(relay::Config::new(settings).unwrap());
    visitor.expect_reset().await;
    let ended = format!("{:#}", client.ended().await.expect_err("a refusal"));
    assert!(ended.contains("the relay wants a token"), "{ended}");
    world.stop().await;
}

#[tokio::test]
async fn nobody_can_take_the_tunnel_default_from_somebody_else() {
    let [mine, theirs] = [local::echo().await, local::speaks_first(b"not yours").await];
    let world = World::start_with(|settings| {
        settings.access.anonymous = Some(Anonymous::Any);
        settings.access.token = Some(secret(SECRET));
    });
    let world = world.await;
    let tunnel = |addr| [format!("default={addr}")];
    let client = live(with(&world, Some(secret(SECRET)), &tunnel(mine.addr()))).await;
    for _ in 0..100 {
        let mut settings = with(&world, None, &tunnel(theirs.addr()));
        settings.reconnect = client::Reconnect::Never;
        let refused = refusal(settings).await;
        assert!(refused.contains("somebody else has the tunnel `default`"), "{refused}");
        Peer::connect(client.public(0)).await.expect_echo(b"mine").await;
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_is_its_clients_also_while_the_local_service_is_not_healthy() {
    let world = World::start_with(|settings| {
        settings.access.anonymous = Some(Anonymous::Any);
        settings.access.token = Some(secret(SECRET));
    });
    let world = world.await;
    let withdrawn = || {
        let mut hello = shown(None);
        (hello.tunnels[0].healthy, hello.tunnels[0].withdraw) = (false, true);
        hello
    };
    let (_first, said) = proven(&world, withdrawn()).await;
    assert!(matches!(said, FromRelay::Welcome(_)), "{said:?}");
    let mut settings = with(&world, None, &["default=1".to_owned()]);
    settings.reconnect = client::Reconnect::Never;
    let refused = refusal(settings).await;
    assert!(refused.contains("somebody else has the tunnel `default`"), "{refused}");
    // Those who have the same secret are no strangers to it.
    let (_second, said) = proven(&world, withdrawn()).await;
    assert!(matches!(said, FromRelay::Welcome(_)), "{said:?}");
    world.stop().await;
}

#[tokio::test]
async fn two_owners_may_have_a_tunnel_of_the_same_name() {
    let [mine, theirs] = [local::speaks_first(b"mine").await, local::speaks_first(b"theirs").await];
    let world = World::start_with(|settings| {
        settings.access.anonymous = Some(Anonymous::Any);
        settings.access.token = Some(secret(SECRET));
    });
    let world = world.await;
    let tunnel = |addr| [format!("web={addr}")];
    let first = live(with(&world, Some(secret(SECRET)), &tunnel(mine.addr()))).await;
    let second = live(with(&world, None, &tunnel(theirs.addr()))).await;
    assert_ne!(first.public(0), second.public(0));
    Peer::connect(first.public(0)).await.expect(b"mine").await;
    Peer::connect(second.public(0)).await.expect(b"theirs").await;
    world
        .shows("both", |metrics| {
            let visits = |labels: &str| -> f64 {
                let of = |outcome: &str| format!("{{outcome=\"{outcome}\",{labels}}}");
                let count =
                    |outcome| metrics.value(&format!("relay_visitors_total{}", of(outcome)));
                ["completed", "reset"].into_iter().filter_map(count).sum()
            };
            visits("tunnel=\"web\"") >= 1.0 && visits("owner=\"(shared)\",tunnel=\"web\"") >= 1.0
        })
        .await;
    first.finish().await;
    second.finish().await;
    world.stop().await;
}

/// A `Hello` that shows the shared secret.
fn shown(proof: Option<shared::token::Proof>) -> Hello {
    let token = token(SECRET).presented().clone();
    let credential = Some(Credential::Token { token, proof });
    Hello { credential, ..hello(&["default"]) }
}

/// A client that says this and proves that it knows the secret, and what the relay says to that.
async fn proven(world: &World, hello: Hello) -> (RogueClient, FromRelay) {
    let mut client = RogueClient::connect(world.addrs.control, hello).await;
    let FromRelay::Challenge { nonce } = client.receive().await else { panic!("no challenge") };
    let proof = token(SECRET).prove(&Challenge::Nonce(nonce));
    client.say(&FromClient::Proof { proof }).await;
    let said = client.receive().await;
    (client, said)
}

#[tokio::test]
async fn a_proof_that_somebody_has_listened_to_is_of_no_use() {
    let world = closed_world().await;
    // What a client of ours has said before, to the letter.
    let mut first = RogueClient::connect(world.addrs.control, shown(None)).await;
    let FromRelay::Challenge { nonce } = first.receive().await else { panic!("no challenge") };
    let overheard = token(SECRET).prove(&Challenge::Nonce(nonce));
    first.say(&FromClient::Proof { proof: overheard }).await;
    assert!(matches!(first.receive().await, FromRelay::Welcome(_)));

    for proof in [Some(overheard), None] {
        let mut replay = RogueClient::connect(world.addrs.control, shown(proof)).await;
        let challenged = replay.receive().await;
        let FromRelay::Challenge { nonce: other } = challenged else { panic!("{challenged:?}") };
        assert_ne!(other, nonce);
        replay.say(&FromClient::Proof { proof: overheard }).await;
        let refused = replay.receive().await;
        let FromRelay::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!((refusal.code, refusal.retry), (RefusalCode::Unauthorized, false));
    }
    drop(first);
    world.stop().await;
}

#[tokio::test]
async fn over_tls_only_a_proof_for_that_connection_is_good() {
    let secured = Secured::new();
    let world = World::start_with(|settings| {
        settings.access.token = Some(secret(SECRET));
        settings.tls = secured.relay_tls();
    });
    let world = world.await;
    // Whoever has no proof gets no question, which somebody else could be made to answer.
    let passed_on = token(SECRET).prove(&Challenge::Nonce(Nonce::random()));
    let elsewhere = token(SECRET).prove(&Challenge::Channel([7; 32]));
    for proof in [None, Some(passed_on), Some(elsewhere)] {
        let config = secured.authority.client_config();
        let mut client = RogueClient::connect_tls(world.addrs.control, config, shown(proof)).await;
        let refused = client.receive().await;
        let FromRelay::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!((refusal.code, refusal.retry), (RefusalCode::Unauthorized, false));
    }
    let mut settings = with(&world, Some(secret(SECRET)), &["default=1".to_owned()]);
    settings.tls = secured.client_tls();
    live(settings).await.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_relay_that_asks_for_a_proof_in_the_middle_of_a_session_gets_none() {
    use tests::rogue::RogueRelay;
    let relay = RogueRelay::start().await;
    let mut settings = client::Settings::loopback(relay.addr(), vec!["default=1".parse().unwrap()]);
    settings.token = Some(secret(SECRET));
    let client = RunningClient::start(settings);
    let mut session = relay.welcomed().await;
    let challenge = FromRelay::Challenge { nonce: Nonce::random() };
    session.control.send(&challenge).await.expect("a session");
    let left = async { while session.control.receive().await.is_ok() {} };
    within("the client to leave", left).await;
    client.vanish().await;
}

#[tokio::test]
async fn guessing_takes_a_while_whatever_is_wrong() {
    let world = closed_world().await;
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        let stranger = Some(Secret::Token(Token::random()));
        refusal(with(&world, stranger, &["default=1".to_owned()])).await;
    }
    // However fast the machine is. That it is the same for all who are refused is how it is done.
    assert!(started.elapsed() >= Duration::from_millis(750));
    world.stop().await;
}

#[tokio::test]
async fn whoever_does_not_wait_for_the_answer_has_failed_all_the_same() {
    let world = penalising_world().await;
    // One that is not heard any more may get no challenge.
    let guess = async || {
        let mut client = RogueClient::connect(world.addrs.control, shown(None)).await;
        if let Ok(FromRelay::Challenge { nonce }) = client.control.receive().await {
            let wrong = Token::random().prove(&Challenge::Nonce(nonce));
            client.say(&FromClient::Proof { proof: wrong }).await;
        }
        client
    };
    // Gone before they could have heard anything: a right one would have been answered at once.
    for count in 1..=3 {
        guess().await.close().await;
        world.shows("a refusal", |metrics| metrics.handshakes("refused") == f64::from(count)).await;
    }
    guess().await.close().await;
    world.shows("a penalty", |metrics| metrics.handshakes("penalised") == 1.0).await;
    world.stop().await;
}

#[tokio::test]
async fn guesses_at_the_same_time_are_penalised_like_those_one_after_another() {
    let world = penalising_world().await;
    // All of them are in the middle of it before the first has failed.
    let mut guesses = Vec::new();
    for _ in 0..10 {
        let mut client = RogueClient::connect(world.addrs.control, shown(None)).await;
        let FromRelay::Challenge { nonce } = client.receive().await else { panic!("no challenge") };
        guesses.push((client, nonce));
    }
    for (client, nonce) in &mut guesses {
        let wrong = Token::random().prove(&Challenge::Nonce(*nonce));
        client.say(&FromClient::Proof { proof: wrong }).await;
    }
    world
        .shows("two free, one more, and seven that are not heard", |metrics| {
            metrics.handshakes("refused") == 3.0 && metrics.handshakes("penalised") == 7.0
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_source_that_fails_again_and_again_has_to_wait() {
    let world = penalising_world().await;
    let tunnels = ["default=1".to_owned()];
    let mut stranger = with(&world, Some(Secret::Token(Token::random())), &tunnels);
    stranger.reconnect = client::Reconnect::Never;
    for _ in 0..3 {
        let refused = refusal(stranger.clone()).await;
        assert!(refused.contains("does not know this token"), "{refused}");
    }
    // Not even heard any more.
    let dropped = refusal(stranger).await;
    assert!(!dropped.contains("does not know this token"), "{dropped}");
    assert_eq!(world.metrics().await.handshakes("penalised"), 1.0);
    // When it has waited, whoever knows the secret is let in, and all is forgiven.
    let mut settings = with(&world, Some(secret(SECRET)), &tunnels);
    settings.reconnect = client::Reconnect::Always;
    live(settings).await.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_comes_in_without_a_token_makes_no_guesses_good() {
    let world = World::start_with(|settings| {
        settings.access.token = Some(secret(SECRET));
        settings.access.anonymous = Some(Anonymous::Private);
        settings.limits.penalise_after = Some(2);
    })
    .await;
    let tunnels = ["default=1".to_owned()];
    let mut guess = with(&world, Some(Secret::Token(Token::random())), &tunnels);
    guess.reconnect = client::Reconnect::Never;
    for _ in 0..3 {
        assert!(refusal(guess.clone()).await.contains("does not know this token"));
        let mut anonymous = RogueClient::connect(world.addrs.control, hello(&["x"])).await;
        if let Ok(FromRelay::Welcome(_)) = anonymous.control.receive().await {
            anonymous.close().await;
        }
    }
    assert!(!refusal(guess).await.contains("does not know this token"));
    world.stop().await;
}

#[tokio::test]
async fn handshakes_of_tls_that_lead_to_nothing_are_failures() {
    let secured = Secured::new();
    let world = World::start_with(|settings| {
        settings.tls = secured.relay_tls();
        settings.limits.penalise_after = Some(2);
    })
    .await;
    for _ in 0..3 {
        let socket = TcpStream::connect(world.addrs.control).await.expect("a connection");
        let connector = TlsConnector::from(Arc::new(secured.authority.client_config()));
        let name = "127.0.0.1".try_into().expect("a name");
        drop(connector.connect(name, socket).await.expect("TLS"));
    }
    world.shows("three that were lost", |m| m.handshakes("lost") == 3.0).await;
    Peer::connect(world.addrs.control).await.read_to_end_or_reset().await;
    world.shows("a penalty", |m| m.handshakes("penalised") == 1.0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_narrowed_token_is_no_secret_of_a_relay() {
    let grant = serde_json::from_str(r#"{"tunnels":["web-*"]}"#).expect("a grant");
    let token = narrowed(&grant);
    let settings = relay::Settings {
        access: relay::AccessRules { token, ..relay::AccessRules::default() },
        ..relay::Settings::loopback()
    };
    let refused = relay::Config::new(settings).expect_err("a narrowed token");
    assert!(refused.to_string().contains("a whole token"), "{refused}");
}
