//! What the head of a request says.

use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue};

use crate::web::Fault;

/// What tells one request from all others, at both ends.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id of a visitor's own that is passed on.
const MAX_REQUEST_ID: usize = 64;

/// The visitor's own id of a request, if it is one that logs can take.
pub(super) fn own_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    let good = (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(plain);
    good.then(|| id.clone())
}

/// What a visitor reads, by its `Accept`.
pub(super) fn accepted(headers: &HeaderMap) -> HeaderMap {
    let accept = headers.get_all(ACCEPT).iter();
    accept.map(|accept| (ACCEPT, accept.clone())).collect()
}

/// The length of a body, if the head says it. It says so once: HTTP/2 lets more through, and those
/// behind could take another one for the right one.
pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Fault::BadRequest("It has more than one Content-Length."));
    }
    let number = |length: &HeaderValue| length.to_str().ok()?.parse().ok();
    let bad = Fault::BadRequest("Its Content-Length is no number.");
    length.map(|length| number(length).ok_or(bad)).transpose()
}

/// So many bytes a request's head takes up, as HTTP/2 counts it (RFC 9113, section 6.5.2).
pub(super) fn size(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter();
    let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    fields + target
}

/// HTTP/2 may have them in pieces, and HTTP/1 may not (RFC 9113, section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let pieces: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = Bytes::from(pieces.join(b"; ".as_slice()));
    if let Ok(cookie) = HeaderValue::from_maybe_shared(joined) {
        headers.insert(COOKIE, cookie);
    }
}
