//! What goes wrong with users and tokens: no room, a database that is gone without a word, other
//! versions, and commands that mean another place.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tests::process::{Program, Relay, visit};
use tests::{Folder, Secured, Wire, eventually, local};

use super::kept::{Kept, client};

/// A token with rights that take up several pages of a file.
fn long_token(kept: &Kept, name: &str) -> Program {
    let patterns: Vec<_> = (0..500).map(|n| format!("a-long-name-of-a-tunnel-{n:03}-*")).collect();
    let args = ["token", "create", "--user", "ann", "--name", name, "--tunnel"];
    kept.tool(&[&args[..], &[&patterns.join(",")]].concat())
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_nothing_is_half_done() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    kept.ask(&["token", "create", "--user", "ann", "--name", "small"]).await;
    let before = kept.json(&["token", "list"]).await;
    // Room for what SQLite keeps in memory that it shares, and for little more.
    const ROOM: usize = 36 * 1024;
    let (status, printed, log) = long_token(&kept, "long").with_largest_file(ROOM).output().await;
    assert_eq!((status, printed.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("is it full") && log.contains("Make room"), "{log}");
    assert_eq!(kept.json(&["token", "list"]).await, before);

    for n in 0..3 {
        let (status, _, log) = long_token(&kept, &format!("long{n}")).output().await;
        assert_eq!(status, Some(0), "{log}");
    }
    let copy = kept.folder.file("copy").display().to_string();
    let backup = || kept.tool(&["backup", &copy]);
    let (status, _, log) = backup().with_largest_file(ROOM).output().await;
    assert_eq!(status, Some(1), "{log}");
    let there = std::fs::read_dir(kept.folder.path()).expect("the folder").count();
    assert_eq!(there, 1, "something is left of a backup");
    let (status, _, log) = backup().output().await;
    assert_eq!(status, Some(0), "{log}");
}

#[tokio::test]
async fn a_token_that_could_not_be_shown_is_named_with_the_way_to_another() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let folder = Folder::new();
    let path = |name: &str| folder.file(name).display().to_string();
    let config = path("relay.toml");
    let init = ["init", "--config", &config, "--data", &path("data")];
    let create = ["token", "create", "--user", "ann", "--name", "laptop"];
    let rotate = ["token", "rotate", "ann/laptop", "--json"];
    for unseen in [kept.tool(&create), kept.tool(&rotate), Program::bare("relay").args(init)] {
        let (status, _, log) = unseen.with_stdout_full().output().await;
        assert_eq!(status, Some(1), "{log}");
        let (_, advice) = log.trim().rsplit_once(": relay ").expect("advice");
        // Whatever place the environment names.
        let advised = Program::bare("relay").args(advice.split(' ')).env("RELAY_DATA", "elsewhere");
        let (status, token, log) = advised.output().await;
        assert_eq!((status, token.lines().count()), (Some(0), 1), "{advice}: {log}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_that_says_so() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (data, file) = (kept.folder.file("data"), kept.folder.file("data/relay.db"));
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    };
    let complaint = async |program: Program| {
        let (status, _, log) = program.with_permissions_that_count().output().await;
        assert_eq!(status, Some(1), "{log}");
        log
    };
    for mode in [0o400, 0o000] {
        allow(&file, mode);
        let log = complaint(kept.tool(&["user", "create", "bob"])).await;
        assert!(log.contains("cannot be opened or written by this user"), "{mode:o}: {log}");
    }
    allow(&file, 0o600);
    allow(&data, 0o500);
    let log = complaint(Program::relay().args(kept.args())).await;
    assert!(log.contains("has to be able to write to"), "{log}");
    allow(&data, 0o700);
    assert_eq!(kept.json(&["user", "list"]).await.as_array().map(Vec::len), Some(1));
}

/// Whoever runs a relay is not root, and what root does for it is not theirs to direct.
#[tokio::test]
async fn commands_of_root_follow_no_link_in_the_folder_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else could be led astray.
        return;
    }
    const NOBODY: u32 = 65534;
    for name in ["relay.db", "relay.db.lock"] {
        let kept = Kept::in_a_file();
        kept.ask(&["user", "create", "ann"]).await;
        let data = kept.folder.file("data");
        std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY)).expect("root");
        let ours = kept.folder.write("ours", "");
        std::fs::remove_file(data.join(name)).expect("it was there");
        std::os::unix::fs::symlink(&ours, data.join(name)).expect("a link");
        for args in [&["user", "list"][..], &["user", "create", "bob"]] {
            let log = kept.complaint(args).await;
            assert!(log.contains("it is a link"), "{name}: {log}");
        }
        let found = std::fs::metadata(&ours).expect("our file");
        assert_eq!((found.len(), found.uid()), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn a_folder_is_only_made_by_what_puts_something_in_it() {
    let folder = Folder::new();
    let typo = folder.file("dta");
    let at = ["--data".into(), typo.display().to_string()];
    let copy = folder.file("copy").display().to_string();
    for args in [&["user", "list"][..], &["token", "list"], &["backup", &copy]] {
        let (status, _, log) = Program::bare("relay").args(args).args(&at).output().await;
        assert_eq!(status, Some(1), "{args:?}");
        assert!(log.contains("there are no users and tokens in "), "{args:?}: {log}");
        assert!(!typo.exists(), "{args:?} made it");
    }
    let create = Program::bare("relay").args(["user", "create", "ann"]).args(&at);
    assert_eq!(create.output().await.0, Some(0));
    for (file, says) in [("/dev/zero", "is no file"), ("/not/there", "cannot open /not/there")] {
        let other = folder.file("other");
        let restore = Program::bare("relay").args(["restore", file, "--data"]).args([&other]);
        let (status, _, log) = restore.output().await;
        assert_eq!(status, Some(1));
        assert!(log.contains(says) && !other.exists(), "{log}");
    }
}

#[tokio::test]
async fn a_folder_can_have_a_name_that_looks_like_a_url() {
    let folder = Folder::new();
    let names = ["file:data", "file:copy"];
    let tool = |args: &[&str]| {
        let program = Program::bare("relay").in_folder(folder.path());
        program.args(args).args(["--data", names[0]])
    };
    for args in [&["user", "create", "ann"][..], &["backup", names[1]]] {
        let (status, _, log) = tool(args).output().await;
        assert_eq!(status, Some(0), "{log}");
    }
    assert!(folder.file(names[0]).join("relay.db").exists());
    assert!(folder.file(names[1]).exists());
}

#[tokio::test]
async fn a_file_that_is_replaced_under_a_relay_is_told_and_seen_again_when_it_is_back() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (token, _) = kept.token("ann", "laptop", &[]).await;
    let relay = kept.relay().await;
    let mut ann = client(&relay, &token, &["--local", "1"]);
    ann.live("default").await;
    let (own, aside) = (kept.folder.file("data/relay.db"), kept.folder.file("data/aside"));
    std::fs::rename(&own, &aside).expect("to move it");
    relay.logged("moved or replaced").await;
    std::fs::rename(&aside, &own).expect("to move it back");
    relay.logged("the store is back").await;
    kept.ask(&["token", "revoke", "ann/laptop"]).await;
    assert_eq!(ann.exit().await.code(), Some(1));
}

#[tokio::test]
async fn commands_that_make_a_store_at_the_same_time_do_not_disturb_each_other() {
    for kept in Kept::both().await {
        let names: Vec<_> = (0..8).map(|n| format!("u{n}")).collect();
        let tools: Vec<_> =
            names.iter().map(|name| kept.tool(&["user", "create", name]).start()).collect();
        for mut tool in tools {
            let status = tool.exit().await;
            assert!(status.success(), "{}", tool.stderr.so_far().concat());
        }
        let users = kept.json(&["user", "list"]).await;
        let users: Vec<_> = users.as_array().expect("users").iter().map(|u| &u["name"]).collect();
        assert_eq!(users, names.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_command_works_where_it_was_told_to_and_not_where_the_relay_does() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let copy = kept.folder.file("copy").display().to_string();
    kept.ask(&["backup", &copy]).await;
    let elsewhere = "postgres://nobody@127.0.0.1:1/nowhere";
    let (status, printed, log) =
        kept.tool(&["user", "list"]).env("RELAY_DATABASE", elsewhere).output().await;
    assert_eq!(status, Some(0), "{log}");
    assert!(printed.contains("ann"), "{printed}");

    let other = kept.folder.file("other");
    let config = format!("data = \"{}\"\ndatabase = \"{elsewhere}\"\n", other.display());
    let config = kept.folder.write("relay.toml", &config).display().to_string();
    let restore = Program::bare("relay").args(["restore", &copy, "--config", &config]);
    let (status, _, log) = restore.output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("kept in PostgreSQL"), "{log}");
    assert!(!other.join("relay.db").exists());
}

#[tokio::test]
async fn a_token_is_meant_by_its_name_and_a_new_one_may_last_longer() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (_, id) = kept.token("ann", "laptop", &["--expires", "1s", "--tunnel", "web"]).await;
    eventually("the token to expire", async || {
        kept.ask(&["token", "list"]).await.contains("expired")
    })
    .await;
    let complaint = kept.complaint(&["token", "rotate", &id]).await;
    assert!(complaint.contains("has expired: --expires"), "{complaint}");
    kept.json(&["token", "rotate", "ann/laptop", "--expires", "30d"]).await;
    let listed = kept.json(&["token", "list"]).await;
    let old = listed[0]["grant"]["expires"].as_u64().expect("an end");
    let new = listed[1]["grant"]["expires"].as_u64().expect("an end");
    assert!(new > old + 29 * 24 * 3600, "{listed}");
    assert_eq!(listed[1]["grant"]["tunnels"], listed[0]["grant"]["tunnels"]);

    kept.ask(&["token", "revoke", "ann/laptop"]).await;
    let complaint = kept.complaint(&["token", "revoke", "ann/laptop"]).await;
    assert!(complaint.contains("ann has no token laptop in use"), "{complaint}");
    for bad in ["ann/", "/x", "ann/Ä", "short"] {
        let complaint = kept.complaint(&["token", "revoke", bad]).await;
        assert!(complaint.contains("USER/NAME"), "{bad}: {complaint}");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_relay_is_left_alone() {
    let kept = Kept::in_postgres().await;
    kept.ask(&["user", "create", "ann"]).await;
    let server = kept.server.as_ref().expect("a server");
    server.run("INSERT INTO _sqlx_migrations VALUES (9999, '', now(), true, '\\x00', 0)").await;
    let complaint = kept.complaint(&["user", "list"]).await;
    assert!(complaint.contains("written by a newer relay: update this one"), "{complaint}");
    let (status, _, log) = Program::relay().args(kept.args()).output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("written by a newer relay: update this one"), "{log}");
}

#[tokio::test]
async fn a_database_that_is_gone_without_a_word_holds_nobody_up() {
    let kept = Kept::in_postgres().await;
    let server = kept.server.as_ref().expect("a server");
    let wire = Wire::to(server.addr()).await;
    let by_wire = ["--database".to_owned(), server.url_by(wire.addr())];
    let service = local::echo().await;
    let local = service.addr().to_string();
    kept.ask(&["user", "create", "ann"]).await;
    let (known, id) = kept.token("ann", "known", &[]).await;
    let (unknown, _) = kept.token("ann", "unknown", &[]).await;
    let relay = Relay::of(Program::relay().args(&by_wire)).await;
    let mut first = client(&relay, &known, &["--tunnel", &format!("a={local}")]);
    let public = first.live("a").await;
    let mut visitor = visit(public).await;

    wire.stall();
    visitor.expect_echo(b"still here").await;
    let mut again = client(&relay, &known, &["--tunnel", &format!("b={local}")]);
    again.live("b").await;
    let tunnel = format!("c={local}");
    let mut new = client(&relay, &unknown, &["--reconnect", "always", "--tunnel", &tunnel]);
    new.logged("try again later").await;
    let (status, _, log) =
        Program::bare("relay").args(["user", "list"]).args(&by_wire).output().await;
    assert_eq!(status, Some(1));
    assert!(log.contains("cannot be reached"), "{log}");
    // What is revoked meanwhile is heard of as soon as the relay hears anything.
    kept.ask(&["token", "revoke", &id]).await;
    visitor.expect_echo(b"not yet").await;
    wire.mend();
    visitor.expect_reset().await;
    let public = new.live("c").await;
    visit(public).await;
}

#[tokio::test]
async fn what_a_database_of_yesterday_does_not_tell_is_found_out() {
    let kept = Kept::in_postgres().await;
    let server = kept.server.as_ref().expect("a server");
    let service = local::echo().await;
    let local = service.addr().to_string();
    kept.ask(&["user", "create", "ann"]).await;
    let (token, id) = kept.token("ann", "a", &[]).await;
    let relay = kept.relay().await;
    let mut client = client(&relay, &token, &["--tunnel", &format!("a={local}")]);
    let mut visitor = visit(client.live("a").await).await;
    kept.ask(&["user", "create", "bob"]).await;
    kept.ask(&["user", "disable", "bob"]).await;
    relay.logged_where("a change", |line| line["owner"] == "bob").await;
    // As after a restored dump, or on a server that had not got the last changes: the token is
    // revoked there, and the numbers begin again below the last one that the relay has seen.
    server
        .run(&format!(
            "BEGIN; UPDATE tokens SET revoked = 1 WHERE id = '{id}'; TRUNCATE changes RESTART \
             IDENTITY; INSERT INTO changes (owner) VALUES ('eve'); COMMIT"
        ))
        .await;
    visitor.expect_reset().await;
}

#[tokio::test]
async fn what_is_revoked_is_heard_of_although_nothing_tells_of_it() {
    let kept = Kept::in_postgres().await;
    let server = kept.server.as_ref().expect("a server");
    let wire = Wire::to(server.addr()).await;
    let service = local::echo().await;
    let local = service.addr().to_string();
    kept.ask(&["user", "create", "ann"]).await;
    let by_wire = ["--database".to_owned(), server.url_by(wire.addr())];
    let relay = Relay::of(Program::relay().args(by_wire)).await;
    const LISTEN: &str = "LISTEN \"sallyport_changes\"";
    let listener = || wire.on_which_was_said(LISTEN);
    eventually("the relay to listen", async || listener().is_some()).await;
    for name in ["a", "b", "c"] {
        let (token, id) = kept.token("ann", name, &[]).await;
        let mut client = client(&relay, &token, &["--tunnel", &format!("{name}={local}")]);
        let mut visitor = visit(client.live(name).await).await;
        match name {
            // As behind a balancer or a firewall that has forgotten the connection.
            "a" => wire.stall_one(listener().expect("a connection")),
            // And every other one on which the relay tries to listen.
            _ => wire.stall_whoever_says(LISTEN),
        }
        kept.ask(&["token", "revoke", &id]).await;
        visitor.expect_reset().await;
    }
}

#[tokio::test]
async fn a_server_is_reached_over_tls_if_it_is_the_one_that_is_trusted() {
    let kept = Kept::in_postgres().await;
    let server = kept.server.as_ref().expect("a server");
    let [trusted, other] = [Secured::new(), Secured::new()];
    server.require_tls(&trusted.authority.relay(&server.addr().ip().to_string())).await;
    let create = async |name: &str, mode: &str| {
        let url = format!("{}?{mode}", server.whole_url());
        let tool = Program::bare("relay").args(["user", "create", name]);
        let (status, _, log) = tool.env("RELAY_DATABASE", url).output().await;
        (status == Some(0), log)
    };
    let verified = |ca: &Path| format!("sslmode=verify-full&sslrootcert={}", ca.display());
    let (done, log) = create("ann", &verified(&trusted.ca)).await;
    assert!(done, "{log}");
    let (done, log) = create("bob", &verified(&other.ca)).await;
    assert!(!done && log.contains("certificate"), "{log}");
    let (done, log) = create("bob", "sslmode=disable").await;
    assert!(!done && log.contains("no encryption"), "{log}");
    // By default whatever the server offers.
    assert_eq!(kept.json(&["user", "list"]).await[0]["name"], "ann");
}
