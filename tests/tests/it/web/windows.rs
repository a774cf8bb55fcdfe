//! What may come by HTTP/2 before anybody takes it: much, but not from everybody at a time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tests::http::frames::{FIRST_WINDOW, PREFACE, encode, kind};
use tests::http::{Frames, Line};
use tests::peer::dial_from;
use tests::usage::{resident_memory, runs_alone};
use tests::{Local, Peer, local, within};

use super::{APP, app, world_of, world_with};

const MEGABYTE: usize = 1024 * 1024;

/// Long enough for any test.
const HOLD: Duration = Duration::from_secs(60);

/// Those whose windows are small.
const SMALL: &str = "relay_limits_total{limit=\"windows\"}";

/// Sends as much as the relay lets come of bodies that nobody takes, to the tunnel `app`.
async fn fill(frames: &mut Frames) -> usize {
    let (of_stream, mut left) = frames.room().await;
    let room = left;
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", APP), (":path", "/")];
    for stream in (1..).step_by(2) {
        frames.headers(stream, &post, false).await;
        let mut of_body = left.min(of_stream);
        left -= of_body;
        let mut body = Vec::new();
        while of_body > 0 {
            let piece = of_body.min(16 * 1024);
            body.extend(encode(kind::DATA, 0, stream, &vec![b'x'; piece]));
            of_body -= piece;
        }
        frames.bytes(&body).await;
        if left == 0 {
            break;
        }
    }
    frames.is_read().await;
    room
}

/// A visitor who comes from there.
async fn from(ip: [u8; 4], http: SocketAddr) -> Frames {
    let socket = within("a connection", dial_from(ip, http)).await.expect("a connection");
    Frames::over(socket, &[]).await
}

#[tokio::test]
async fn visitors_whose_bodies_nobody_takes_hold_little_memory() {
    if !runs_alone("web::windows::visitors_whose_bodies_nobody_takes_hold_little_memory") {
        return;
    }
    let service = tests::http::Recorder::start().await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.web.hold_requests = HOLD).await;
    assert_eq!(Line::connect(http).await.ask(APP, "/").await.status, 200);
    // Requests wait for the next client, and nothing is read of their bodies.
    client.finish().await;
    world.shows("no client", |m| m.value("relay_sessions") == Some(0.0)).await;
    let before = resident_memory();
    let mut visitors = Vec::new();
    let mut rooms = Vec::new();
    for _ in 0..200 {
        let mut frames = Frames::connect_with(http, &[]).await;
        rooms.push(fill(&mut frames).await);
        visitors.push(frames);
    }
    assert_eq!((rooms[0], rooms[199]), (MEGABYTE / 2, FIRST_WINDOW));
    let most = 32 * MEGABYTE + rooms.len() * FIRST_WINDOW;
    assert!(rooms.iter().sum::<usize>() < most, "{rooms:?}");
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 64 * MEGABYTE, "{grown} bytes more in memory");
    world.shows("those who got little", |metrics| metrics.value(SMALL) > Some(50.0)).await;
    // Those who come from elsewhere have a share of their own.
    let (of_stream, room) = from([127, 0, 0, 2], http).await.room().await;
    assert!(of_stream > MEGABYTE / 8 && room > MEGABYTE / 4, "{of_stream}, {room}");
    // And when they are gone there is room again.
    drop(visitors);
    let again = async || Frames::connect(http).await.room().await == (MEGABYTE / 4, MEGABYTE / 2);
    tests::eventually("room again", again).await;
    world.stop().await;
}

/// Takes the connection of the relay to a service by HTTP/2, and says how much the relay lets come of
/// all answers together.
async fn room_for_answers(at_service: &mut Peer) -> usize {
    at_service.expect(PREFACE).await;
    let mut room = FIRST_WINDOW;
    loop {
        let head = at_service.read(9).await;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = at_service.read(length).await;
        match (head[3], head[8]) {
            (kind::HEADERS, _) => return room,
            (kind::WINDOW_UPDATE, 0) => {
                room += u32::from_be_bytes(payload.try_into().expect("a number")) as usize;
            }
            _ => (),
        }
    }
}

#[tokio::test]
async fn services_of_one_client_have_windows_that_are_bounded_together() {
    const LENGTH: usize = 3 * MEGABYTE;
    let held = local::played().await;
    let large = Local::start(async |socket| {
        let answer = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; LENGTH]))))
        });
        let http = http2::Builder::new(TokioExecutor::new());
        // The relay leaves when it likes.
        drop(http.serve_connection(TokioIo::new(socket), answer).await);
    })
    .await;
    let names = (0..120).map(|number| format!("held{number}=h2c://{}", held.addr()));
    let large = format!("large=h2c://{}", large.addr());
    let tunnels: Vec<_> = names.chain([large]).collect();
    let (world, client, http) = world_of(&tunnels).await;
    let (mut lines, mut services, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..120 {
        let mut line = Line::connect(http).await;
        line.get(&format!("held{number}.t.example"), "/").await;
        let mut at_service = held.accept().await;
        rooms.push(room_for_answers(&mut at_service).await);
        lines.push(line);
        services.push(at_service);
    }
    assert_eq!((rooms[0], rooms[119]), (4 * MEGABYTE, FIRST_WINDOW));
    let most = 64 * MEGABYTE + rooms.len() * FIRST_WINDOW;
    assert!(rooms.iter().sum::<usize>() < most, "{rooms:?}");
    world.shows("those who got little", |metrics| metrics.value(SMALL) > Some(10.0)).await;
    // With small windows it works as well.
    let answer = Line::connect(http).await.ask("large.t.example", "/").await;
    assert_eq!((answer.status, answer.body.len()), (200, LENGTH));
    drop((lines, services));
    client.finish().await;
    world.stop().await;
}
