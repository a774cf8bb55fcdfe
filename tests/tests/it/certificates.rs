//! Certificates that the relay orders from an authority, and what visitors see of them.

use std::net::Ipv4Addr;

use relay::{AcmeChallenge, AcmeSettings, CertificateSettings, Wanted};
use shared::token::Hidden;
use tests::acme::{Certified, Pebble};
use tests::postgres::Postgres;
use tests::process::own_host;
use tests::{Folder, eventually};

fn want(relay: &Certified, host: &str) -> Wanted {
    relay.certs.want(host.parse().expect("the name of a host"))
}

fn by(challenge: AcmeChallenge, pebble: &Pebble) -> AcmeSettings {
    AcmeSettings { challenge: Some(challenge), ..pebble.settings() }
}

const HOST: &str = "app.t.example";

/// The series of its certificate.
const EXPIRY: &str = "relay_certificate_expiry_timestamp_seconds{name=\"app.t.example\"}";

#[tokio::test]
async fn a_host_has_a_certificate_soon_and_a_relay_that_starts_again_asks_for_none() {
    for challenge in [AcmeChallenge::Http01, AcmeChallenge::TlsAlpn01] {
        let (pebble, data) = (Pebble::start().await, Folder::new());
        let visitors = pebble.visitors().await;
        let relay = Certified::start(&pebble, by(challenge, &pebble), &data).await;
        assert!(relay.shown(&visitors, HOST).await.is_none());
        let wanted = want(&relay, HOST);
        let first = relay.serves(&visitors, HOST).await;
        relay.counts("issued", 1).await;
        let expires = relay.metrics().await.value(EXPIRY).expect("when it expires");
        assert!(expires > 1_700_000_000.0, "{expires}");
        drop(wanted);
        assert_eq!(relay.metrics().await.value(EXPIRY), None);
        assert_eq!(relay.shown(&visitors, HOST).await, Some(first.clone()), "it stays");
        relay.stop().await;

        // Nobody is there whom it could ask.
        pebble.stop().await;
        let relay = Certified::start(&pebble, by(challenge, &pebble), &data).await;
        let _wanted = want(&relay, HOST);
        assert_eq!(relay.shown(&visitors, HOST).await, Some(first));
        relay.stop().await;
    }
}

#[tokio::test]
async fn one_certificate_is_ordered_by_the_dns_for_all_hosts_right_below_a_domain() {
    let (pebble, data) = (Pebble::start().await, Folder::new());
    let visitors = pebble.visitors().await;
    let settings = AcmeSettings {
        wildcard: Some("t.example".parse().expect("a domain")),
        ..pebble.settings()
    };
    let relay = Certified::start_with_hook(&pebble, settings, &data).await;
    let _wanted = [HOST, "b.t.example"].map(|host| want(&relay, host));
    let shown = relay.serves(&visitors, HOST).await;
    assert_eq!(relay.shown(&visitors, "b.t.example").await, Some(shown));
    assert!(relay.shown(&visitors, "deep.b.t.example").await.is_none());
    let record = "_acme-challenge.t.example TXT";
    assert_eq!(pebble.hooked(), [format!("add {record}"), format!("remove {record}")]);
    relay.counts("issued", 1).await;
    relay.stop().await;
    assert_eq!(pebble.orders(), 1);
}

#[tokio::test]
async fn one_host_is_shown_by_the_dns_if_somebody_wants_it_so() {
    let (pebble, data) = (Pebble::start().await, Folder::new());
    let settings = by(AcmeChallenge::Dns01, &pebble);
    let relay = Certified::start_with_hook(&pebble, settings, &data).await;
    let _wanted = want(&relay, HOST);
    relay.serves(&pebble.visitors().await, HOST).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_expires_and_visitors_never_go_without() {
    let short = |settings: &mut serde_json::Value| {
        settings["profiles"] =
            serde_json::json!({ "default": { "description": "short", "validityPeriod": 15 } });
    };
    let (pebble, data) = (Pebble::start_with(short).await, Folder::new());
    let visitors = pebble.visitors().await;
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let _wanted = want(&relay, HOST);
    let first = relay.serves(&visitors, HOST).await;
    let mut seen = first.clone();
    eventually("another certificate", async || {
        seen = relay.shown(&visitors, HOST).await.expect("a certificate that is good");
        seen != first
    })
    .await;
    relay.counts("issued", 2).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_when_the_authority_wants_it_and_only_then() {
    let (pebble, data) = (Pebble::start().await, Folder::new());
    let visitors = pebble.visitors().await;
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let wanted = want(&relay, HOST);
    let first = relay.serves(&visitors, HOST).await;
    pebble.wants_renewed(&first).await;
    drop(wanted);
    relay.stop().await;

    // It asks when it starts.
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let _wanted = want(&relay, HOST);
    relay.serves_another(&visitors, HOST, Some(&first)).await;
    relay.counts("issued", 1).await;
    assert_eq!(pebble.orders(), 2);
    relay.stop().await;
}

#[tokio::test]
async fn what_the_authority_refuses_is_not_asked_for_again_soon_and_others_are_served() {
    let blocked = |settings: &mut serde_json::Value| {
        settings["domainBlocklist"] = serde_json::json!(["blocked.example"]);
    };
    let (pebble, data) = (Pebble::start_with(blocked).await, Folder::new());
    // Nobody answers there.
    pebble.lead("elsewhere.example", Ipv4Addr::new(127, 255, 255, 1)).await;
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let _wanted = ["blocked.example", "elsewhere.example", HOST].map(|host| want(&relay, host));
    relay.serves(&pebble.visitors().await, HOST).await;
    relay.counts("failed", 2).await;
    relay.stop().await;

    let orders = pebble.orders();
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let refused = ["blocked.example", "elsewhere.example"].map(|host| want(&relay, host));
    // Whatever is to be ordered of those before it has been begun before this one is here.
    let _later = want(&relay, "later.example");
    relay.serves(&pebble.visitors().await, "later.example").await;
    assert_eq!((pebble.orders(), relay.orders("failed").await), (orders + 1, 0));
    drop(refused);
    relay.stop().await;
}

#[tokio::test]
async fn an_authority_that_is_away_is_tried_again_and_uses_up_nothing() {
    let (pebble, data) = (Pebble::start().await, Folder::new());
    pebble.stop().await;
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let _wanted = want(&relay, HOST);
    relay.counts("not_reached", 1).await;
    relay.stop().await;

    // A relay that starts again has not to wait for what was no fault of the name.
    pebble.start_again().await;
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let _wanted = want(&relay, HOST);
    relay.serves(&pebble.visitors().await, HOST).await;
    relay.stop().await;
}

#[tokio::test]
async fn an_authority_that_has_forgotten_the_account_gets_another_one() {
    let (pebble, data) = (Pebble::start().await, Folder::new());
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let _wanted = want(&relay, HOST);
    relay.serves(&pebble.visitors().await, HOST).await;
    pebble.stop().await;
    pebble.start_again().await;
    let _another = want(&relay, "b.t.example");
    relay.serves(&pebble.visitors().await, "b.t.example").await;
    relay.stop().await;
}

#[tokio::test]
async fn a_flood_of_names_comes_to_the_relays_own_limit_and_not_to_the_authoritys() {
    let (pebble, data) = (Pebble::start().await, Folder::new());
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    let _wanted: Vec<_> = (0..25).map(|i| want(&relay, &format!("n{i}.t.example"))).collect();
    relay.counts("issued", 20).await;
    relay.counts("put_off", 5).await;
    assert_eq!(pebble.orders(), 20);
    relay.stop().await;
}

#[tokio::test]
async fn a_visitor_of_a_host_that_nobody_wants_causes_no_order() {
    let (pebble, data) = (Pebble::start().await, Folder::new());
    let visitors = pebble.visitors().await;
    let relay = Certified::start(&pebble, pebble.settings(), &data).await;
    for host in [HOST, "other.example", "t.example"] {
        assert!(relay.shown(&visitors, host).await.is_none());
        assert!(!relay.certs.has(host));
    }
    assert_eq!(relay.certs.http01("token"), None);
    let _wanted = want(&relay, HOST);
    relay.serves(&visitors, HOST).await;
    assert_eq!(pebble.orders(), 1);
    relay.stop().await;
}

#[tokio::test]
async fn an_account_that_the_operator_has_with_the_authority_is_used() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let external = |settings: &mut serde_json::Value| {
        settings["externalAccountBindingRequired"] = true.into();
        settings["externalAccountMACKeys"] = serde_json::json!({ "kid-1": key });
    };
    let (pebble, data) = (Pebble::start_with(external).await, Folder::new());
    let (kid, key_file) = ("kid-1".into(), data.write("eab", &format!("{key}\n")));
    let external = Some(relay::ExternalAccount { kid, key_file });
    let settings = AcmeSettings { external, ..pebble.settings() };
    let relay = Certified::start(&pebble, settings, &data).await;
    let _wanted = want(&relay, HOST);
    relay.serves(&pebble.visitors().await, HOST).await;
    relay.stop().await;
}

#[tokio::test]
async fn relays_that_share_a_database_order_a_certificate_once() {
    let (pebble, database) = (Pebble::start().await, Postgres::start().await);
    let visitors = pebble.visitors().await;
    let start = async |host| {
        let relay = Certified::start_with(host, |settings| {
            settings.database = Some(Hidden(database.whole_url()));
            settings.certificates = CertificateSettings { folder: None, acme: pebble.settings() };
        });
        relay.await
    };
    let (one, other) = (start(pebble.host()).await, start(own_host()).await);
    let _wanted = want(&one, HOST);
    let first = one.serves(&visitors, HOST).await;
    one.counts("issued", 1).await;
    let _wanted_too = want(&other, HOST);
    assert_eq!(other.serves(&visitors, HOST).await, first);
    assert_eq!(pebble.orders(), 1);
    for relay in [one, other] {
        relay.stop().await;
    }
}
