//! Certificates for domains that have to be proven: also at the moment of each order.

use relay::{CertificateSettings, Wanted};
use tests::acme::{Certified, Pebble};

use super::domains::Place;

/// A relay that orders certificates for what is proven here.
async fn relay(pebble: &Pebble, place: &Place) -> Certified {
    Certified::start_with(pebble.host(), |settings| {
        settings.data = Some(place.kept.folder.file("data"));
        settings.domains.any_host = false;
        settings.domains.resolver = Some(place.dns.addr());
        settings.certificates = CertificateSettings { folder: None, acme: pebble.settings() };
    })
    .await
}

fn want(relay: &Certified, host: &str) -> Wanted {
    relay.certs.want(host.parse().expect("a domain"))
}

#[tokio::test]
async fn a_domain_whose_proof_is_gone_is_not_renewed_and_holds_up_no_other() {
    let (pebble, place) = (Pebble::start().await, Place::new().await);
    for domain in ["gone.example.test", "good.example.test"] {
        place.proven("ann", domain).await;
    }
    let start = async || relay(&pebble, &place).await;
    let visitors = pebble.visitors().await;
    let relay = start().await;
    let wanted = relay.certs.want("gone.example.test".parse().expect("a domain"));
    let first = relay.serves(&visitors, "gone.example.test").await;
    drop(wanted);
    relay.stop().await;

    pebble.wants_renewed(&first).await;
    place.dns.remove("_sallyport.gone.example.test", "TXT").await;
    // It asks the authority when it starts.
    let relay = start().await;
    let _gone = relay.certs.want("gone.example.test".parse().expect("a domain"));
    relay.counts("not_placed", 1).await;
    let _good = relay.certs.want("good.example.test".parse().expect("a domain"));
    relay.serves(&visitors, "good.example.test").await;
    assert_eq!(pebble.orders(), 2, "one for each, and none without a proof");
    assert_eq!(relay.shown(&visitors, "gone.example.test").await, Some(first));
    relay.stop().await;
}

#[tokio::test]
async fn names_that_nobody_has_proven_leave_others_all_that_may_be_ordered() {
    let (pebble, place) = (Pebble::start().await, Place::new().await);
    place.proven("ann", "good.example.test").await;
    let relay = relay(&pebble, &place).await;
    // More than may be ordered.
    let _unproven: Vec<_> = (0..31).map(|i| want(&relay, &format!("n{i}.example.test"))).collect();
    relay.counts("not_placed", 31).await;
    let _good = want(&relay, "good.example.test");
    relay.serves(&pebble.visitors().await, "good.example.test").await;
    assert_eq!((pebble.orders(), relay.orders("put_off").await), (1, 0));
    relay.stop().await;
}

#[tokio::test]
async fn name_servers_that_are_away_are_not_held_against_a_domain() {
    let (pebble, place) = (Pebble::start().await, Place::new().await);
    place.proven("ann", "good.example.test").await;
    place.dns.stop().await;
    let first = relay(&pebble, &place).await;
    let wanted = want(&first, "good.example.test");
    first.counts("not_placed", 1).await;
    drop(wanted);
    first.stop().await;

    // A relay that starts again has not to wait for what was no fault of the name.
    place.dns.start_again().await;
    let second = relay(&pebble, &place).await;
    let _wanted = want(&second, "good.example.test");
    second.serves(&pebble.visitors().await, "good.example.test").await;
    assert_eq!((pebble.orders(), second.orders("not_placed").await), (1, 0));
    second.stop().await;
}
