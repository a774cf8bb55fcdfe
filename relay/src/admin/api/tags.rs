//! Which state of a thing somebody has seen: `ETag`, `If-None-Match` and `If-Match` (RFC 9110,
//! sections 8.8.3 and 13.1).

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;

use super::problem::{Code, Problem};

/// The longest answer in bytes that has a tag: a page of the largest things.
const LONGEST: usize = 8 * 1024 * 1024;

/// So much of a hash tells the states of one thing from each other.
const LENGTH: usize = 12;

/// Gives answers their tags, says nothing to those who have seen it all, and keeps those from a change
/// who have not.
pub(super) async fn check(request: Request, next: Next) -> Response {
    match *request.method() {
        Method::GET => read(request, next).await,
        Method::PUT | Method::PATCH | Method::DELETE => change(request, next).await,
        _ => next.run(request).await,
    }
}

async fn read(request: Request, next: Next) -> Response {
    let seen = request.headers().get_all(IF_NONE_MATCH).iter().cloned().collect::<Vec<_>>();
    let (mut head, body) = match tagged(next.run(request).await).await {
        Ok(answer) => answer.into_parts(),
        Err(answer) => return answer,
    };
    let is_seen = head.headers.get(ETAG).is_some_and(|tag| fits(&seen, tag));
    if is_seen && head.status == StatusCode::OK {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(CONTENT_TYPE);
        return (head, Body::empty()).into_response();
    }
    (head, body).into_response()
}

async fn change(request: Request, next: Next) -> Response {
    let wanted: Vec<_> = request.headers().get_all(IF_MATCH).iter().cloned().collect();
    if wanted.is_empty() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    // Asked by the same caller, who learns nothing in this way that it could not have read.
    let mut look = parts.clone();
    look.method = Method::GET;
    look.headers.remove(IF_MATCH);
    let now = next.clone().run(Request::from_parts(look, Body::empty())).await;
    let now = match tagged(now).await {
        Ok(now) if now.status().is_success() => now,
        Ok(answer) | Err(answer) => return answer,
    };
    if !now.headers().get(ETAG).is_some_and(|tag| fits(&wanted, tag)) {
        let changed = "it is not what it was when you read it: read it again";
        return Problem::new(Code::Changed, changed).into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

/// The answer with its tag. An answer that has none cannot have one: it is no success, or endless.
async fn tagged(answer: Response) -> Result<Response, Response> {
    let is_json = |headers: &HeaderMap| {
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/json")
    };
    if answer.status() != StatusCode::OK || !is_json(answer.headers()) {
        return Err(answer);
    }
    let (mut head, body) = answer.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return Err(Problem::new(Code::Internal, "the answer is too long").into_response());
    };
    head.headers.entry(ETAG).or_insert_with(|| tag(&body));
    Ok((head, body).into_response())
}

fn tag(body: &Bytes) -> HeaderValue {
    let hash = digest(&SHA256, body);
    let text = format!("\"{}\"", BASE64URL_NOPAD.encode(&hash.as_ref()[..LENGTH]));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether a tag is among these, or any is good.
fn fits(lists: &[HeaderValue], tag: &HeaderValue) -> bool {
    let lists = lists.iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    // Proxies weaken tags of what they compress; it is the same thing all the same.
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_lists() {
        let tag = HeaderValue::from_static("\"abc\"");
        let is_in = |list: &'static str| fits(&[HeaderValue::from_static(list)], &tag);
        assert!(is_in("\"abc\"") && is_in("\"x\", \"abc\"") && is_in("*") && is_in("W/\"abc\""));
        assert!(!is_in("\"ab\"") && !is_in("abc") && !is_in(""));
    }
}
