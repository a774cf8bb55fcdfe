//! A relay that orders certificates, as an operator runs it.

use std::fs;

use tests::acme::Pebble;
use tests::process::{Program, Signal};
use tests::{Authority, Folder, eventually};

/// The key of an account that the operator has with the authority.
const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

#[tokio::test]
async fn certificates_are_ordered_by_flags_and_no_key_is_in_any_log_nor_before_the_dns_program() {
    let external = |settings: &mut serde_json::Value| {
        settings["externalAccountBindingRequired"] = true.into();
        settings["externalAccountMACKeys"] = serde_json::json!({ "kid-1": KEY });
    };
    let (pebble, folder) = (Pebble::start_with(external).await, Folder::new());
    let acme = pebble.settings();
    let hook = pebble.dns_hook();
    // Says what it sees of the relay's environment.
    let script = format!("#!/bin/bash\necho seen: ${{!RELAY_*}}\nexec {} \"$@\"\n", hook.display());
    let hook = folder.program("hook", &script);
    let path = |path: std::path::PathBuf| path.display().to_string();
    let mut relay = Program::relay()
        .env("PATH", "/usr/bin:/bin")
        .env("RELAY_LOG", "trace")
        .env("RELAY_ACME", "1")
        .env("RELAY_ACME_AGREE_TOS", "1")
        .args(["--data", &path(folder.file("data")), "--acme-directory", &acme.directory])
        .args(["--acme-ca", &path(acme.ca.expect("an authority"))])
        .args(["--acme-eab-kid", "kid-1", "--acme-eab-key-file"])
        .args([folder.write("eab", KEY)])
        .args(["--acme-wildcard", "t.example", "--dns-hook", &path(hook)])
        .start();
    relay.logged("a certificate for *.t.example is ordered by dns-01").await;
    relay.logged("add _acme-challenge.t.example: seen:").await;
    relay.logged("the certificate of *.t.example has been issued").await;
    relay.logged("remove _acme-challenge.t.example: seen:").await;
    relay.signal(Signal::TERM);
    assert!(relay.exit().await.success());

    let files = ["data/relay.db", "data/relay.db-wal"].map(|file| fs::read(folder.file(file)));
    let kept = files.map(|file| file.unwrap_or_default()).concat();
    let kept = String::from_utf8_lossy(&kept);
    assert!(kept.contains("key_pkcs8") && kept.contains("PRIVATE KEY"));
    for line in relay.stderr.so_far() {
        for secret in [KEY, "PRIVATE KEY", "key_pkcs8", "seen: RELAY"] {
            assert!(!line.contains(secret), "{secret}: {line}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_gone_is_said_once_and_followed_when_it_is_back() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let [there, away, log] = ["certs", "away", "access.log"].map(|name| folder.file(name));
    fs::create_dir(&there).expect("a folder");
    let show = |name: &str| {
        let pair = ["crt", "key"].map(|ending| format!("certs/{name}.{ending}"));
        authority.relay(&format!("{name}.t.example")).write(&folder, &pair[0], &pair[1]);
    };
    show("one");
    let relay = Program::relay()
        .args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--domain", "t.example"])
        .args([
            "--certs".as_ref(),
            there.as_os_str(),
            "--access-log-file".as_ref(),
            log.as_os_str(),
        ])
        .start();
    relay.logged("one.crt is shown for").await;
    fs::rename(&there, &away).expect("a folder");
    relay.logged("the certificates stay as they are").await;
    for _ in 0..3 {
        // It has been looked for once more when this is there again, and something beside it is new.
        fs::remove_file(&log).expect("a file");
        relay.signal(Signal::HUP);
        eventually("another log", async || log.exists()).await;
    }
    // Something else is wrong now.
    fs::write(&there, "").expect("a file");
    relay.signal(Signal::HUP);
    relay.logged("Not a directory").await;
    fs::remove_file(&there).expect("a file");
    fs::rename(&away, &there).expect("a folder");
    show("two");
    relay.logged("two.crt is shown for").await;
    let said = relay.stderr.so_far();
    let said: Vec<_> = said.iter().filter(|line| line.contains("stay as they are")).collect();
    // It may have been gone for another moment.
    assert!((2..=3).contains(&said.len()), "{said:#?}");
}
