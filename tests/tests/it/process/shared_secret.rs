//! `--token-file` of a relay: a secret that changes while it runs.

use tests::process::{Program, Relay, Signal, visit};
use tests::{Folder, local};

use super::kept::client;

const FIRST: &str = "correct horse battery staple";
const SECOND: &str = "quite another secret";

#[tokio::test]
async fn another_secret_in_the_file_counts_at_the_next_signal_and_those_with_the_old_one_go() {
    let folder = Folder::new();
    let secret = folder.write("secret", FIRST).display().to_string();
    let config = folder.write("relay.toml", &format!("token-file = \"{secret}\"\n"));
    let relay = Relay::of(Program::relay().args(["--config"]).args([&config])).await;
    let service = local::echo().await;
    let local = ["--local", &service.addr().to_string()];
    let mut old = client(&relay, FIRST, &local);
    old.event("live").await;
    let mut visitor = visit(relay.public).await;

    // Half of a write, say: nothing changes.
    for bad in ["", "hunter2"] {
        folder.replace("secret", bad);
        relay.signal(Signal::HUP);
        let reason = if bad.is_empty() { "there is no token in it" } else { "can be guessed" };
        relay.logged(reason).await;
        visitor.expect_echo(b"still good").await;
    }

    folder.replace("secret", SECOND);
    relay.signal(Signal::HUP);
    visitor.expect_reset().await;
    assert_eq!(old.exit().await.code(), Some(1));
    old.logged("does not know this token").await;
    let mut new = client(&relay, SECOND, &local);
    new.event("live").await;
    visit(relay.public).await;
    let log = relay.stderr.so_far().concat();
    for secret in [FIRST, SECOND, "hunter2"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn without_a_configuration_file_the_secret_stays_what_it_was_at_the_start() {
    let folder = Folder::new();
    let secret = folder.write("secret", FIRST).display().to_string();
    let relay = Relay::start(&["--token-file", &secret]).await;
    let service = local::echo().await;
    let local = ["--local", &service.addr().to_string()];
    folder.replace("secret", SECOND);
    relay.signal(Signal::HUP);
    relay.logged("there is no configuration file to read again").await;
    let mut client = client(&relay, FIRST, &local);
    client.event("live").await;
    visit(relay.public).await;
}
