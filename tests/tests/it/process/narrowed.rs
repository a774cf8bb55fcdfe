//! `client token`: what a holder makes of a token without asking the relay.

use serde_json::{Value, json};
use tests::jwt::Issuer;
use tests::local;
use tests::process::{Program, visit};

use super::kept::{Kept, client};

/// What `client token` prints, for a holder of `token`.
async fn ask(token: &str, args: &[&str]) -> String {
    let (status, printed, said) = tool(token, args).output().await;
    assert_eq!(status, Some(0), "{args:?}: {said}");
    printed
}

/// What it complains of.
async fn complaint(token: &str, args: &[&str]) -> String {
    let (status, printed, said) = tool(token, args).output().await;
    assert_eq!((status, printed.as_str()), (Some(1), ""), "{args:?}: {said}");
    said
}

fn tool(token: &str, args: &[&str]) -> Program {
    Program::bare("client").env("CLIENT_TOKEN", token).args(["token"]).args(args)
}

/// What `client token show` says it is narrowed to.
fn narrowed_to(shown: &str) -> Vec<Value> {
    let grants = shown.lines().filter_map(|line| line.strip_prefix("narrowed to: "));
    grants.map(|grant| serde_json::from_str(grant).expect("JSON")).collect()
}

#[tokio::test]
async fn a_narrowed_token_is_let_in_as_far_as_all_that_it_was_narrowed_to_and_ends_with_the_first()
{
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (first, id) = kept.token("ann", "first", &["--tunnel", "web-*,db"]).await;
    let relay = kept.relay().await;
    let port = local::nobody().await.port().to_string();
    let second = ask(&first, &["narrow", "--tunnel", "*-1,x", "--ports", &port]).await;
    let third = ask(&second, &["narrow", "--expires", "2h"]).await;
    assert!(third != second && second != first);

    let service = local::echo().await;
    let tunnel = |name: &str| format!("{name}={}", service.addr());
    let mut holder = client(&relay, &third, &["--tunnel", &tunnel("web-1")]);
    let public = holder.live("web-1").await;
    assert_eq!(public.port().to_string(), port, "it is given one that it may have");
    let mut visitor = visit(public).await;
    visitor.expect_echo(b"as far as it goes").await;
    let admitted = relay.logged_where("admitted", |line| line["event"] == "admitted").await;
    assert_eq!((&admitted["owner"], &admitted["token"]), (&json!("ann"), &json!(id)));

    let other = relay.admin.port();
    for (name, option, reason) in [
        ("web-2", "", "the token is not for the tunnel `web-2`: it is for `*-1`, `x`"),
        ("db", "", "the token is not for the tunnel `db`: it is for `*-1`, `x`"),
        // Nobody can give away what they do not have.
        ("x", "", "the token is not for the tunnel `x`: it is for `web-*`, `db`"),
        ("web-2-1", &*format!("?port={other}"), "the token is not for port"),
    ] {
        let mut too_far = client(&relay, &third, &["--tunnel", &(tunnel(name) + option)]);
        assert_eq!(too_far.exit().await.code(), Some(1), "{name}");
        too_far.logged(reason).await;
    }
    kept.ask(&["token", "revoke", "ann/first"]).await;
    visitor.expect_reset().await;
    holder.logged("revoked").await;
    assert_eq!(holder.exit().await.code(), Some(1));
}

#[tokio::test]
async fn a_narrowed_token_ends_the_session_when_it_expires_although_the_first_goes_on() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (first, _) = kept.token("ann", "first", &[]).await;
    let relay = kept.relay().await;
    let service = local::echo().await;
    let tunnel = |name: &str| format!("{name}={}", service.addr());
    let mut of_first = client(&relay, &first, &["--tunnel", &tunnel("a")]);
    let mut stays = visit(of_first.live("a").await).await;

    let short = ask(&first, &["narrow", "--expires", "5s"]).await;
    let mut of_short = client(&relay, &short, &["--tunnel", &tunnel("b")]);
    let mut visitor = visit(of_short.live("b").await).await;
    visitor.expect_reset().await;
    of_short.logged("the token has expired").await;
    stays.expect_echo(b"still good").await;
}

#[tokio::test]
async fn whoever_looks_at_a_token_learns_its_name_and_its_limits_and_not_the_token() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (first, id) = kept.token("ann", "first", &["--tunnel", "web-*"]).await;
    let whole = ask(&first, &["show"]).await;
    assert_eq!(whole, format!("id: {id}"), "what the relay allows is the relay's to say");
    let second = ask(&first, &["narrow", "--tunnel", "web-1", "--max-visitors", "3"]).await;
    let third = ask(&second, &["narrow", "--rate", "10mbit"]).await;
    let shown = ask(&third, &["show"]).await;
    assert!(shown.starts_with(&format!("id: {id}\n")), "{shown}");
    assert_eq!(
        narrowed_to(&shown),
        [json!({"tunnels": ["web-1"], "max-visitors": 3}), json!({"rate": "10mbit"})]
    );
    for token in [&first, &second, &third] {
        let secret = &token[token.len() - 20..];
        assert!(!(whole.clone() + &shown).contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_narrowed_is_said_and_nothing_is_printed() {
    let secret = "correct horse battery staple";
    assert!(complaint(secret, &["narrow"]).await.contains("say what the token is to be limited"));
    let mut token = secret.to_owned();
    for _ in 0..4 {
        token = ask(&token, &["narrow", "--tunnel", "web-*"]).await;
    }
    let fifth = complaint(&token, &["narrow", "--tunnel", "web-1"]).await;
    assert!(fifth.contains("can be narrowed 4 times"), "{fifth}");
    let jwt = Issuer::Shared("0123456789abcdef0123456789abcdef").issue(&json!({}));
    let said = complaint(&jwt, &["narrow", "--expires", "2h"]).await;
    assert!(said.contains("a JSON Web Token cannot be narrowed") && !said.contains(&jwt), "{said}");
    let none = Program::bare("client").args(["token", "show"]);
    let (status, _, said) = none.output().await;
    assert!(status == Some(1) && said.contains("there is no token"), "{said}");
}
