//! Bans as an operator deals with them: at the command line, and by a program that watches the log.

use std::path::Path;
use std::process::Command;

use tests::Peer;
use tests::process::{Program, Relay};
use tests::scrape::shows;

/// The same as flags.
const BAN: [&str; 4] = ["--ban", "2/1m for 10m", "--deny", "127.0.0.2,2001:db8::/32"];

/// Has 127.0.0.2 banned by the relay.
async fn banned(relay: &Relay) {
    for _ in 0..2 {
        Peer::connect_from([127, 0, 0, 2], relay.public).await.expect_reset().await;
    }
    shows(relay.admin, "a ban", |m| m.value("relay_bans") == Some(1.0)).await;
}

/// What fails2ban's own test of filters makes of a line of the log.
fn watched(line: &str) -> String {
    let filter =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/fail2ban/filter.d/sallyport.conf");
    let output = Command::new("fail2ban-regex")
        .args(["--print-all-matched", line])
        .arg(filter)
        .output()
        .expect("fail2ban-regex, which `make test-programs` installs");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn bans_are_listed_and_lifted_at_the_command_line() {
    let relay = Relay::start(&BAN).await;
    banned(&relay).await;
    let admin = relay.admin.to_string();
    let ask = async |args: &[&str]| {
        let program = Program::bare("relay").args(["ban"]).args(args);
        program.args(["--admin", &admin]).output().await
    };
    let (status, list, _) = ask(&["list"]).await;
    assert_eq!(status, Some(0));
    let (source, left) = list.split_once(' ').expect("a source and a time");
    assert!(source == "127.0.0.2" && (left.starts_with("9m") || left == "10m"), "{list}");

    let lifted = "the ban of 127.0.0.2 is lifted".to_owned();
    assert_eq!(ask(&["lift", "127.0.0.2"]).await, (Some(0), lifted, String::new()));
    assert_eq!(ask(&["list"]).await, (Some(0), String::new(), String::new()));
    let (status, _, why) = ask(&["lift", "127.0.0.2"]).await;
    assert_eq!((status, &*why), (Some(1), "127.0.0.2 is not banned"));
    assert_eq!(ask(&["lift", "nobody"]).await.0, Some(2));
}

#[tokio::test]
async fn whoever_asks_for_bans_where_no_relay_runs_is_told_so() {
    let nobody = tests::local::nobody().await.to_string();
    let program = Program::bare("relay").args(["ban", "list", "--admin", &nobody]);
    let (status, _, why) = program.output().await;
    assert_eq!(status, Some(1));
    assert!(why.contains(&format!("cannot ask the relay at {nobody}")), "{why}");
}

#[tokio::test]
async fn a_ban_is_a_line_that_fail2ban_understands_and_nobody_can_forge() {
    let relay = Relay::start(&BAN).await;
    banned(&relay).await;
    let told = relay.logged("banned 127.0.0.2 for 10m: 2 refused within 1m").await;
    assert_eq!(told["level"], "WARN");
    let lines = relay.stderr.so_far();
    let json = lines.iter().find(|line| line.contains("banned 127.0.0.2")).expect("the line");
    let text = json.split('"').nth(3).expect("a time").to_owned()
        + "  WARN relay::limits: banned 2001:db8:1:2::/64 for 10m: 20 refused within 1m30s";
    for line in [json, &text] {
        let report = watched(line);
        assert!(report.contains("1 matched, 0 missed"), "{line}\n{report}");
    }
    let forged = text.replace("relay::limits: ", "relay::session: agent=relay::limits: ");
    let report = watched(&forged);
    assert!(report.contains("0 matched, 1 missed"), "{forged}\n{report}");
}

#[tokio::test]
async fn a_ban_in_text_is_the_same_sentence() {
    let program = Program::relay().args(BAN);
    // Where the ports are is said in text too.
    let process = program.env("RELAY_LOG_FORMAT", "text").start();
    let ready = |line: &str| {
        let (_, rest) = line.split_once("public=")?;
        rest.split(' ').next()?.parse().ok()
    };
    let (_, public) = process.stderr.find("where visitors come in", 0, ready).await;
    for _ in 0..2 {
        Peer::connect_from([127, 0, 0, 2], public).await.expect_reset().await;
    }
    let banned = |line: &str| line.contains("banned").then(|| line.to_owned());
    let (_, line) = process.stderr.find("a ban", 0, banned).await;
    assert!(watched(&line).contains("1 matched, 0 missed"), "{line}");
}
