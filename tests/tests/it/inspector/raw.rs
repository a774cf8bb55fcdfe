//! Raw visits.

use data_encoding::BASE64;
use serde_json::{Value, json};
use tests::{Peer, local};

use super::Place;

#[tokio::test]
async fn a_raw_visit_is_kept_both_ways_if_its_owner_says_that_it_may_be() {
    let service = local::echo().await;
    let place = Place::of(&format!("app={}", service.addr()), |_| ()).await;
    let path = format!("{}/inspection", place.tunnel);
    place.operator.ask("PUT", &path, &json!({})).await.is_problem(400, "invalid");
    place.inspect(json!({ "raw": true })).await;
    let mut visitor = Peer::connect(place.client.public(0)).await;
    visitor.send(b"hello").await;
    visitor.expect(b"hello").await;
    visitor.half_close().await;
    visitor.read_to_end().await;
    let capture = place.over("/captures", 1).await.remove(0);
    assert_eq!((&capture["bytes_in"], &capture["bytes_out"]), (&5.into(), &5.into()));
    assert_eq!((&capture["ended"], &capture["cut"]), (&"ended".into(), &false.into()));
    assert!(capture["connected_seconds"].is_f64() && capture["visitor"].is_null());
    let said = |from: &str| -> Vec<u8> {
        let chunks = capture["chunks"].as_array().expect("chunks").iter();
        let theirs = chunks.filter(|chunk| chunk["from"] == from);
        let bytes = |chunk: &Value| BASE64.decode(chunk["base64"].as_str()?.as_bytes()).ok();
        theirs.flat_map(|chunk| bytes(chunk).expect("base64")).collect()
    };
    assert_eq!((said("visitor"), said("service")), (b"hello".to_vec(), b"hello".to_vec()));
    place.stop().await;
}
