//! What a relay that runs does about domains: it looks their proofs up again, and hears of what
//! others change.

use serde_json::Value;
use tests::eventually;
use tests::kept::Kept;
use tests::process::Relay;
use tests::scrape::shows;

use super::domains::Place;

/// A relay that looks at proofs all the time.
async fn watching(place: &Place, grace: &str) -> Relay {
    place.relay(&["--domain-recheck", "50ms", "--domain-grace", grace]).await
}

/// Waits for a line of the audit log about a domain.
async fn event(relay: &Relay, event: &str, domain: &str) -> Value {
    let what = format!("{event} of {domain}");
    relay.logged_where(&what, |line| line["event"] == event && line["domain"] == domain).await
}

#[tokio::test]
async fn a_domain_whose_proof_is_gone_is_its_owners_for_a_while_and_then_no_longer() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let code = place.proven("ann", "app.example.test").await;
        let relay = watching(&place, "1h").await;
        place.dns.remove("_sallyport.app.example.test", "TXT").await;
        assert_eq!(event(&relay, "missing", "app.example.test").await["owner"], "ann");
        let warned = relay.logged("the proof of the host name is gone").await;
        assert!(warned["message"].as_str().expect("a text").contains("in 1h"), "{warned}");
        assert_eq!(place.states().await, ["app.example.test ann missing"]);

        place.add_text("app.example.test", &code).await;
        event(&relay, "found", "app.example.test").await;
        assert_eq!(place.states().await, ["app.example.test ann proven"]);
        drop(relay);

        let relay = watching(&place, "0s").await;
        place.dns.remove("_sallyport.app.example.test", "TXT").await;
        event(&relay, "lost", "app.example.test").await;
        relay.logged("its owner's no longer").await;
        assert_eq!(place.states().await, ["app.example.test ann pending"]);
        let proofs = "relay_host_proofs_total{outcome=\"missing\"}";
        shows(relay.admin, "a look in vain", |m| m.value(proofs) >= Some(1.0)).await;
    }
}

#[tokio::test]
async fn a_name_server_that_is_away_takes_no_domain_from_anybody() {
    let place = Place::new().await;
    place.proven("ann", "app.example.test").await;
    let relay = watching(&place, "0s").await;
    let found = "relay_host_proofs_total{outcome=\"found\"}";
    shows(relay.admin, "a proof", |m| m.value(found) >= Some(1.0)).await;
    place.dns.stop().await;
    relay.logged("nobody can say whether the proof is there").await;
    let unknown = "relay_host_proofs_total{outcome=\"unknown\"}";
    shows(relay.admin, "a look in vain", |m| m.value(unknown) >= Some(1.0)).await;
    assert_eq!(place.states().await, ["app.example.test ann proven"]);
    place.dns.start_again().await;
    let before = tests::scrape::scrape(relay.admin).await.value(found);
    shows(relay.admin, "the proof again", |m| m.value(found) > before).await;
}

#[tokio::test]
async fn a_relay_hears_within_a_moment_of_what_the_tools_change() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let relay = watching(&place, "1h").await;
        place.ask(&["reserve", "shop", "--user", "ann"]).await;
        event(&relay, "changed", "shop").await;
        let heard = || {
            let lines = relay.stderr.as_json();
            let is_one =
                |line: &&Value| line["event"] == "changed" && line["domain"] == "app.example.test";
            lines.iter().filter(is_one).count()
        };
        // One after the other: of two changes between two looks it hears of the second alone.
        let code = place.code("ann", "app.example.test").await;
        eventually("the relay to hear of it", async || heard() == 1).await;
        place.add_text("app.example.test", &code).await;
        place.ask(&["verify", "app.example.test", "--user", "ann"]).await;
        eventually("the relay to hear that it is proven", async || heard() == 2).await;
        place.ask(&["remove", "app.example.test"]).await;
        eventually("the relay to hear that it is gone", async || heard() == 3).await;
    }
}
