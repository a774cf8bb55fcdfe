//! Records that the relay makes by itself, at a real name server that wants them signed.

use std::path::Path;

use hickory_resolver::proto::rr::RecordType;
use tests::process::{Program, Relay};
use tests::{Folder, NameServer, eventually};

use super::domains::Place;

/// The settings of a relay that makes records at this name server.
fn zone(dns: &NameServer, key: &Path) -> Vec<String> {
    let (server, key) = (dns.addr(), key.display());
    ["--domain=tunnel.test".into(), format!("--dns-update={server}")]
        .into_iter()
        .chain([format!("--dns-update-key-file={key}"), "--dns-update-zone=tunnel.test".into()])
        .collect()
}

async fn addresses(dns: &NameServer, name: &str) -> [Vec<String>; 2] {
    [dns.look_up(name, RecordType::A).await, dns.look_up(name, RecordType::AAAA).await]
}

#[tokio::test]
async fn all_subdomains_lead_to_the_relays_addresses_and_to_no_others() {
    let dns = NameServer::start().await;
    dns.add("*.tunnel.test A 192.0.2.99").await;
    let folder = Folder::new();
    let settings = |addresses: &str| {
        format!(
            "domain = \"tunnel.test\"\ndns-update = \"{}\"\ndns-update-key-file = \"{}\"\n\
             dns-address = \"{addresses}\"\n",
            dns.addr(),
            dns.key_file().display()
        )
    };
    let file = folder.write("relay.toml", &settings("192.0.2.1,2001:db8::1"));
    let file = file.display().to_string();
    let relay = Relay::start(&["--config", &file]).await;
    relay.logged("the name leads to --dns-address").await;
    let leads = addresses(&dns, "app.tunnel.test").await;
    assert_eq!(leads, [vec!["192.0.2.1".to_owned()], vec!["2001:db8::1".to_owned()]]);

    folder.replace("relay.toml", &settings("192.0.2.2,192.0.2.3"));
    eventually("the new addresses", async || {
        let [four, six] = addresses(&dns, "any.tunnel.test").await;
        four == ["192.0.2.2", "192.0.2.3"] && six.is_empty()
    })
    .await;
    for line in relay.stderr.so_far() {
        assert!(!line.contains(dns.secret()), "{line}");
    }
    let (status, printed, _) =
        Program::bare("relay").args(["check", "--config", &file]).output().await;
    assert_eq!(status, Some(0));
    assert!(
        printed.contains("# dns-update-key-file is (secret ") && !printed.contains(dns.secret())
    );
}

#[tokio::test]
async fn a_key_that_the_name_server_does_not_take_changes_nothing_and_is_named() {
    let dns = NameServer::start().await;
    for (key, says) in [
        (dns.wrong_key_file(), "knows another secret by the name of the key"),
        (dns.unknown_key_file(), "does not know the key"),
    ] {
        let relay = Program::relay().args(zone(&dns, &key)).args(["--dns-address", "192.0.2.1"]);
        let relay = Relay::of(relay).await;
        let warned = relay.logged("does not lead to --dns-address").await;
        assert!(warned["message"].as_str().expect("a text").contains(says), "{warned}");
        let scrape = tests::scrape::scrape(relay.admin).await;
        let failed = scrape.value("relay_dns_updates_total{outcome=\"failed\"}");
        assert!(failed >= Some(1.0));
    }
    assert_eq!(addresses(&dns, "app.tunnel.test").await, [const { Vec::<String>::new() }; 2]);
}

#[tokio::test]
async fn a_name_server_that_comes_later_gets_the_records_then() {
    let dns = NameServer::start().await;
    dns.stop().await;
    let relay = Program::relay().args(zone(&dns, &dns.key_file()));
    let relay = Relay::of(relay.args(["--dns-address", "192.0.2.1"])).await;
    relay.logged("does not lead to --dns-address").await;
    dns.start_again().await;
    relay.logged("the name leads to --dns-address").await;
    assert_eq!(addresses(&dns, "app.tunnel.test").await[0], ["192.0.2.1"]);
}

#[tokio::test]
async fn a_proof_in_the_relays_zone_is_made_and_taken_away_by_the_tools() {
    let place = Place::new().await;
    let (server, key) = (place.dns.addr().to_string(), place.dns.key_file());
    let tool = |args: &[&str]| {
        let tool = place.tool(args).env("RELAY_DNS_UPDATE", &server);
        let tool = tool.env("RELAY_DNS_UPDATE_KEY_FILE", &key);
        tool.env("RELAY_DNS_UPDATE_ZONE", "example.test")
    };
    let text = "_sallyport.app.example.test";
    place.dns.add(&format!("{text} TXT \"somebody else's\"")).await;
    let add = ["add", "app.example.test", "--user", "ann", "--make-record"];
    let (status, _, said) = tool(&add).output().await;
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(place.dns.look_up(text, RecordType::TXT).await.len(), 2);
    let (status, _, said) = tool(&["verify", "app.example.test"]).output().await;
    assert_eq!(status, Some(0), "{said}");
    let (status, _, said) = tool(&["remove", "app.example.test"]).output().await;
    assert_eq!((status, said.as_str()), (Some(0), ""));
    assert_eq!(place.dns.look_up(text, RecordType::TXT).await, ["somebody else's"]);

    let (status, _, said) =
        tool(&["add", "app.example.org", "--user", "ann", "--make-record"]).output().await;
    assert_eq!(status, Some(1));
    assert!(said.contains("is not in the zone example.test"), "{said}");
    let none = place.complaint(&add).await;
    assert!(none.contains("see --dns-update and --dns-hook"), "{none}");
    let wrong = tool(&add).env("RELAY_DNS_UPDATE_KEY_FILE", place.dns.wrong_key_file());
    let (status, _, said) = wrong.output().await;
    assert_eq!(status, Some(1));
    assert!(said.contains("another secret") && !said.contains(place.dns.secret()), "{said}");
    // It is not in charge of this one, and says so with its signature.
    let elsewhere = tool(&["add", "app.example.org", "--user", "ann", "--make-record"]);
    let (status, _, said) = elsewhere.env("RELAY_DNS_UPDATE_ZONE", "example.org").output().await;
    assert_eq!(status, Some(1));
    assert!(said.contains("not in charge of the zone"), "{said}");
}
