//! Who may call, and how they say who they are.

use relay::Anonymous;
use serde_json::{Value, json};
use shared::token::Secret;
use tests::api::Caller;
use tests::kept::Kept;
use tests::{World, scrape};

use super::Place;

#[tokio::test]
async fn a_token_without_a_scope_opens_no_api_and_a_narrowed_one_no_more_than_it_says() {
    let place = Place::of(Kept::in_a_file()).await;
    let at = place.relay.admin;
    let (client, _) = place.kept.token("ann", "no-scope", &[]).await;
    Caller::holder(at, &client).get("/me").await.is_problem(403, "forbidden");
    let (all, _) = place.kept.token("ann", "all", &["--scope", "own,admin"]).await;
    let Ok(Secret::Token(all)) = all.parse::<Secret>() else { panic!("a token") };
    let narrow = |grant: Value| {
        let grant = serde_json::from_value(grant).expect("a grant");
        Caller::holder(at, &all.narrow(&grant).expect("a narrowed one").to_string())
    };
    let own = narrow(json!({ "scopes": ["own"] }));
    own.get("/tunnels/ann.anns").await.is(200);
    own.get("/users").await.is_problem(403, "forbidden");
    own.ask("POST", "/tokens", &json!({ "name": "more", "grant": { "scopes": ["admin"] } }))
        .await
        .is_problem(403, "forbidden");
    let limited = narrow(json!({ "tunnels": ["anns"] }));
    limited.get("/users").await.is(200);
    let more = limited.ask("POST", "/tokens", &json!({ "name": "more" })).await;
    more.is_problem(403, "forbidden");
    narrow(json!({ "expires": 5 })).get("/me").await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn wrong_tokens_are_refused_alike_and_those_who_guess_have_to_wait() {
    let place = Place::of(Kept::in_a_file()).await;
    let stranger = shared::token::Token::random().to_string();
    for token in [&*stranger, "x", "hunter2hunter2hunter2", "eyJ.e.e"] {
        Caller::holder(place.relay.admin, token)
            .get("/me")
            .await
            .is_problem(401, "unauthenticated");
    }
    let basic = Caller::nobody(place.relay.admin).with("Authorization", "Basic YTpi");
    basic.get("/me").await.is_problem(401, "unauthenticated");
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(Caller::holder(place.relay.admin, &stranger).get("/me").await);
    }
    let last = answers.pop().expect("an answer");
    assert!(last.header("retry-after").is_some(), "{}", last.head);
    last.is_problem(429, "too_many_requests");
}

#[tokio::test]
async fn whoever_is_disabled_calls_no_more() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        place.ann.get("/me").await.is(200);
        place.admin.ask("PATCH", "/users/ann", &json!({ "disabled": true })).await.is(200);
        tests::eventually("the relay to have heard of it", async || {
            place.ann.get("/me").await.status == 401
        })
        .await;
        place.admin.ask("DELETE", "/users/ann", &Value::Null).await.is(204);
        place.admin.get("/users/ann").await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_relay_that_knows_nobody_is_steered_from_its_own_machine_and_not_through_a_proxy() {
    let world =
        World::start_with(|settings| settings.access.anonymous = Some(Anonymous::Any)).await;
    let caller = Caller::nobody(world.addrs.admin);
    let me = caller.get("/me").await.is(200).json;
    assert_eq!(me, json!({ "name": "(operator)", "scopes": ["own", "admin", "metrics"] }));
    caller.get("/users").await.is_problem(409, "no_store");
    for passed_on in ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"] {
        let proxied = caller.with(passed_on, "192.0.2.1");
        proxied.get("/me").await.is_problem(401, "unauthenticated");
    }
    world.stop().await;
}

#[tokio::test]
async fn the_admin_port_is_not_known_by_a_name_that_anybody_could_have() {
    let world = World::start_with(|settings| {
        settings.public_name = Some("relay.example".parse().expect("a name"));
        settings.admin_hosts = vec!["board.example".parse().expect("a name")];
    })
    .await;
    let asked = async |host: &str, path: &str| {
        let mut peer = tests::Peer::connect(world.addrs.admin).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        peer.send(request.as_bytes()).await;
        scrape::parse(peer.read_to_end().await).0
    };
    for known in
        ["127.0.0.1:4445", "[::1]", "localhost", "relay", "RELAY.example:1", "board.example"]
    {
        assert_eq!(asked(known, "/snapshot").await, 200, "{known}");
    }
    for unknown in ["evil.example", "evil.example:4445", "127.0.0.1.evil.example", "a.b"] {
        for path in ["/snapshot", "/api/v1/me", "/api/tunnels", "/bans"] {
            assert_eq!(asked(unknown, path).await, 421, "{unknown} {path}");
        }
        assert_eq!(asked(unknown, "/healthz").await, 200, "{unknown}");
    }
    world.stop().await;
}
