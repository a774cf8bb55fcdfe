//! Every call by every kind of caller.

use serde_json::{Value, json};
use tests::kept::Kept;

use super::Place;

/// A call, and what it is answered with: to an admin, to the owner of what it is about, to another
/// user, and to nobody.
type Row = (&'static str, String, Value, [u16; 4]);

#[tokio::test]
async fn each_call_is_for_those_whose_it_is_and_looks_to_others_as_if_there_were_nothing() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let session = place.session("ann").await;
        let [anns_token, _] = &place.ids;
        let new_token = |name: &str| json!({ "owner": "ann", "name": name });
        let none = Value::Null;
        // What changes something comes last, and is done by the last one who may.
        let rows: Vec<Row> = vec![
            ("GET", "/me".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", "/health".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", "/tunnels".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", "/tunnels/ann.anns".into(), none.clone(), [200, 200, 404, 401]),
            ("GET", "/sessions".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", format!("/sessions/{session}"), none.clone(), [200, 200, 404, 401]),
            ("GET", "/users".into(), none.clone(), [200, 403, 403, 401]),
            ("GET", "/users/ann".into(), none.clone(), [200, 200, 404, 401]),
            ("POST", "/users".into(), json!({ "name": "ann" }), [409, 403, 403, 401]),
            ("PATCH", "/users/ann".into(), json!({ "disabled": false }), [200, 403, 403, 401]),
            ("GET", "/visits".into(), none.clone(), [200, 200, 200, 401]),
            ("DELETE", "/visits/none".into(), none.clone(), [404, 404, 404, 401]),
            ("DELETE", "/sessions/999".into(), none.clone(), [404, 404, 404, 401]),
            ("GET", "/statistics".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", "/statistics?tunnel=ann.anns".into(), none.clone(), [200, 200, 404, 401]),
            ("GET", "/statistics?owner=ann".into(), none.clone(), [200, 200, 403, 401]),
            ("GET", "/history".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", "/history?tunnel=ann.anns".into(), none.clone(), [200, 200, 404, 401]),
            ("GET", "/history?owner=ann".into(), none.clone(), [200, 200, 403, 401]),
            ("DELETE", "/users/eve".into(), none.clone(), [404, 403, 403, 401]),
            ("GET", "/tokens".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", format!("/tokens/{anns_token}"), none.clone(), [200, 200, 404, 401]),
            ("POST", "/tokens".into(), new_token("caller"), [409, 409, 403, 401]),
            ("GET", "/domains".into(), none.clone(), [200, 200, 200, 401]),
            ("GET", "/certificates".into(), none.clone(), [200, 403, 403, 401]),
            ("GET", "/nothing".into(), none.clone(), [404, 404, 404, 404]),
            ("GET", "/bans".into(), none.clone(), [200, 403, 403, 401]),
            ("DELETE", "/bans/192.0.2.1".into(), none.clone(), [404, 403, 403, 401]),
            ("DELETE", "/tokens/aaaaaaaaaaaaaaaa".into(), none.clone(), [404, 404, 404, 401]),
        ];
        for (method, path, body, expected) in rows {
            let callers = [&place.admin, &place.ann, &place.bob, &place.nobody];
            for (caller, expected) in callers.into_iter().zip(expected) {
                let answer = caller.ask(method, &path, &body).await;
                assert_eq!(answer.status, expected, "{method} {path}: {}", answer.json);
            }
        }
        let session = format!("/sessions/{session}");
        assert_eq!(place.bob.ask("DELETE", &session, &none).await.status, 404);
        assert_eq!(place.ann.ask("DELETE", &session, &none).await.status, 204);
        let rotate = format!("/tokens/{anns_token}/rotate");
        for caller in [&place.bob, &place.nobody] {
            let refused = caller.ask("POST", &rotate, &json!({})).await;
            assert!([401, 404].contains(&refused.status), "{}", refused.json);
            let refused = caller.ask("DELETE", &format!("/tokens/{anns_token}"), &none).await;
            assert!([401, 404].contains(&refused.status), "{}", refused.json);
        }
        let revoked = place.ann.ask("DELETE", &format!("/tokens/{anns_token}"), &none).await;
        assert_eq!(revoked.status, 204);
        tests::eventually("the token to be good no more", async || {
            place.ann.get("/me").await.status == 401
        })
        .await;
    }
}

#[tokio::test]
async fn lists_show_a_user_nothing_of_anybody_else() {
    let place = Place::of(Kept::in_a_file()).await;
    assert_eq!(place.ann.get("/tunnels").await.is(200).each("id"), ["ann.anns"]);
    assert_eq!(place.bob.get("/tunnels?owner=ann").await.is(200).each("id"), [""; 0]);
    assert_eq!(
        place.admin.get("/tunnels").await.is(200).each("id"),
        ["(anybody).default", "ann.anns", "bob.bobs"]
    );
    for (caller, name) in [(&place.ann, "ann"), (&place.bob, "bob")] {
        assert_eq!(caller.get("/me").await.is(200).json["name"], name);
        for list in ["/tunnels", "/sessions", "/tokens?all=true"] {
            let owners = caller.get(list).await.is(200).each("owner");
            assert!(!owners.is_empty() && owners.iter().all(|owner| owner == name), "{owners:?}");
        }
    }
    let named = place.ann.get("/tunnels/anns").await.is(200).json;
    assert_eq!((&named["id"], &named["state"]), (&"ann.anns".into(), &"live".into()));
    assert_eq!(place.admin.get("/sessions").await.is(200).each("tunnel_ids").len(), 2);
}
