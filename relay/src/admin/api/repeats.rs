//! Requests that are sent again because their answer was not heard: with the same `Idempotency-Key`
//! they are answered as before, and nothing is done twice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use super::LONGEST_BODY;
use super::problem::{Code, Problem};

/// What a caller tells a request from others by (draft-ietf-httpapi-idempotency-key-header).
const KEY: &str = "idempotency-key";

/// The longest key in bytes.
const LONGEST_KEY: usize = 255;

/// How long an answer is remembered: a token that was made is in it, so no longer than whoever has
/// not heard it takes to ask again.
const REMEMBERED: Duration = Duration::from_secs(600);

/// So many answers are remembered. The oldest are forgotten then.
const MOST: usize = 1024;

/// What was answered. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Repeats(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    answers: HashMap<Which, (u64, Answer)>,
    /// Oldest first. Those that have gone have another number in the table, or none.
    order: VecDeque<(Instant, u64, Which)>,
    next: u64,
}

/// A key of a caller, for one path.
type Which = [u8; 32];

#[derive(Clone)]
enum Answer {
    /// It is being worked on.
    Pending,
    Given(Arc<Given>),
}

struct Given {
    /// What tells the request from another one with the same key.
    asked: Digest,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A request that is being worked on. If it comes to nothing, it may be sent again.
struct Turn<'a> {
    repeats: &'a Repeats,
    which: Which,
    number: u64,
}

impl Repeats {
    /// `Err`: what was answered before, or is going to be.
    fn turn(&self, which: Which, now: Instant) -> Result<Turn<'_>, Answer> {
        let mut table = self.0.lock();
        table.settle(now);
        if let Some((_, answer)) = table.answers.get(&which) {
            return Err(answer.clone());
        }
        table.next += 1;
        let number = table.next;
        table.answers.insert(which, (number, Answer::Pending));
        table.order.push_back((now, number, which));
        Ok(Turn { repeats: self, which, number })
    }
}

impl Table {
    fn settle(&mut self, now: Instant) {
        while let Some((since, number, which)) = self.order.front() {
            let is_old = now.saturating_duration_since(*since) >= REMEMBERED;
            if !is_old && self.order.len() < MOST {
                return;
            }
            if self.answers.get(which).is_some_and(|(current, _)| current == number) {
                self.answers.remove(which);
            }
            self.order.pop_front();
        }
    }
}

impl Turn<'_> {
    fn is_answered(&self, given: Given) {
        let mut table = self.repeats.0.lock();
        if let Some((number, answer)) = table.answers.get_mut(&self.which)
            && *number == self.number
        {
            *answer = Answer::Given(Arc::new(given));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut table = self.repeats.0.lock();
        if let Some((number, Answer::Pending)) = table.answers.get(&self.which)
            && *number == self.number
        {
            table.answers.remove(&self.which);
        }
    }
}

/// Answers requests that were answered before, and remembers the answers of others.
pub(super) async fn check(
    State(repeats): State<Repeats>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let key = match key(request.headers()) {
        Ok(Some(key)) => key.to_owned(),
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    let which = which(&request, &key);
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        let most = format!("the body has {LONGEST_BODY} bytes at most");
        return Problem::new(Code::TooLarge, most).into_response();
    };
    let asked = digest(&SHA256, &body);
    let turn = match repeats.turn(which, Instant::now()) {
        Ok(turn) => turn,
        Err(answer) => return again(answer, &asked),
    };
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    // What has failed may be tried again.
    if answer.status().is_server_error() || answer.status() == StatusCode::TOO_MANY_REQUESTS {
        return answer;
    }
    let (head, body) = answer.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return Problem::new(Code::Internal, "the answer is too long").into_response();
    };
    turn.is_answered(Given {
        asked,
        status: head.status,
        headers: head.headers.clone(),
        body: body.clone(),
    });
    (head, body).into_response()
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    key.map(Some).ok_or_else(|| {
        Problem::invalid(format!("`Idempotency-Key` has 1 to {LONGEST_KEY} characters of ASCII"))
    })
}

/// Nobody is given the answer of somebody else: whoever asks is a part of it.
fn which(request: &Request, key: &str) -> Which {
    let said = |name| request.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let path = request.uri().path().as_bytes();
    // None of them has a zero in it, so nothing can move from one part to the other.
    let sum = [said(AUTHORIZATION), said(COOKIE), path, key.as_bytes()].join(&b"\0"[..]);
    let sum = digest(&SHA256, &sum);
    let mut which = [0; 32];
    which.copy_from_slice(sum.as_ref());
    which
}

fn again(answer: Answer, asked: &Digest) -> Response {
    match answer {
        Answer::Pending => {
            Problem::new(Code::Conflict, "the first request with this key is still being worked on")
                .into_response()
        }
        Answer::Given(given) if given.asked.as_ref() != asked.as_ref() => {
            Problem::new(Code::Conflict, "there was another request with this key").into_response()
        }
        Answer::Given(given) => {
            (given.status, given.headers.clone(), given.body.clone()).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_came_to_nothing_may_be_sent_again_and_old_ones_are_forgotten() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let turn = repeats.turn([1; 32], now).ok().expect("the first");
        assert!(matches!(repeats.turn([1; 32], now), Err(Answer::Pending)));
        drop(turn);
        let turn = repeats.turn([1; 32], now).ok().expect("the first is over");
        let given = Given {
            asked: digest(&SHA256, b"x"),
            status: StatusCode::CREATED,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        turn.is_answered(given);
        drop(turn);
        assert!(matches!(repeats.turn([1; 32], now), Err(Answer::Given(_))));
        assert!(repeats.turn([1; 32], now + REMEMBERED).is_ok());
        for n in 0..2 * MOST {
            let mut which = [9; 32];
            which[..8].copy_from_slice(&n.to_be_bytes());
            std::mem::forget(repeats.turn(which, now));
        }
        let table = repeats.0.lock();
        assert!(table.answers.len() <= MOST && table.order.len() <= MOST);
    }
}
