//! What has moved, and which visits there were, over the API.

use serde_json::Value;
use tests::kept::Kept;
use tests::{Peer, eventually};

use super::Place;

#[tokio::test]
async fn visits_are_in_the_history_and_the_statistics_of_their_owner_alone() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let anns = place.ann.get("/tunnels/anns").await.is(200).json;
        let public = anns["public"][0].as_str().expect("an address").trim_start_matches("tcp://");
        let mut visitor = Peer::connect(public.parse().expect("an address")).await;
        visitor.expect_echo(b"seven b").await;
        visitor.half_close().await;
        visitor.expect_end().await;
        let entry = eventually_first(&place, "/history").await;
        assert_eq!((&entry["tunnel"], &entry["kind"]), (&"ann.anns".into(), &"tcp".into()));
        assert_eq!((&entry["outcome"], &entry["bytes_in"]), (&"completed".into(), &7.into()));
        assert!(entry["visitor"].is_null() && !entry["id"].as_str().expect("an id").is_empty());
        assert_eq!(place.bob.get("/history").await.is(200).json["items"], Value::Array(vec![]));
        eventually("the statistics to have it", async || {
            let moved = place.ann.get("/statistics?tunnel=anns").await.is(200).json;
            let points = moved["points"].as_array().expect("points");
            assert!((60..=62).contains(&points.len()), "{}", points.len());
            points.iter().any(|point| point["visits"] == 1 && point["bytes_out"] == 7)
        })
        .await;
        let moved = place.bob.get("/statistics").await.is(200).json;
        assert!(moved["points"].as_array().expect("points").iter().all(|one| one["visits"] == 0));
        for bad in ["step=90", "from=5&to=5", "from=0&to=9000000", "to=99999999999999"] {
            place.ann.get(&format!("/statistics?{bad}")).await.is_problem(400, "invalid");
        }
        for bad in ["limit=0", "limit=501", "cursor=x", "class=x"] {
            place.ann.get(&format!("/history?{bad}")).await.is_problem(400, "invalid");
        }
    }
}

/// The first entry of a list, as soon as there is one.
async fn eventually_first(place: &Place, path: &str) -> Value {
    let mut first = Value::Null;
    eventually("an entry", async || {
        first = place.ann.get(path).await.is(200).json["items"][0].clone();
        !first.is_null()
    })
    .await;
    first
}
