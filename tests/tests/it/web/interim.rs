//! What local services say before they answer.

use tests::http::Line;
use tests::http::frames::{END_HEADERS, END_STREAM, encode, kind};
use tests::{Local, Peer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{APP, app, world_of};

/// Early hints (RFC 8297), as they may come before any answer.
const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";

/// The same status by HTTP/2: a name of the static table, and a value of three bytes.
const STATUS_103: &[u8] = b"\x08\x03103";

/// Status 200, from the static table.
const STATUS_200: &[u8] = b"\x88";

/// Says the same over and over, until nobody wants to hear it.
async fn say_for_ever(mut socket: TcpStream, said: &[u8]) {
    let said = said.repeat(1000);
    while socket.write_all(&said).await.is_ok() {}
}

/// Whoever asks learns that the service gives no answer.
async fn expect_broken(tunnels: &[String]) {
    let (world, client, http) = world_of(tunnels).await;
    for _ in 0..3 {
        let mut line = Line::connect(http).await;
        let answer = line.ask(APP, "/").await;
        let code = answer.headers.of("x-relay-error");
        assert_eq!((answer.status, code), (502, Some("local_broken")));
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn hints_without_an_answer_come_to_an_end() {
    let service = Local::start(async |socket: TcpStream| say_for_ever(socket, HINTS).await).await;
    expect_broken(&app(service.addr())).await;
}

#[tokio::test]
async fn hints_without_an_answer_come_to_an_end_by_http_2_too() {
    let service = Local::start(async |mut socket: TcpStream| {
        if socket.write_all(&encode(kind::SETTINGS, 0, 0, &[])).await.is_ok() {
            say_for_ever(socket, &encode(kind::HEADERS, END_HEADERS, 1, STATUS_103)).await;
        }
    })
    .await;
    expect_broken(&[format!("app=h2c://{}", service.addr())]).await;
}

#[tokio::test]
async fn an_answer_comes_behind_hundreds_of_hints_and_so_does_the_next_one() {
    let service = tests::local::played().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    let mut at_service: Option<Peer> = None;
    for _ in 0..20 {
        line.get(APP, "/").await;
        let service = match &mut at_service {
            Some(service) => service,
            None => at_service.insert(service.accept().await),
        };
        service.read_until(b"\r\n\r\n").await;
        service.send(&HINTS.repeat(1000)).await;
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n").await;
        let (answer, ()) = tokio::join!(line.answer(), service.send(&[b'x'; 600_000]));
        assert_eq!((answer.status, answer.body.len()), (200, 600_000));
    }
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_comes_behind_hundreds_of_hints_by_http_2_too() {
    let service = tests::local::played().await;
    let (world, client, http) = world_of(&[format!("app=h2c://{}", service.addr())]).await;
    let mut line = Line::connect(http).await;
    line.get(APP, "/").await;
    let mut at_service = service.accept().await;
    at_service.send(&encode(kind::SETTINGS, 0, 0, &[])).await;
    for stream in [1, 3] {
        if stream > 1 {
            line.get(APP, "/").await;
        }
        let hints = encode(kind::HEADERS, END_HEADERS, stream, STATUS_103).repeat(500);
        let answer = encode(kind::HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200);
        at_service.send(&[hints, answer].concat()).await;
        assert_eq!(line.answer().await.status, 200);
    }
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}
