//! Users and tokens in a file and in PostgreSQL, by the commands that keep them and with relays
//! that run meanwhile.

use serde_json::Value;
use tests::process::{Client, Program, Relay, Signal, try_visit, visit};
use tests::{Folder, eventually, local};

use super::kept::{Kept, client};

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn users_and_tokens_are_kept_and_the_tokens_themselves_are_not() {
    for kept in Kept::both().await {
        kept.ask(&["user", "create", "ann"]).await;
        kept.ask(&["user", "create", "bob.b_b-b"]).await;
        assert!(kept.complaint(&["user", "create", "ann"]).await.contains("already"));
        for bad in ["Ann", "a b", "ä", "", "a\u{7}", &"x".repeat(64)] {
            assert!(kept.complaint(&["user", "create", bad]).await.contains("1 to 63"), "{bad:?}");
        }
        let rights = [
            "--tunnel",
            "web-*",
            "--ports",
            "9000-9010",
            "--hosts",
            "*.example.com",
            "--max-tunnels",
            "3",
            "--max-visitors",
            "10",
            "--rate",
            "10mbit",
            "--quota",
            "100GB/month",
            "--expires",
            "30d",
            "--allow",
            "10.0.0.0/8",
        ];
        let (token, id) = kept.token("ann", "laptop", &rights).await;
        assert!(!contains(&kept.contents().await, &token[6..40]), "the token is in the store");
        let twice = ["token", "create", "--user", "ann", "--name", "laptop"];
        assert!(kept.complaint(&twice).await.contains("already"));
        let stranger = ["token", "create", "--user", "eve", "--name", "x"];
        assert!(kept.complaint(&stranger).await.contains("has to be there"));

        let listed = kept.json(&["token", "list", "--user", "ann"]).await;
        assert_eq!((&listed[0]["id"], &listed[0]["name"]), (&id.as_str().into(), &"laptop".into()));
        let grant = &listed[0]["grant"];
        assert_eq!((&grant["tunnels"][0], &grant["ports"]), (&"web-*".into(), &"9000-9010".into()));
        assert_eq!((&grant["rate"], &grant["quota"]), (&"10mbit".into(), &"100GB/month".into()));
        assert_eq!(
            kept.json(&["token", "list", "--user", "bob.b_b-b"]).await,
            serde_json::json!([])
        );

        let rotated = kept.json(&["token", "rotate", &id]).await;
        assert_ne!(rotated["id"], id.as_str());
        let listed = kept.ask(&["token", "list"]).await;
        assert!(listed.contains("revoked") && listed.contains("good"), "{listed}");
        assert!(kept.complaint(&["token", "revoke", &id]).await.contains("none of this name"));
        kept.ask(&["user", "delete", "ann"]).await;
        assert_eq!(kept.json(&["token", "list"]).await, serde_json::json!([]));
        assert!(kept.complaint(&["user", "disable", "ann"]).await.contains("none of this name"));
    }
}

#[tokio::test]
async fn what_is_revoked_disabled_or_deleted_ends_in_mid_visit() {
    for kept in Kept::both().await {
        let service = local::echo().await;
        let local = service.addr().to_string();
        let relay = kept.relay().await;
        // Before there is any token, whoever is near is let in, until then.
        let mut early = Client::expose(relay.control, service.addr()).await;
        kept.ask(&["user", "create", "ann"]).await;
        kept.ask(&["user", "create", "bob"]).await;
        kept.ask(&["user", "disable", "bob"]).await;
        let mut visitor = visit(relay.public).await;
        kept.token("ann", "first", &[]).await;
        visitor.expect_reset().await;
        assert_eq!(early.exit().await.code(), Some(1));
        early.logged("wants a token").await;

        for (n, ends) in ["revoke", "rotate", "disable", "delete"].into_iter().enumerate() {
            let (token, id) = kept.token("ann", &format!("t{n}"), &[]).await;
            let mut client = client(&relay, &token, &["--tunnel", &format!("t{n}={local}")]);
            let public = client.live(&format!("t{n}")).await;
            let mut visitor = visit(public).await;
            let args = match ends {
                "revoke" | "rotate" => ["token", ends, &id],
                _ => ["user", ends, "ann"],
            };
            kept.ask(&args).await;
            visitor.expect_reset().await;
            assert_eq!(client.exit().await.code(), Some(1), "it is told that it is over");
            client.logged("it refused: ").await;
            if ends == "disable" {
                kept.ask(&["user", "enable", "ann"]).await;
                // As soon as the relay has heard of both.
                eventually("the relay to hear of it", async || {
                    let log = relay.stderr.as_json();
                    log.iter().filter(|l| l["event"] == "changed" && l["owner"] == "ann").count()
                        > 1
                })
                .await;
                let mut again =
                    super::kept::client(&relay, &token, &["--tunnel", &format!("t{n}={local}")]);
                again.live(&format!("t{n}")).await;
            }
        }
        // Now that there were tokens nobody comes in without one, although all of them are gone.
        let mut stranger = Client::begin(relay.control, &["--local", &local]);
        assert_eq!(stranger.exit().await.code(), Some(1));
        stranger.logged("wants a token").await;
    }
}

#[tokio::test]
async fn a_token_that_is_used_says_so_and_a_quota_survives_a_restart() {
    for kept in Kept::both().await {
        let service = local::endless().await;
        let local = service.addr().to_string();
        kept.ask(&["user", "create", "ann"]).await;
        let quota = ["--quota", "1MB/month"];
        let (token, _) = kept.token("ann", "a", &quota).await;
        let (whole, _) = kept.token("ann", "b", &[]).await;
        let narrow = Program::bare("client").env("CLIENT_TOKEN", &whole);
        let (_, narrowed, _) = narrow.args(["token", "narrow"]).args(quota).output().await;
        let tokens = [("a", token.as_str()), ("b", narrowed.trim())];

        let mut relay = kept.relay().await;
        for (name, token) in tokens {
            let mut first = client(&relay, token, &["--tunnel", &format!("{name}={local}")]);
            let public = first.live(name).await;
            tests::Peer::connect(public).await.expect_reset().await;
            first.signal(Signal::TERM);
            first.exit().await;
        }
        relay.signal(Signal::TERM);
        relay.exit().await;
        assert!(kept.json(&["token", "list"]).await[0]["last_used"].is_u64());

        let relay = kept.relay().await;
        for (name, token) in tokens {
            let mut again = client(&relay, token, &["--tunnel", &format!("{name}={local}")]);
            let public = again.live(name).await;
            let received = tests::Peer::connect(public).await.expect_reset().await;
            assert_eq!(received.len(), 0, "nothing is left of it");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_holds_nobody_up_whom_the_relay_knows() {
    let kept = Kept::in_postgres().await;
    let service = local::echo().await;
    let local = service.addr().to_string();
    kept.ask(&["user", "create", "ann"]).await;
    let (known, _) = kept.token("ann", "known", &[]).await;
    let (unknown, id) = kept.token("ann", "unknown", &[]).await;
    let relay = kept.relay().await;
    let mut first = client(&relay, &known, &["--tunnel", &format!("a={local}")]);
    let public = first.live("a").await;
    let mut visitor = visit(public).await;

    kept.server.as_ref().expect("a server").stop().await;
    visitor.expect_echo(b"still here").await;
    visit(public).await;
    let mut again = client(&relay, &known, &["--tunnel", &format!("b={local}")]);
    again.live("b").await;
    let tunnel = format!("c={local}");
    let mut new = client(&relay, &unknown, &["--reconnect", "always", "--tunnel", &tunnel]);
    new.logged("try again later").await;
    kept.server.as_ref().expect("a server").start_again().await;
    let public = new.live("c").await;
    let mut visitor = visit(public).await;
    // And whoever revokes is heard again.
    kept.ask(&["token", "revoke", &id]).await;
    visitor.expect_reset().await;
    let password = kept.server.as_ref().expect("a server").password();
    let log: String = relay.stderr.so_far().concat();
    assert!(!log.contains(password), "the password is in the log");
}

#[tokio::test]
async fn a_file_that_cannot_be_is_an_error_that_says_so() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let _first = kept.relay().await;
    let (status, _, log) = Program::relay().args(kept.args()).output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("another relay uses"), "{log}");
    // The tools are not in anybody's way.
    kept.ask(&["user", "create", "bob"]).await;

    let (status, _, log) = Program::bare("relay").args(["user", "list"]).output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("--data DIR or --database URL"), "{log}");
    for args in [&["user", "list"][..], &[]] {
        let url = "mysql://ann:hunter2-secret@127.0.0.1:1/x";
        let other = Program::bare("relay").args(args).env("RELAY_DATABASE", url);
        let (status, _, log) = other.output().await;
        assert_ne!(status, Some(0));
        assert!(log.contains("a URL of PostgreSQL") && !log.contains("hunter2"), "{log}");
    }
    let url = "postgres://ann:hunter2-secret@127.0.0.1:1/x";
    for args in [&["user", "list"][..], &[]] {
        let shown = Program::bare("relay").args(args).args(["--database", url]);
        let (status, _, log) = shown.output().await;
        assert_ne!(status, Some(0));
        assert!(log.contains("RELAY_DATABASE") && !log.contains("hunter2"), "{log}");
    }
    let away = Program::bare("relay").args(["user", "list"]).env("RELAY_DATABASE", url);
    let (status, _, log) = away.output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("cannot be reached") && !log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn a_backup_is_all_that_there_is_and_can_be_put_back() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    kept.token("ann", "a", &["--tunnel", "web"]).await;
    let before = kept.json(&["token", "list"]).await;
    let relay = kept.relay().await;
    let copy = kept.folder.file("copy").display().to_string();
    kept.ask(&["backup", &copy]).await;
    assert!(kept.complaint(&["backup", &copy]).await.contains("already"));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&copy).expect("the copy").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    kept.ask(&["user", "delete", "ann"]).await;
    assert!(kept.complaint(&["restore", &copy]).await.contains("another relay uses"));
    drop(relay);
    eventually("the folder to be free", async || {
        let (status, _, log) = kept.tool(&["restore", &copy]).output().await;
        assert_eq!(status, Some(1), "without --force");
        !log.contains("another relay uses")
    })
    .await;
    kept.ask(&["restore", "--force", &copy]).await;
    assert_eq!(kept.json(&["token", "list"]).await, before);
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_to_a_kill() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let mut acknowledged = Vec::new();
    for n in 0..30 {
        let name = format!("u{n}");
        let program = kept.tool(&["user", "create", &name]);
        if n % 3 == 0 {
            // Somewhere on its way: nobody was told that it is there.
            let mut process = program.start();
            process.signal(Signal::KILL);
            process.exit().await;
        } else if program.output().await.0 == Some(0) {
            acknowledged.push(name);
        }
    }
    let users = kept.json(&["user", "list"]).await;
    let users: Vec<_> = users.as_array().expect("users").iter().map(|u| &u["name"]).collect();
    assert_eq!(acknowledged.len(), 20);
    for name in acknowledged {
        assert!(users.iter().any(|user| **user == name.as_str()), "{name}");
    }
}

#[tokio::test]
async fn init_prints_the_two_lines_that_start_everything() {
    let folder = Folder::new();
    let path = |name: &str| folder.file(name).display().to_string();
    let (config, data) = (path("relay.toml"), path("data"));
    let init = || Program::bare("relay").args(["init", "--config", &config, "--data", &data]);
    let (status, printed, log) = init().args(["--json"]).output().await;
    assert_eq!(status, Some(0), "{log}");
    let made: Value = serde_json::from_str(&printed).expect("JSON");
    let text = |key: &str| made[key].as_str().expect("a text").to_owned();
    let (status, _, log) = init().output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("is there already"), "{log}");

    let relay = Relay::of(Program::relay().args(["--config", &config])).await;
    let service = local::echo().await;
    let server = format!("tls://{}", relay.control);
    let local = service.addr().to_string();
    let program = Program::client().env("CLIENT_TOKEN", text("token"));
    let args = ["--server", &server, "--tls-pin", &text("pin"), "--local", &local];
    let mut client = Client::of(program.args(args));
    client.event("live").await;
    assert!(try_visit(relay.public).await.is_some());
    let all = relay.stderr.so_far().concat() + &client.stderr.so_far().concat();
    assert!(!all.contains(&text("token")[6..40]), "the token is in a log");
}

#[tokio::test]
async fn init_sets_nothing_up_that_could_not_run() {
    let folder = Folder::new();
    let path = |name: &str| folder.file(name).display().to_string();
    let at = ["--config", &path("relay.toml"), "--data", &path("data")];
    for (ports, says) in [
        (["--control", "8080", "--public", "8080"], "the same port"),
        (["--control", "0", "--public", "8080"], "0 is not in 1..=65535"),
        (["--control", "4444", "--public", "0"], "0 is not in 1..=65535"),
    ] {
        let init = Program::bare("relay").args(["init"]).args(at).args(ports);
        let (status, _, log) = init.output().await;
        assert_ne!(status, Some(0));
        assert!(log.contains(says), "{log}");
    }
    assert!(!folder.file("relay.toml").exists() && !folder.file("data").exists());
}

#[tokio::test]
async fn init_that_fails_can_be_done_again() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "bob"]).await;
    kept.ask(&["user", "create", "admin"]).await;
    let folder = kept.folder.file("etc");
    let config = folder.join("relay.toml");
    let shown = config.display().to_string();
    let init = || kept.tool(&["init", "--config", &shown, "--json"]);
    let (status, _, log) = init().output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("cannot write"), "{log}");

    std::fs::create_dir(&folder).expect("a folder");
    kept.ask(&["user", "disable", "admin"]).await;
    let (status, _, log) = init().output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("relay user enable admin"), "{log}");
    assert!(!config.exists(), "half of it is left");

    kept.ask(&["user", "delete", "admin"]).await;
    let (status, printed, log) = init().output().await;
    assert_eq!(status, Some(0), "{log}");
    let made: Value = serde_json::from_str(&printed).expect("JSON");
    let relay = Relay::of(Program::relay().args(["--config", &shown])).await;
    let server = format!("tls://{}", relay.control);
    let text = |key: &str| made[key].as_str().expect("a text");
    let program = Program::client().env("CLIENT_TOKEN", text("token"));
    let args = ["--server", &server, "--tls-pin", text("pin"), "--local", "1"];
    Client::of(program.args(args)).event("live").await;
}
