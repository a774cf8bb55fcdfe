//! What a service says piece by piece reaches the visitor piece by piece.

use tests::http::frames::kind;
use tests::http::{Frames, Line};
use tests::local;

use super::{APP, app, world_of};

#[tokio::test]
async fn each_event_is_there_before_the_next_one_is_sent() {
    let service = local::played().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let heads = ["Transfer-Encoding: chunked", "Connection: close"];
    for framing in heads {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n\r\n");
        let is_chunked = framing.ends_with("chunked");
        let event = |number: usize| {
            let event = format!("data: {number}\n\n");
            let length = event.len();
            let sent =
                if is_chunked { format!("{length:x}\r\n{event}\r\n") } else { event.clone() };
            (event, sent)
        };
        let mut line = Line::connect(http).await;
        line.get(APP, "/events").await;
        let mut at_service = service.accept().await;
        at_service.expect(b"GET /events HTTP/1.1\r\n").await;
        at_service.send(head.as_bytes()).await;
        assert_eq!(line.head().await.unwrap().unwrap().status, 200);
        for number in 0..100 {
            let (event, sent) = event(number);
            at_service.send(sent.as_bytes()).await;
            assert_eq!(line.chunk().await.unwrap().unwrap(), event.as_bytes());
        }
        drop(line);
        at_service.expect_reset().await;

        let mut frames = Frames::connect(http).await;
        frames.get(1, APP, "/events").await;
        let mut at_service = service.accept().await;
        at_service.expect(b"GET /events HTTP/1.1\r\n").await;
        at_service.send(head.as_bytes()).await;
        assert_eq!(frames.next_of(1).await.unwrap().kind, kind::HEADERS);
        for number in 0..100 {
            let (event, sent) = event(number);
            at_service.send(sent.as_bytes()).await;
            assert_eq!(frames.next_of(1).await.unwrap().payload, event.as_bytes());
        }
        frames.cancel(1).await;
        at_service.expect_reset().await;
    }
    client.finish().await;
    world.stop().await;
}
