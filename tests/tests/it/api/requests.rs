//! What requests and answers have in common: pages, tags, repeats and problems.

use serde_json::{Value, json};
use tests::kept::Kept;

use super::Place;

#[tokio::test]
async fn long_lists_come_in_pages_that_follow_each_other() {
    let place = Place::of(Kept::in_a_file()).await;
    for n in 0..7 {
        place.admin.ask("POST", "/users", &json!({ "name": format!("u{n}") })).await.is(201);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = place.admin.get(&format!("/users?limit=3{cursor}")).await.is(200);
        seen.extend(page.each("name"));
        let Some(next) = page.json["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["ann", "bob", "root", "u0", "u1", "u2", "u3", "u4", "u5", "u6"]);
    let long = format!("cursor={}", "x".repeat(513));
    for bad in ["limit=0", "limit=1001", "limit=x", &long] {
        place.admin.get(&format!("/users?{bad}")).await.is_problem(400, "invalid");
    }
}

#[tokio::test]
async fn who_has_seen_it_all_is_told_so_and_who_has_not_changes_nothing() {
    let place = Place::of(Kept::in_a_file()).await;
    let tag = place.admin.get("/users/ann").await.is(200).header("etag").expect("a tag").to_owned();
    let seen = place.admin.with("If-None-Match", &tag).get("/users/ann").await.is(304);
    assert_eq!((seen.json.clone(), seen.header("etag")), (Value::Null, Some(&*tag)));
    let careful = place.admin.with("If-Match", &tag);
    let disable = json!({ "disabled": true });
    careful.ask("PATCH", "/users/ann", &disable).await.is(200);
    careful.ask("PATCH", "/users/ann", &disable).await.is_problem(412, "changed");
    careful.ask("DELETE", "/users/ann", &Value::Null).await.is_problem(412, "changed");
    place.admin.with("If-None-Match", &tag).get("/users/ann").await.is(200);
    place.bob.with("If-Match", "*").ask("DELETE", "/users/ann", &Value::Null).await.is(404);
    place.admin.with("If-Match", "*").ask("DELETE", "/users/ann", &Value::Null).await.is(204);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_done_once() {
    let place = Place::of(Kept::in_a_file()).await;
    let ann = place.ann.with("Idempotency-Key", "first");
    let wanted = json!({ "name": "again" });
    let made = ann.ask("POST", "/tokens", &wanted).await.is(201).json;
    assert_eq!(ann.ask("POST", "/tokens", &wanted).await.is(201).json, made);
    ann.ask("POST", "/tokens", &json!({ "name": "other" })).await.is_problem(409, "conflict");
    let bob = place.bob.with("Idempotency-Key", "first");
    let other = bob.ask("POST", "/tokens", &wanted).await.is(201).json;
    assert_ne!(other["token"], made["token"], "nobody is given the answer of somebody else");
    let anns = place.ann.get("/tokens").await.is(200).each("name");
    assert_eq!(anns.iter().filter(|name| *name == "again").count(), 1, "{anns:?}");
    let unusable = place.ann.with("Idempotency-Key", &"x".repeat(256));
    unusable.ask("POST", "/tokens", &wanted).await.is_problem(400, "invalid");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_as_a_problem() {
    let place = Place::of(Kept::in_a_file()).await;
    let admin = &place.admin;
    admin.get("/nothing").await.is_problem(404, "not_found");
    admin.ask("PUT", "/users", &json!({})).await.is_problem(405, "method_not_allowed");
    for body in [json!({}), json!({ "name": "A" }), json!({ "name": "x", "admin": 1 }), json!([])] {
        admin.ask("POST", "/users", &body).await.is_problem(400, "invalid");
    }
    for grant in [json!({ "tunnels": [] }), json!({ "nothing": 1 }), json!([])] {
        let wanted = json!({ "owner": "ann", "name": "x", "grant": grant });
        admin.ask("POST", "/tokens", &wanted).await.is_problem(400, "invalid");
    }
    let long = json!({ "name": "x".repeat(70_000) });
    admin.ask("POST", "/users", &long).await.is_problem(413, "too_large");
    let untyped = admin.with("Content-Type", "text/plain");
    untyped.ask("POST", "/users", &Value::Null).await.is_problem(415, "unsupported_media_type");
    let stranger = json!({ "owner": "eve", "name": "x" });
    admin.ask("POST", "/tokens", &stranger).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_token_that_is_made_over_the_api_is_good_until_it_is_rotated_or_revoked() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let at = place.relay.admin;
        let wanted = json!({ "name": "made", "grant": { "scopes": ["own"], "max-tunnels": 3 } });
        let made = place.ann.ask("POST", "/tokens", &wanted).await.is(201).json;
        assert_eq!((&made["owner"], &made["grant"]), (&"ann".into(), &wanted["grant"]));
        let token = |made: &Value| made["token"].as_str().expect("a token").to_owned();
        let first = tests::api::Caller::holder(at, &token(&made));
        first.get("/me").await.is(200);
        let id = made["id"].as_str().expect("an id");
        let again = place.ann.ask("POST", &format!("/tokens/{id}/rotate"), &json!({})).await;
        let again = again.is(201).json;
        let second = tests::api::Caller::holder(at, &token(&again));
        second.get("/me").await.is(200);
        tests::eventually("the old one to be good no more", async || {
            first.get("/me").await.status == 401
        })
        .await;
        let id = again["id"].as_str().expect("an id");
        place.ann.ask("DELETE", &format!("/tokens/{id}"), &Value::Null).await.is(204);
        tests::eventually("the new one to be good no more", async || {
            second.get("/me").await.status == 401
        })
        .await;
        let shown = place.ann.get(&format!("/tokens/{id}")).await.is(200);
        assert!(shown.json["revoked"].is_u64() && shown.json["token"].is_null(), "{}", shown.json);
    }
}
