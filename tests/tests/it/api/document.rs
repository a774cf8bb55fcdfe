//! The document of the API.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::World;
use tests::api::Caller;
use tests::http::Line;
use tests::process::Program;

/// As it is in the repository.
const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

#[tokio::test]
async fn the_document_in_the_repository_is_the_one_that_is_printed_and_served() {
    let (status, printed, _) = Program::bare("relay").args(["openapi"]).output().await;
    assert_eq!(status, Some(0));
    // The order of what is in an object may be another one.
    let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(printed == document, "write it anew: relay openapi > docs/openapi.json");
    let world = World::start().await;
    let served = Caller::nobody(world.addrs.admin).get("/openapi.json").await.is(200).json;
    assert!(served == document, "{served}");
    world.stop().await;
}

#[test]
fn every_call_has_a_name_of_its_own_and_says_what_goes_wrong() {
    let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
    let mut names = BTreeSet::new();
    for (path, calls) in document["paths"].as_object().expect("paths") {
        for (method, call) in calls.as_object().expect("calls") {
            let name = call["operationId"].as_str().expect("a name");
            assert!(names.insert(name), "{name} twice");
            assert!(call["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
            let problem = &call["responses"]["4XX"]["content"];
            assert!(problem["application/problem+json"].is_object(), "{method} {path}");
        }
    }
    assert!(names.len() > 15, "{names:?}");
}

#[tokio::test]
async fn people_read_the_document_at_a_page_that_needs_nothing_from_elsewhere() {
    let world = World::start().await;
    let mut line = Line::connect(world.addrs.admin).await;
    let page = line.ask("localhost", "/api/docs/").await;
    assert_eq!(page.status, 200, "{}", page.text());
    let policy = page.headers.of("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self';") && !policy.contains("http"), "{policy}");
    assert!(!page.text().contains("https://"), "{}", page.text());
    let mut scripts = 0;
    for part in page.text().split("src=\"").skip(1) {
        let script = part.split('"').next().expect("an end").trim_start_matches("./");
        let script = line.ask("localhost", &format!("/api/docs/{script}")).await;
        assert_eq!(script.status, 200);
        scripts += 1;
        if script.body.len() < 2000 {
            assert!(script.text().contains("/api/v1/openapi.json"), "{}", script.text());
        }
    }
    assert_eq!(scripts, 3);
    world.stop().await;
}
