//! JSON Web Tokens over a real connection: a program that is started with a key, and clients that
//! come with tokens of whoever has it.

use serde_json::{Value, json};
use tests::jwt::{Issuer, in_seconds, of_nobody};
use tests::process::{Client, Program, Relay, visit};
use tests::{Folder, local};

use super::kept::client;

/// What a shared key is at least as long as.
const SHARED: &str = "0123456789abcdef0123456789abcdef";

/// A relay that takes the tokens of `issuer`.
async fn relay(folder: &Folder, issuer: &Issuer) -> Relay {
    let key = folder.write("jwt-key", &issuer.key_file()).display().to_string();
    Relay::start(&["--anonymous", "never", "--jwt-key", &key]).await
}

fn both() -> [Issuer; 2] {
    [Issuer::Shared(SHARED), Issuer::with_pair()]
}

#[tokio::test]
async fn whoever_comes_with_a_good_token_is_let_in_as_its_subject_and_as_far_as_it_says() {
    let service = local::echo().await;
    let local = service.addr().to_string();
    for issuer in both() {
        let folder = Folder::new();
        let relay = relay(&folder, &issuer).await;
        let token = issuer.issue(&json!({"sallyport": {"tunnels": ["web-*"]}}));
        let mut ann = client(&relay, &token, &["--tunnel", &format!("web-1={local}")]);
        visit(ann.live("web-1").await).await.expect_echo(b"ann's").await;
        let admitted = relay.logged_where("admitted", |line| line["event"] == "admitted").await;
        assert_eq!(admitted["owner"], "jwt:ann");

        let mut too_far = client(&relay, &token, &["--tunnel", &format!("db={local}")]);
        assert_eq!(too_far.exit().await.code(), Some(1));
        too_far.logged("the token is not for").await;
        let log = relay.stderr.so_far().concat() + &ann.stderr.so_far().concat();
        assert!(!log.contains(&token), "the token is in a log");
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_with_the_reason() {
    let service = local::echo().await;
    let local = service.addr().to_string();
    for issuer in both() {
        let folder = Folder::new();
        let relay = relay(&folder, &issuer).await;
        let none = json!({});
        let signature = |token: String| token.rsplit_once('.').expect("parts").1.to_owned();
        let unknown = "does not know who signed this token";
        for (token, reason) in [
            (issuer.issue(&json!({"exp": in_seconds(-1)})), "the token has expired"),
            (issuer.issue(&json!({"aud": "somebody"})), "the token is for somebody else (`aud`)"),
            (issuer.issue(&json!({"nbf": in_seconds(60)})), "the token is not good yet"),
            (of_nobody(&none), unknown),
            (of_nobody(&none) + &signature(issuer.issue(&none)), unknown),
            (Issuer::with_pair().issue(&none), unknown),
            (Issuer::Shared("another key of thirty-two letters").issue(&none), unknown),
        ] {
            let mut client = client(&relay, &token, &["--local", &local]);
            assert_eq!(client.exit().await.code(), Some(1), "{reason}");
            client.logged(reason).await;
        }
        let mut nobody = Client::begin(relay.control, &["--local", &local]);
        assert_eq!(nobody.exit().await.code(), Some(1));
        nobody.logged("wants a token").await;
    }
}

#[tokio::test]
async fn a_session_ends_in_mid_visit_when_its_token_does() {
    let service = local::echo().await;
    let local = service.addr().to_string();
    let (folder, issuer) = (Folder::new(), Issuer::with_pair());
    let relay = relay(&folder, &issuer).await;
    let token = issuer.issue(&json!({"exp": in_seconds(5)}));
    let mut client = client(&relay, &token, &["--local", &local]);
    client.event("live").await;
    let mut visitor = visit(relay.public).await;
    visitor.expect_echo(b"still good").await;
    visitor.expect_reset().await;
    assert_eq!(client.exit().await.code(), Some(1), "there is no sense in coming back");
    client.logged("the token has expired").await;
}

/// A key that is added to a set, and one that is taken out of it, counts at the next signal.
#[tokio::test]
async fn whoever_came_with_a_key_that_is_not_in_the_file_any_more_has_to_go() {
    let service = local::echo().await;
    let local = service.addr().to_string();
    let folder = Folder::new();
    let [first, second] = [Issuer::with_pair(), Issuer::with_pair()];
    let key = |issuer: &Issuer| -> Value {
        let set: Value = serde_json::from_str(&issuer.key_file()).expect("JSON");
        set["keys"][0].clone()
    };
    folder.write("keys", &json!({"keys": [key(&first)]}).to_string());
    let jwt_key = folder.file("keys").display().to_string();
    let config = folder.write("relay.toml", &format!("jwt-key = \"{jwt_key}\"\n"));
    let program = Program::relay().args(["--anonymous", "never", "--config"]).args([&config]);
    let relay = Relay::of(program).await;
    let none = json!({});
    let mut ann = client(&relay, &first.issue(&none), &["--local", &local]);
    ann.event("live").await;
    let mut visitor = visit(relay.public).await;

    folder.replace("keys", &json!({"keys": [key(&first), key(&second)]}).to_string());
    relay.signal(tests::process::Signal::HUP);
    relay.logged("the configuration changes: ~ jwt-key").await;
    let mut bob =
        client(&relay, &second.issue(&json!({"sub": "bob"})), &["--tunnel", &format!("b={local}")]);
    let mut visitor_of_bob = visit(bob.live("b").await).await;
    visitor.expect_echo(b"still here").await;

    folder.replace("keys", &json!({"keys": [key(&second)]}).to_string());
    relay.signal(tests::process::Signal::HUP);
    visitor.expect_reset().await;
    ann.logged("does not take this key any more").await;
    visitor_of_bob.expect_echo(b"not concerned").await;
}
