//! Tunnels at host names that belong to somebody.

use tests::http::{Line, Recorder};
use tests::kept::{Kept, client};

use super::domains::Place;

#[tokio::test]
async fn a_tunnel_at_a_host_name_is_for_those_whose_name_it_is_and_for_as_long() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        place.proven("ann", "app.example.test").await;
        place.ask(&["reserve", "shop", "--user", "ann"]).await;
        let relay = place.relay(&["--http", "127.0.0.1:0", "--hold-requests", "0s"]).await;
        let http = relay.http.expect("a port for HTTP");
        let service = Recorder::start().await;
        let app = format!("app=http://{}?host=app.example.test", service.addr());
        let shop = format!("shop=http://{}", service.addr());

        let (bobs, _) = place.kept.token("bob", "laptop", &[]).await;
        let refusals = [
            (&app, "app.example.test belongs to another user"),
            (&shop, "the subdomain `shop` is kept for another user"),
        ];
        for (tunnel, reason) in refusals {
            let mut bob = client(&relay, &bobs, &["--tunnel", tunnel]);
            let refused = bob.event("ended").await;
            let said = refused["reason"].as_str().expect("a reason");
            assert!(said.contains(reason), "{tunnel}: {said}");
        }

        let (anns, _) = place.kept.token("ann", "laptop", &[]).await;
        let mut ann = client(&relay, &anns, &["--tunnel", &app, "--tunnel", &shop]);
        for _ in 0..2 {
            ann.event("live").await;
        }
        let mut line = Line::connect(http).await;
        for host in ["app.example.test", "shop.tunnel.test"] {
            assert_eq!(line.ask(host, "/").await.status, 200, "{host}");
        }
        place.ask(&["remove", "app.example.test"]).await;
        let gone = ann.event("waiting").await;
        assert_eq!(gone["tunnel"], "app");
        assert_eq!(line.ask("app.example.test", "/").await.status, 404);
        assert_eq!(line.ask("shop.tunnel.test", "/").await.status, 200, "it is still theirs");
    }
}
