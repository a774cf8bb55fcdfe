//! A relay that orders certificates, as an operator runs it.

use std::fs;

use tests::Folder;
use tests::acme::Pebble;
use tests::process::{Program, Signal};

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
