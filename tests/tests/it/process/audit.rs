//! The audit log in a file of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tests::process::{Program, Relay, Signal, visit};
use tests::{Folder, eventually, local, scrape};

use super::kept::{Kept, client};

const SECRET: &str = "correct horse battery staple";

/// The lines of a file so far, the last of which may be on its way.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits for a line in a file.
async fn line(path: &Path, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    eventually(&format!("the audit log to say: {what}"), async || {
        found = lines(path).into_iter().find(|line| holds(line));
        found.is_some()
    })
    .await;
    found.expect("a line")
}

#[tokio::test]
async fn who_came_and_who_had_to_go_is_in_the_file_whatever_the_log_leaves_out() {
    let kept = Kept::in_a_file();
    kept.ask(&["user", "create", "ann"]).await;
    let (token, id) = kept.token("ann", "laptop", &[]).await;
    let path = kept.folder.file("audit.log");
    let start = || {
        let program = Program::relay().args(kept.args()).args(["--log", "relay=info"]);
        Relay::of(program.args(["--audit-log"]).args([&path]))
    };
    let mut relay = start().await;
    let service = local::echo().await;
    let local = ["--local", &service.addr().to_string()];
    let mut ann = client(&relay, &token, &local);
    ann.event("live").await;
    client(&relay, SECRET, &local).exit().await;
    kept.ask(&["token", "revoke", &id]).await;
    ann.exit().await;

    let admitted = line(&path, "admitted", |line| line["event"] == "admitted").await;
    assert_eq!((&admitted["owner"], &admitted["token"]), (&"ann".into(), &id.as_str().into()));
    let refused = line(&path, "refused", |line| line["event"] == "refused").await;
    for line in [&admitted, &refused] {
        assert!(line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")));
        assert!(line["timestamp"].is_string());
    }
    let revoked = line(&path, "revoked", |line| line["event"] == "revoked").await;
    assert_eq!(revoked["session"], admitted["session"]);
    line(&path, "changed", |line| line["event"] == "changed" && line["token"] == id.as_str()).await;
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let has_audit = |line: &Value| line["target"] == "audit";
    assert!(!relay.stderr.as_json().iter().any(has_audit), "the log leaves it out");

    // The next one goes on behind it, and the end is waited for.
    relay.signal(Signal::TERM);
    relay.exit().await;
    let before = lines(&path);
    assert!(before.iter().all(has_audit), "{before:?}");
    let mut relay = start().await;
    client(&relay, SECRET, &local).exit().await;
    relay.signal(Signal::TERM);
    relay.exit().await;
    let after = lines(&path);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.last().expect("a line")["event"], "refused");
    assert!(!fs::read_to_string(&path).expect("the file").contains(&token[6..40]));
}

#[tokio::test]
async fn the_log_has_the_same_lines_and_the_file_has_no_others() {
    let folder = Folder::new();
    let path = folder.file("audit.log");
    let program = Program::relay().env("RELAY_TOKEN", SECRET).env("RELAY_AUDIT_LOG", &path);
    let relay = Relay::of(program.args(["--log", "debug"])).await;
    let service = local::echo().await;
    let mut client = client(&relay, SECRET, &["--local", &service.addr().to_string()]);
    client.event("live").await;
    visit(relay.public).await;
    relay.visit_over("completed").await;
    let in_log = relay.logged_where("admitted", |line| line["event"] == "admitted").await;
    let in_file = line(&path, "admitted", |line| line["event"] == "admitted").await;
    for key in ["message", "owner", "token", "client", "session", "target"] {
        assert_eq!(in_log[key], in_file[key], "{key}");
    }
    assert!(lines(&path).iter().all(|line| line["target"] == "audit"));
}

#[tokio::test]
async fn a_file_that_was_moved_away_begins_anew_at_a_signal_and_no_line_is_lost() {
    let folder = Folder::new();
    let (path, moved) = (folder.file("audit.log"), folder.file("audit.log.1"));
    let program = Program::relay().env("RELAY_TOKEN", SECRET).env("RELAY_AUDIT_LOG", &path);
    let relay = Relay::of(program).await;
    let service = local::echo().await;
    let local = ["--local", &service.addr().to_string()];
    let refused = async |path: &Path, count: usize| {
        client(&relay, "another secret altogether", &local).exit().await;
        eventually(&format!("{count} lines in {}", path.display()), async || {
            lines(path).len() == count
        })
        .await;
    };
    refused(&path, 1).await;
    fs::rename(&path, &moved).expect("a file");
    refused(&moved, 2).await;
    relay.signal(Signal::HUP);
    relay.logged("the audit log goes on in").await;
    refused(&path, 1).await;
    assert_eq!(lines(&moved).len(), 2);

    // Where it cannot be opened it stays where it was.
    fs::rename(&path, folder.file("audit.log.2")).expect("a file");
    fs::create_dir(&path).expect("a folder");
    relay.signal(Signal::HUP);
    relay.logged("the audit log goes on where it was: cannot open").await;
    refused(&folder.file("audit.log.2"), 2).await;
}

/// A pipe takes the place of the file for a moment, as by a mistake.
#[tokio::test]
async fn a_pipe_in_the_place_of_the_audit_log_is_told_and_the_next_file_is_taken() {
    let folder = Folder::new();
    let path = folder.file("audit.log");
    folder.pipe("audit.log");
    let program = || Program::relay().env("RELAY_TOKEN", SECRET).env("RELAY_AUDIT_LOG", &path);
    let (status, _, said) = program().output().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("--audit-log: ") && said.contains("nobody reads it"), "{said}");

    fs::remove_file(&path).expect("a pipe");
    let relay = Relay::of(program()).await;
    fs::remove_file(&path).expect("a file");
    folder.pipe("audit.log");
    relay.signal(Signal::HUP);
    relay.logged("the audit log goes on where it was: cannot open").await;
    fs::remove_file(&path).expect("a pipe");
    relay.signal(Signal::HUP);
    relay.logged("the audit log goes on in").await;
    client(&relay, "another secret altogether", &[]).exit().await;
    line(&path, "refused", |line| line["event"] == "refused").await;
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_is_an_error_and_a_full_disk_stops_nobody_and_is_told() {
    let folder = Folder::new();
    let nowhere = folder.file("not-there/audit.log");
    let program = Program::relay().args(["--audit-log"]).args([&nowhere]);
    let (status, _, said) = program.output().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("--audit-log: ") && said.contains("not-there"), "{said}");

    let relay = Relay::start(&["--audit-log", "/dev/full"]).await;
    let service = local::echo().await;
    let mut client = client(&relay, SECRET, &["--local", &service.addr().to_string()]);
    client.exit().await;
    relay.logged("the audit log cannot be written: No space left on device").await;
    scrape::shows(relay.admin, "the line to be counted", |scrape| {
        scrape.value("relay_log_lines_dropped_total") == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn another_file_for_the_audit_log_counts_from_the_next_start() {
    let folder = Folder::new();
    let first = format!("audit-log = \"{}\"\n", folder.file("first").display());
    let config = folder.write("relay.toml", &first);
    let relay = Relay::of(Program::relay().args(["--config"]).args([&config])).await;
    let other = format!("audit-log = \"{}\"\n", folder.file("other").display());
    folder.replace("relay.toml", &other);
    let said = relay.logged("the configuration changes at the next start: ~ audit-log").await;
    assert!(said["message"].as_str().is_some_and(|said| said.ends_with("/other")), "{said}");
    assert!(folder.file("first").exists() && !folder.file("other").exists());
}
