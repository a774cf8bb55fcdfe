//! `/events`: what happens, as it does.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;

use super::Api;
use super::caller::Caller;
use super::problem::{Code, Problem, Problems};
use crate::admin::live::{Audience, Follower, News};

/// What happens, as server-sent events. `hello` comes first: whoever has heard it misses nothing any
/// more, and may look at what there is. Then a `tick` about once a second, unless nothing has happened.
/// After `missed` it has to look at everything anew.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "follow_events",
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        Problems,
    )
)]
pub(super) async fn follow(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let follower = follower(&api, &caller)?;
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    let events = Events { next: Box::pin(hello(follower)) };
    Ok((headers, Body::new(events)).into_response())
}

fn follower(api: &Api, caller: &Caller) -> Result<Follower, Problem> {
    watch(api, audience(caller)?)
}

/// One more who watches.
///
/// # Errors
///
/// As many do as may.
pub(super) fn watch(api: &Api, audience: Audience) -> Result<Follower, Problem> {
    let follower = api.live().follow(audience);
    follower.map_err(|_| Problem::new(Code::Unavailable, "as many watch as may"))
}

/// Whoever sees what the caller sees.
///
/// # Errors
///
/// That is nothing.
pub(super) fn audience(caller: &Caller) -> Result<Audience, Problem> {
    if caller.is_admin() {
        return Ok(Audience::All);
    }
    let owner = caller.owner().map(ToString::to_string);
    let theirs = owner.filter(|owner| caller.may_see(owner));
    theirs.map(Audience::Owner).ok_or_else(|| Problem::forbidden("nothing of it is yours"))
}

/// The events of a follower as a body: each is made when the one before is on its way.
struct Events {
    next: Pin<Box<dyn Future<Output = Next> + Send>>,
}

/// An event, and whoever waits for the one after it. `None`: there is none.
type Next = Option<(Bytes, Follower)>;

async fn hello(follower: Follower) -> Next {
    Some((Bytes::from_static(b"event: hello\ndata: {}\n\n"), follower))
}

async fn next(mut follower: Follower) -> Next {
    let event = match follower.next().await? {
        News::Tick(json) => [b"event: tick\ndata: ", &json[..], b"\n\n"].concat().into(),
        News::Missed => Bytes::from_static(b"event: missed\ndata: {}\n\n"),
        // A comment.
        News::Nothing => Bytes::from_static(b":\n\n"),
    };
    Some((event, follower))
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((event, follower)) = ready!(self.next.as_mut().poll(cx)) else {
            // It is not asked again.
            return Poll::Ready(None);
        };
        self.next = Box::pin(next(follower));
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}
