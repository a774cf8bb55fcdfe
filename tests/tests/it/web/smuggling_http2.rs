//! The same by HTTP/2: fields that would be something else in HTTP/1, and frames in an order that is
//! none.

use std::net::SocketAddr;

use tests::http::frames::{END_HEADERS, END_STREAM, block, encode, kind};
use tests::http::{Frames, Line, Outcome, Recorder};

use super::smuggling::plain;
use super::{APP, app, world_of};

/// What is tried: a row each.
const CASES: &str = include_str!("smuggling_http2.txt");

/// A good request.
const GOOD: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", APP), (":path", "/case")];

/// The names of cases, their fields and their bodies.
fn cases() -> impl Iterator<Item = (&'static str, Vec<(String, String)>, String)> {
    let rows = CASES.lines().filter(|row| !row.is_empty() && !row.starts_with('#'));
    rows.map(|row| {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, changes, body] = columns[..] else { panic!("no three columns in {row:?}") };
        let mut fields = owned(&GOOD);
        for change in changes.split(" ; ") {
            if let Some(name) = change.strip_prefix("- ") {
                fields.retain(|(one, _)| one != name);
                continue;
            }
            let (name, value) = change.split_once("=>").expect("a name and a value");
            match name.strip_prefix("= ").map(str::trim) {
                Some(name) => {
                    let mut good = fields.iter_mut();
                    good.find(|(one, _)| one == name).expect("a good one").1 = plain(value.trim());
                }
                None => fields.push((plain(name.trim()), plain(value.trim()))),
            }
        }
        (name, fields, plain(body))
    })
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn no_local_service_sees_two_requests_for_one_of_http_2() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let (mut all, mut passed_on) = (0, 0);
    for (name, fields, body) in cases() {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        let mut frames = Frames::connect(http).await;
        frames.headers(1, &fields, body.is_empty()).await;
        if !body.is_empty() {
            frames.data(1, body.as_bytes(), true).await;
        }
        let outcome = frames.outcome(1).await;
        (all, passed_on) = (all + 1, passed_on + check(http, &service, name, &outcome).await);
    }
    assert!(all >= 60 && passed_on < all / 2, "{passed_on} of {all} cases were passed on");
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn what_comes_behind_a_body_of_http_2_makes_no_second_request() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let smuggled = plain("y\\r\\n\\r\\n{smuggled}");
    let trailers = [
        ("content-length", "44"),
        ("transfer-encoding", "chunked"),
        ("host", "other.t.example"),
        (":path", "/smuggled"),
        ("x", &smuggled),
        ("x\r\ny", "z"),
        ("x-sum", "1"),
    ];
    let announced = ("trailer", "x-sum, content-length, transfer-encoding, host, x");
    for trailer in trailers {
        let mut frames = Frames::connect(http).await;
        frames.headers(1, &[&GOOD[..], &[announced]].concat(), false).await;
        frames.data(1, b"body", false).await;
        frames.headers(1, &[trailer], true).await;
        let outcome = frames.outcome(1).await;
        check(http, &service, trailer.0, &outcome).await;
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn frames_in_an_order_that_is_none_make_no_second_request() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let fields = block(&GOOD);
    let (one, two) = fields.split_at(20);
    let smuggled = plain("{smuggled}");
    let ends = END_HEADERS | END_STREAM;
    let padded = [&[255][..], &fields].concat();
    let itself = [&[0, 0, 0, 1, 16][..], &fields].concat();
    let promised = [&[0, 0, 0, 2][..], &fields].concat();
    let whole = encode(kind::HEADERS, ends, 1, &fields);
    let begun = encode(kind::HEADERS, END_STREAM, 1, one);
    let data = encode(kind::DATA, END_STREAM, 1, smuggled.as_bytes());
    let cases = [
        ("in pieces", [begun.clone(), encode(kind::CONTINUATION, END_HEADERS, 1, two)]),
        ("another's piece", [begun.clone(), encode(kind::CONTINUATION, END_HEADERS, 3, two)]),
        ("data between pieces", [begun, data.clone()]),
        ("a piece of nothing", [encode(kind::CONTINUATION, END_HEADERS, 1, &fields), Vec::new()]),
        ("data before fields", [data.clone(), Vec::new()]),
        ("data after the end", [whole.clone(), data]),
        ("fields twice", [whole.clone(), whole]),
        ("an even stream", [encode(kind::HEADERS, ends, 2, &fields), Vec::new()]),
        ("the stream zero", [encode(kind::HEADERS, ends, 0, &fields), Vec::new()]),
        ("a stream behind itself", [encode(kind::HEADERS, ends | 0x20, 1, &itself), Vec::new()]),
        ("too much padding", [encode(kind::HEADERS, ends | 8, 1, &padded), Vec::new()]),
        ("a promise", [encode(kind::PUSH_PROMISE, END_HEADERS, 1, &promised), Vec::new()]),
    ];
    for (name, written) in cases {
        let mut frames = Frames::connect(http).await;
        frames.bytes(&written.concat()).await;
        let outcome = frames.outcome(1).await;
        check(http, &service, name, &outcome).await;
    }
    client.finish().await;
    world.stop().await;
}

/// Checks that the local service has seen one good request of the case at most. Returns how many.
async fn check(http: SocketAddr, service: &Recorder, name: &str, outcome: &Outcome) -> usize {
    let mut next = Line::connect(http).await;
    assert_eq!(next.ask(APP, "/next").await.text(), "/next", "{name}");
    assert_eq!(service.ill_formed(), Vec::<String>::new(), "{name}");
    let mut targets: Vec<String> = service.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets.pop().as_deref(), Some("/next"), "{name}");
    let is_passed_on = targets.len() == 1 && (targets[0].starts_with("/case") || targets[0] == "*");
    let is_refused = match outcome {
        Outcome::Answered(status, _) => *status >= 400,
        Outcome::Reset(..) | Outcome::GoneAway(_) | Outcome::Closed => true,
    };
    let is_good = is_passed_on || (is_refused && targets.is_empty());
    assert!(is_good, "{name}: {outcome:?}, seen {targets:?}");
    targets.len()
}
