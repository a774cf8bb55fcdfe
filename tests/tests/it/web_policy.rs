//! What a relay does with the requests of an HTTP tunnel, as its client asks for.

use shared::control::protocol::HttpOptions;
use tests::web::{ask, get, with_http};
use tests::{WebClient, WebService, World};

#[tokio::test]
async fn a_request_reaches_the_local_service_and_its_answer_the_visitor() {
    let world = World::start_with(with_http).await;
    let service = WebService::start().await;
    let client = WebClient::open(&world, HttpOptions::default(), service.addr()).await;
    let answer = ask(&world, get("/a?b=c").body("").unwrap()).await;
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"ok"[..]));
    assert_eq!(service.request().uri(), "/a?b=c");
    client.close().await;
    world.stop().await;
}
