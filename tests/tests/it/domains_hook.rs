//! Records that the relay has made by a program of the operator's, which knows a name server that
//! the relay does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hickory_resolver::proto::rr::RecordType;
use relay::{AcmeChallenge, AcmeSettings, CertificateSettings, DnsUpdate, TsigKey};
use tests::acme::{Certified, Pebble};
use tests::process::{Program, Relay};
use tests::{Folder, NameServer, eventually};

use super::domains::Place;

async fn addresses(dns: &NameServer, name: &str) -> [Vec<String>; 2] {
    [dns.look_up(name, RecordType::A).await, dns.look_up(name, RecordType::AAAA).await]
}

#[tokio::test]
async fn all_subdomains_lead_to_the_relays_addresses_by_a_program() {
    let (dns, folder) = (NameServer::start().await, Folder::new());
    dns.add("*.tunnel.test A 192.0.2.99").await;
    let hook = dns.hook().display().to_string();
    let settings = |addresses: &str| {
        format!("domain = \"tunnel.test\"\ndns-hook = \"{hook}\"\ndns-address = \"{addresses}\"\n")
    };
    let file = folder.write("relay.toml", &settings("192.0.2.1,2001:db8::1"));
    let relay = Relay::start(&["--config", &file.display().to_string()]).await;
    relay.logged("the name leads to --dns-address").await;
    let [four, six] = addresses(&dns, "app.tunnel.test").await;
    assert_eq!(four, ["192.0.2.1", "192.0.2.99"], "what somebody else has made stays");
    assert_eq!(six, ["2001:db8::1"]);

    folder.replace("relay.toml", &settings("192.0.2.1,192.0.2.2"));
    eventually("the new addresses", async || {
        let [four, six] = addresses(&dns, "any.tunnel.test").await;
        four == ["192.0.2.1", "192.0.2.2", "192.0.2.99"] && six.is_empty()
    })
    .await;
    let told = dns.hooked();
    assert_eq!(told[0], "add *.tunnel.test A 192.0.2.1");
    assert_eq!(told.last().expect("a change"), "remove *.tunnel.test AAAA 2001:db8::1");
}

/// A program of this script.
fn program(folder: &Folder, name: &str, script: &str) -> PathBuf {
    folder.program(name, &format!("#!/bin/sh\n{script}\n"))
}

#[tokio::test]
async fn what_a_program_has_made_before_it_failed_is_taken_away_as_well() {
    let folder = Folder::new();
    let log = folder.file("log").display().to_string();
    let hook = program(&folder, "hook", &format!("echo \"$@\" >>{log}\n[ \"$4\" != 192.0.2.2 ]"));
    let settings = |addresses: &str| {
        format!(
            "domain = \"tunnel.test\"\ndns-hook = \"{}\"\ndns-address = \"{addresses}\"\n",
            hook.display()
        )
    };
    let file = folder.write("relay.toml", &settings("192.0.2.1,192.0.2.2"));
    let relay = Relay::start(&["--config", &file.display().to_string()]).await;
    relay.logged("does not lead to --dns-address").await;
    folder.replace("relay.toml", &settings("192.0.2.3"));
    // It takes away the one that it has made, and tries the one that it may have made.
    eventually("the addresses of before to go", async || {
        let told = fs::read_to_string(&log).unwrap_or_default();
        ["add *.tunnel.test A 192.0.2.3", "remove *.tunnel.test A 192.0.2.1"]
            .iter()
            .all(|line| told.lines().any(|told| told == *line))
    })
    .await;
}

#[tokio::test]
async fn a_program_that_fails_is_named_with_what_it_says_and_does_not_see_the_relays_variables() {
    let folder = Folder::new();
    let script = "echo \"$# $1 $2 $3 $4\"\n\
        echo \"no $RELAY_DNS_HOOK$PGPASSWORD such zone\" >&2\nexit 3";
    let hook = program(&folder, "hook", script);
    let relay = Program::relay().env("RELAY_DNS_HOOK", hook.display().to_string());
    let relay = relay.args(["--domain", "tunnel.test", "--dns-address", "192.0.2.1"]);
    let relay = Relay::of(relay).await;
    relay.logged("4 add *.tunnel.test A 192.0.2.1").await;
    relay.logged("no  such zone").await;
    let warned = relay.logged("does not lead to --dns-address").await;
    let text = warned["message"].as_str().expect("a text");
    assert!(text.contains("add has failed: exit status: 3"), "{text}");
    let scrape = tests::scrape::scrape(relay.admin).await;
    assert!(scrape.value("relay_dns_updates_total{outcome=\"failed\"}") >= Some(1.0));
}

#[tokio::test]
async fn a_program_is_run_without_a_shell() {
    let (folder, place) = (Folder::new(), Place::new().await);
    let log = folder.file("log").display().to_string();
    let hook = program(&folder, "a hook;x", &format!("printf '%s|' \"$@\" >>{log}"));
    let tool = |args: &[&str]| place.tool(args).env("RELAY_DNS_HOOK", hook.display().to_string());
    let add = ["add", "app.example.test", "--user", "ann", "--make-record"];
    let (status, _, said) = tool(&add).output().await;
    assert_eq!(status, Some(0), "{said}");
    let code = place.code("ann", "app.example.test").await;
    let told = fs::read_to_string(&log).expect("what it was told");
    let expected = format!("add|_sallyport.app.example.test|TXT|sallyport-verify={code}|");
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_program_is_the_one_in_the_folder_where_the_relay_starts_and_has_to_be_one() {
    let (folder, place) = (Folder::new(), Place::new().await);
    // There is another one of this name in $PATH.
    let hook = program(&folder, "true", "echo it is this one; exit 3");
    let tool =
        |args: &[&str]| place.tool(args).env("RELAY_DNS_HOOK", "true").in_folder(folder.path());
    let add = ["add", "app.example.test", "--user", "ann", "--make-record"];
    let (status, _, said) = tool(&add).output().await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("{} add has failed", hook.display())), "{said}");

    for (mode, says) in [(0o600, "`chmod +x`"), (0o700, "")] {
        fs::set_permissions(&hook, fs::Permissions::from_mode(mode)).expect("a file");
        let check = Program::bare("relay").args(["check", "--dns-hook", "true"]);
        let (status, shown, said) = check.in_folder(folder.path()).output().await;
        assert_eq!(status, Some(if mode == 0o600 { 2 } else { 0 }), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(mode == 0o600 || shown.contains(&hook.display().to_string()), "{shown}");
    }
}

#[tokio::test]
async fn a_proof_is_made_and_taken_away_by_a_program() {
    let place = Place::new().await;
    let hook = place.dns.hook().display().to_string();
    let tool = |args: &[&str]| place.tool(args).env("RELAY_DNS_HOOK", &hook);
    let text = "_sallyport.app.example.test";
    place.dns.add(&format!("{text} TXT \"somebody else's\"")).await;
    let add = ["add", "app.example.test", "--user", "ann", "--make-record"];
    for args in [&add[..], &["verify", "app.example.test"]] {
        let (status, _, said) = tool(args).output().await;
        assert_eq!(status, Some(0), "{said}");
    }
    assert_eq!(place.dns.look_up(text, RecordType::TXT).await.len(), 2);
    let (status, _, said) = tool(&["remove", "app.example.test"]).output().await;
    assert_eq!((status, said.as_str()), (Some(0), ""));
    assert_eq!(place.dns.look_up(text, RecordType::TXT).await, ["somebody else's"]);
}

/// The zone of the relay's own domain.
fn zone(dns: &NameServer) -> DnsUpdate {
    let key = fs::read_to_string(dns.key_file()).expect("a key");
    DnsUpdate {
        server: dns.addr().to_string().parse().expect("an address"),
        key: TsigKey::parse(&key).expect("a key"),
        zone: "tunnel.test".parse().expect("a zone"),
    }
}

/// A relay that makes its records as `adjust` says, and an authority that looks for them at `dns`.
async fn issues(dns: &NameServer, adjust: impl FnOnce(&mut relay::Settings)) {
    let (pebble, data) = (Pebble::start_asking(dns.addr()).await, Folder::new());
    let acme = AcmeSettings {
        challenge: Some(AcmeChallenge::Dns01),
        wildcard: Some("tunnel.test".parse().expect("a domain")),
        ..pebble.settings()
    };
    let relay = Certified::start_with(pebble.host(), |settings| {
        settings.data = Some(data.file("data"));
        settings.certificates = CertificateSettings { folder: None, acme };
        settings.domains.resolver = Some(dns.addr());
        adjust(settings);
    });
    let relay = relay.await;
    let hosts = ["app.tunnel.test", "app.example.test"];
    let _wanted = hosts.map(|host| relay.certs.want(host.parse().expect("a host")));
    let visitors = pebble.visitors().await;
    for host in hosts {
        relay.serves(&visitors, host).await;
    }
    relay.stop().await;
    assert_eq!(pebble.orders(), 2);
    for name in ["tunnel.test", "app.example.test"] {
        let left = dns.look_up(&format!("_acme-challenge.{name}"), RecordType::TXT).await;
        assert_eq!(left, [""; 0], "what answered the authority is gone");
    }
}

#[tokio::test]
async fn certificates_are_ordered_by_records_that_a_program_makes() {
    let dns = NameServer::start().await;
    issues(&dns, |settings| settings.domains.hook = Some(dns.hook())).await;
    let told = dns.hooked();
    let of = |action: &str| told.iter().filter(|line| line.starts_with(action)).count();
    assert_eq!((of("add _acme-challenge."), of("remove _acme-challenge.")), (2, 2), "{told:?}");
}

#[tokio::test]
async fn certificates_are_ordered_by_records_in_a_zone_and_by_a_program_for_what_is_elsewhere() {
    let dns = NameServer::start().await;
    issues(&dns, |settings| {
        settings.domains.update = Some(zone(&dns));
        settings.domains.hook = Some(dns.hook());
    })
    .await;
    let told = dns.hooked();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.contains("_acme-challenge.app.example.test")), "{told:?}");
}

#[tokio::test]
async fn an_authority_is_not_asked_for_a_name_of_which_the_relay_makes_no_records() {
    let dns = NameServer::start().await;
    let (pebble, data) = (Pebble::start_asking(dns.addr()).await, Folder::new());
    let relay = Certified::start_with(pebble.host(), |settings| {
        let challenge = Some(AcmeChallenge::Dns01);
        let acme = AcmeSettings { challenge, ..pebble.settings() };
        settings.data = Some(data.file("data"));
        settings.certificates = CertificateSettings { folder: None, acme };
        settings.domains.resolver = Some(dns.addr());
        settings.domains.update = Some(zone(&dns));
    });
    let relay = relay.await;
    let hosts = ["app.example.test", "app.tunnel.test"];
    let _wanted = hosts.map(|host| relay.certs.want(host.parse().expect("a host")));
    relay.counts("not_placed", 1).await;
    relay.serves(&pebble.visitors().await, "app.tunnel.test").await;
    assert_eq!((pebble.orders(), relay.orders("failed").await), (1, 0));
    relay.stop().await;
}
