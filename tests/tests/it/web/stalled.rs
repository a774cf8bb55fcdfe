//! Visitors by HTTP/2 who do not take their answers lose them, and nobody else notices.

use std::time::Duration;

use tests::http::frames::{INITIAL_WINDOW_SIZE, get, kind};
use tests::http::{Frames, Outcome};
use tests::scrape::Scrape;
use tests::{Folder, Local, local, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{APP, app, turn_clock, world_with};

/// How long data may wait.
const STALL: Duration = Duration::from_millis(300);

/// The code of a stream that nobody wants any more.
const CANCEL: u32 = 8;

/// The answer to a request that asks for so many bytes.
async fn answers_with(length: usize) -> Local {
    Local::start(move |mut socket: TcpStream| async move {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let (mut left, piece) = (length, [b'x'; 64 * 1024]);
        // A visitor may leave at any time.
        let mut sent = socket.write_all(head.as_bytes()).await;
        while sent.is_ok() && left > 0 {
            let now = left.min(piece.len());
            sent = socket.write_all(&piece[..now]).await;
            left -= now;
        }
        drop(tokio::io::copy(&mut socket, &mut tokio::io::sink()).await);
    })
    .await
}

#[tokio::test]
async fn an_answer_that_gets_no_window_is_given_up_and_the_others_go_on() {
    let service = local::played().await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.stall_timeout = STALL).await;
    // One that waits for its service, and for nothing else.
    let mut waits = Frames::connect(http).await;
    waits.get(1, APP, "/waits").await;
    let mut events = service.accept().await;
    events.expect(b"GET /waits HTTP/1.1\r\n").await;
    events.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await;
    assert_eq!(waits.next_of(1).await.expect("a head").kind, kind::HEADERS);
    events.send(b"once").await;
    assert_eq!(waits.next_of(1).await.expect("a piece").payload, b"once");

    let mut given_up = 0.0;
    for (window, length) in [(0, 300_000), (10, 300_000), (70_000, 300_000), (0, 4)] {
        let mut frames = Frames::connect_with(http, &[(INITIAL_WINDOW_SIZE, window)]).await;
        frames.get(1, APP, "/").await;
        let mut at_service = service.accept().await;
        at_service.expect(b"GET / HTTP/1.1\r\n").await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        at_service.send(head.as_bytes()).await;
        at_service.send(&vec![b'x'; length]).await;
        assert_eq!(frames.outcome(1).await, Outcome::Reset(CANCEL, Some(200)), "{window}");
        given_up += 1.0;
        let shows = |metrics: &Scrape| metrics.timed_out("app") == given_up;
        world.shows("that it was given up", shows).await;
        if length > 4 {
            at_service.expect_reset().await;
        }
        // The connection itself is as good as before.
        frames.get(3, "nobody.t.example", "/").await;
        frames.widen(3, 10_000).await;
        let Outcome::Answered(404, _) = frames.outcome(3).await else { panic!("not answered") };
    }

    events.send(b"more").await;
    assert_eq!(waits.next_of(1).await.expect("a piece").payload, b"more");
    world.shows("nothing left", |metrics| metrics.requests("app") == 0.0).await;
    drop((waits, events));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn the_last_of_an_answer_is_given_up_although_others_of_its_connection_go_on() {
    // A page goes in one piece, whose end is known beforehand.
    let folder = Folder::new();
    folder.write("404.html", &"x".repeat(20_000));
    let service = local::played().await;
    let (world, client, http) = world_with(&app(service.addr()), |settings| {
        settings.stall_timeout = STALL;
        settings.web.error_pages = Some(folder.path().to_owned());
    })
    .await;
    let mut frames = Frames::connect_with(http, &[(INITIAL_WINDOW_SIZE, 1)]).await;
    frames.get(1, APP, "/waits").await;
    frames.widen(1, 10).await;
    let mut events = service.accept().await;
    events.expect(b"GET /waits HTTP/1.1\r\n").await;
    events.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(frames.next_of(1).await.expect("a head").kind, kind::HEADERS);

    let asks = [&get("nobody.t.example", "/")[..], &[("accept", "text/html")]].concat();
    frames.headers(3, &asks, true).await;
    // There is room for a byte of it.
    assert_eq!(frames.outcome(3).await, Outcome::Reset(CANCEL, Some(404)));
    // With all the room that it needs it is whole.
    frames.headers(5, &asks, true).await;
    frames.widen(5, 20_000).await;
    let Outcome::Answered(404, page) = frames.outcome(5).await else { panic!("not answered") };
    assert_eq!(page.len(), 20_000);

    events.send(b"whole").await;
    assert_eq!(frames.next_of(1).await.expect("a piece").payload, b"whole");
    drop((frames, events));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_visitor_who_reads_one_answer_does_not_hold_the_others_for_ever() {
    let service = answers_with(1 << 40).await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.stall_timeout = STALL).await;
    let mut frames = Frames::connect_with(http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    frames.get(1, APP, "/read").await;
    frames.get(3, APP, "/starved").await;
    let starved = async {
        loop {
            let frame = frames.next().await.expect("a frame");
            match (frame.kind, frame.stream) {
                (kind::HEADERS, 1) => frames.widen(1, 100_000).await,
                (kind::DATA, 1) => frames.widen(1, frame.payload.len() as u32).await,
                (kind::RST_STREAM, stream) => return stream,
                _ => (),
            }
        }
    };
    assert_eq!(within("a stream to be given up", starved).await, 3);
    world.shows("that it was", |metrics| metrics.timed_out("app") == 1.0).await;
    assert_eq!(world.metrics().await.requests("app"), 1.0);
    drop(frames);
    client.finish().await;
    world.stop().await;
}

/// The answer consists of so many pieces of [`PIECE`] bytes, and none of them is handed on with another.
async fn answers_in_pieces(pieces: usize) -> Local {
    Local::start(move |mut socket: TcpStream| async move {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..pieces {
            answer.extend_from_slice(format!("{PIECE:x}\r\n").as_bytes());
            answer.extend_from_slice(&[b'x'; PIECE]);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        // A visitor may leave at any time.
        drop(socket.write_all(&answer).await);
        drop(tokio::io::copy(&mut socket, &mut tokio::io::sink()).await);
    })
    .await
}

/// As much as a frame takes.
const PIECE: usize = 16 * 1024;

#[tokio::test]
async fn a_slow_visitor_of_many_answers_loses_nothing() {
    /// So many answers.
    const ANSWERS: u32 = 16;
    /// Each of so many pieces.
    const PIECES: usize = 4;
    /// How long data may wait: by the clock of the relay, which this test turns, so that a slow
    /// machine adds nothing to it that counts.
    const STALL: Duration = Duration::from_secs(2);
    /// So many bytes come in that time, so that each answer waits for longer while others are read.
    const IN_A_STALL: f64 = 90_000.0;

    let service = answers_in_pieces(PIECES).await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.stall_timeout = STALL).await;
    let socket = within("a connection", TcpStream::connect(http)).await.expect("a connection");
    let mut frames = Frames::narrow(socket, &[(INITIAL_WINDOW_SIZE, 1 << 30)]).await;
    for number in 0..ANSWERS {
        frames.get(2 * number + 1, APP, "/").await;
    }
    let mut come = 0;
    while come < PIECE * PIECES * ANSWERS as usize {
        let frame = frames.next().await.expect("a frame");
        assert_ne!(frame.kind, kind::RST_STREAM, "stream {} after {come}", frame.stream);
        // An end alone gives no room back.
        if frame.kind == kind::DATA && !frame.payload.is_empty() {
            come += frame.payload.len();
            frames.widen(0, frame.payload.len() as u32).await;
            turn_clock(STALL.mul_f64(frame.payload.len() as f64 / IN_A_STALL)).await;
        }
    }
    world.shows("all of them", |metrics| metrics.requests("app") == 0.0).await;
    assert_eq!(world.metrics().await.timed_out("app"), 0.0);
    drop(frames);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_connection_does_not_wait_for_ever_for_the_end_of_an_answer_to_be_taken() {
    let service = answers_with(4).await;
    let (world, client, http) = world_with(&app(service.addr()), |settings| {
        settings.stall_timeout = STALL;
        settings.web.keep_alive = Duration::from_secs(1);
    })
    .await;
    // With room for a byte hyper has the whole answer, and the request is over.
    let mut frames = Frames::connect_with(http, &[(INITIAL_WINDOW_SIZE, 1)]).await;
    frames.get(1, APP, "/").await;
    assert_eq!(frames.next_of(1).await.expect("a head").kind, kind::HEADERS);
    assert_eq!(frames.next_of(1).await.expect("a byte").payload, b"x");
    frames.expect_gone().await;
    drop(frames);
    client.finish().await;
    world.stop().await;
}
