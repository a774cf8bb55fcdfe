//! Certificates for domains that have to be proven: also at the moment of each order.

use relay::CertificateSettings;
use tests::acme::{Certified, Pebble};

use super::domains::Place;

#[tokio::test]
async fn a_domain_whose_proof_is_gone_is_not_renewed_and_holds_up_no_other() {
    let (pebble, place) = (Pebble::start().await, Place::new().await);
    for domain in ["gone.example.test", "good.example.test"] {
        place.proven("ann", domain).await;
    }
    let start = async || {
        Certified::start_with(pebble.host(), |settings| {
            settings.data = Some(place.kept.folder.file("data"));
            settings.domains.any_host = false;
            settings.domains.resolver = Some(place.dns.addr());
            settings.certificates = CertificateSettings { folder: None, acme: pebble.settings() };
        })
        .await
    };
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
    relay.counts("failed", 1).await;
    let _good = relay.certs.want("good.example.test".parse().expect("a domain"));
    relay.serves(&visitors, "good.example.test").await;
    assert_eq!(pebble.orders(), 2, "one for each, and none without a proof");
    assert_eq!(relay.shown(&visitors, "gone.example.test").await, Some(first));
    relay.stop().await;
}
