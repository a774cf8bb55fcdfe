//! Tokens in whose place another one is put, while clients run with them.

use serde_json::Value;
use tests::local;
use tests::process::{Program, visit};

use super::kept::{Kept, client};

/// A token that takes the place of `which`.
async fn rotate(kept: &Kept, which: &str, overlap: &str) -> String {
    let made = kept.json(&["token", "rotate", which, "--overlap", overlap]).await;
    made["token"].as_str().expect("a token").to_owned()
}

/// What is kept of a token.
async fn listed(kept: &Kept, id: &str) -> Value {
    let all = kept.json(&["token", "list"]).await;
    let tokens = all.as_array().expect("a list");
    tokens.iter().find(|token| token["id"] == id).expect("the token").clone()
}

#[tokio::test]
async fn clients_go_on_with_the_old_token_while_they_are_given_the_new_one() {
    for kept in Kept::both().await {
        let service = local::echo().await;
        let tunnel = |name: &str| format!("{name}={}", service.addr());
        kept.ask(&["user", "create", "ann"]).await;
        let (old, id) = kept.token("ann", "laptop", &["--tunnel", "web-*"]).await;
        let relay = kept.relay().await;
        let mut first = client(&relay, &old, &["--tunnel", &tunnel("web-1")]);
        let mut visitor = visit(first.live("web-1").await).await;

        let new = rotate(&kept, "ann/laptop", "1h").await;
        relay.logged_where("of the change", |line| line["token"] == id.as_str()).await;
        let mut with_old = client(&relay, &old, &["--tunnel", &tunnel("web-2")]);
        visit(with_old.live("web-2").await).await;
        let mut with_new = client(&relay, &new, &["--tunnel", &tunnel("web-3")]);
        let mut visitor_of_new = visit(with_new.live("web-3").await).await;
        visitor.expect_echo(b"nothing has happened").await;

        let replaced = listed(&kept, &id).await;
        assert!(replaced["replaced"].is_u64() && replaced["revoked"].is_null(), "{replaced}");
        let table = kept.ask(&["token", "list"]).await;
        assert!(table.contains("replaced") && table.contains("good"), "{table}");
        let twice = kept.complaint(&["token", "rotate", &id]).await;
        assert!(twice.contains("revoked or replaced already"), "{twice}");

        // It can still be revoked before its time.
        kept.ask(&["token", "revoke", &id]).await;
        visitor.expect_reset().await;
        assert_eq!(first.exit().await.code(), Some(1));
        with_old.logged("the token has been revoked").await;
        visitor_of_new.expect_echo(b"not concerned").await;
        let again = kept.complaint(&["token", "revoke", &id]).await;
        assert!(again.contains("none of this name"), "{again}");
    }
}

#[tokio::test]
async fn the_old_token_ends_its_sessions_when_its_time_is_over_also_those_that_came_before() {
    for kept in Kept::both().await {
        let service = local::echo().await;
        let tunnel = |name: &str| format!("{name}={}", service.addr());
        kept.ask(&["user", "create", "ann"]).await;
        let (old, _) = kept.token("ann", "laptop", &[]).await;
        let relay = kept.relay().await;
        let mut before = client(&relay, &old, &["--tunnel", &tunnel("a")]);
        let mut visitor = visit(before.live("a").await).await;
        rotate(&kept, "ann/laptop", "5s").await;
        let mut after = client(&relay, &old, &["--tunnel", &tunnel("b")]);
        let mut visitor_of_after = visit(after.live("b").await).await;

        for (visitor, client) in [(&mut visitor, before), (&mut visitor_of_after, after)] {
            visitor.expect_reset().await;
            let mut client = client;
            assert_eq!(client.exit().await.code(), Some(1), "there is no sense in coming back");
            client.logged("the token has been replaced").await;
        }
        // Also for a relay that has never heard of it before.
        let relay = match &kept.server {
            Some(_) => kept.relay().await,
            None => relay,
        };
        let mut late = client(&relay, &old, &["--tunnel", &tunnel("c")]);
        assert_eq!(late.exit().await.code(), Some(1));
        late.logged("the token has been replaced").await;
    }
}

/// Until then there is one, and it is the new one.
#[tokio::test]
async fn whoever_replaces_a_token_is_told_how_long_the_old_one_is_good() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (_, id) = kept.token("ann", "laptop", &[]).await;
    let rotate = kept.tool(&["token", "rotate", "ann/laptop", "--overlap", "90m"]);
    let (status, printed, said) = rotate.output().await;
    assert_eq!((status, printed.lines().count()), (Some(0), 1), "{said}");
    assert!(said.contains(&format!("{id} is good for 1h30m more")), "{said}");
    let second = kept.json(&["token", "rotate", "ann/laptop"]).await;
    assert_ne!(second["id"], id.as_str());
    let none = kept.complaint(&["token", "rotate", "ann/laptop", "--overlap", "0s"]).await;
    assert!(none.contains("--overlap"), "{none}");
}

/// The tables of a PostgreSQL are brought up to date as those of a file are.
#[tokio::test]
async fn what_an_earlier_relay_has_left_in_a_server_is_all_there_and_goes_on() {
    for left in [
        include_str!("../../../../relay/src/store/fixtures/postgres_1.sql"),
        include_str!("../../../../relay/src/store/fixtures/postgres_2.sql"),
        include_str!("../../../../relay/src/store/fixtures/postgres_3.sql"),
    ] {
        is_all_there(left).await;
    }
}

async fn is_all_there(left: &str) {
    let kept = Kept::in_postgres().await;
    kept.server.as_ref().expect("a server").run(left).await;
    let list = Program::bare("relay").args(["token", "list", "--json"]).args(kept.args());
    let (status, printed, said) = list.output().await;
    assert_eq!(status, Some(0), "{said}");
    let tokens: Value = serde_json::from_str(&printed).expect("JSON");
    let seen = |number: usize| (tokens[number]["id"].as_str(), tokens[number]["name"].as_str());
    assert_eq!(seen(0), (Some("bwejrfvftkxr4cnn"), Some("laptop")));
    assert!(tokens[1]["revoked"].is_u64() && tokens[2]["owner_disabled"] == true, "{tokens}");
    assert_eq!(tokens[0]["grant"]["quota"], "100GB/month");
    let relay = kept.relay().await;
    let token = rotate(&kept, "ann/laptop", "1h").await;
    let service = local::echo().await;
    let mut client = client(&relay, &token, &["--tunnel", &format!("web-1={}", service.addr())]);
    visit(client.live("web-1").await).await;
}
