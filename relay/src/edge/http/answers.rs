//! What the relay answers itself: why a request got no further, for people and for programs.

use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use shared::control::protocol::TunnelName;

use super::accept::Format;
use super::body::ToVisitor;
use crate::web::{Fault, Pages, Side, Verdict, side};

/// Which of the relay's own answers it is, for programs.
const X_RELAY_ERROR: HeaderName = HeaderName::from_static("x-relay-error");

/// The answer to a request that got no further, which has the number `id`.
pub(super) fn fault(
    fault: Fault,
    request: &HeaderMap,
    id: &str,
    pages: &Pages,
) -> Response<ToVisitor> {
    let format = Format::of(request);
    let body = match format {
        Format::Html => pages.html(fault, id),
        Format::Json => json(fault, id),
        Format::Text => text(fault, id),
    };
    let mut response = Response::new(ToVisitor::Own(Some(body.into())));
    *response.status_mut() = fault.status();
    let headers = response.headers_mut();
    headers.insert(X_RELAY_ERROR, HeaderValue::from_static(fault.code()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = fault.retry_after() {
        // In whole seconds (RFC 9110, section 10.2.3), none of which is too few.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    match fault {
        Fault::JwtNeeded(reason) => {
            headers.insert(WWW_AUTHENTICATE, bearer(reason));
        }
        Fault::MethodNotAllowed => {
            let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        _ => (),
    }
    response
}

/// Asks for the password of a tunnel that has been reached by this prefix, or by a host. Browsers keep
/// passwords by what is asked for here, so it is another one for each tunnel of the same origin.
pub(super) fn ask_for_login<B>(
    response: &mut Response<B>,
    tunnel: &TunnelName,
    prefix: Option<&str>,
) {
    let realm = match prefix {
        Some(prefix) => format!("tunnel {tunnel} at {prefix}"),
        None => format!("tunnel {tunnel}"),
    };
    let basic = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
    if let Ok(basic) = HeaderValue::from_str(&basic) {
        response.headers_mut().insert(WWW_AUTHENTICATE, basic);
    }
}

/// What a tunnel's policy answers in the place of the local service.
pub(super) fn instead(verdict: Verdict) -> Result<Response<ToVisitor>, Fault> {
    match verdict {
        Verdict::Fault(fault) => Err(fault),
        Verdict::Redirect { status, location } => Ok(redirect(status, location)),
    }
}

/// Asks for a token, and says what is wrong with the one that came (RFC 6750, section 3).
fn bearer(reason: Option<&str>) -> HeaderValue {
    let plain = HeaderValue::from_static("Bearer realm=\"tunnel\"");
    let Some(reason) = reason else { return plain };
    let error = format!("error=\"invalid_token\", error_description=\"{reason}\"");
    HeaderValue::from_str(&format!("Bearer realm=\"tunnel\", {error}")).unwrap_or(plain)
}

/// Sends the visitor to another place, with this status.
pub(super) fn redirect(status: StatusCode, location: HeaderValue) -> Response<ToVisitor> {
    let mut response = Response::new(ToVisitor::Own(None));
    *response.status_mut() = status;
    response.headers_mut().insert(hyper::header::LOCATION, location);
    response
}

/// Leaves out what has no place in an answer to HEAD, and says how long it would have been (RFC 9110,
/// section 9.3.2).
pub(super) fn leave_out_body(response: &mut Response<ToVisitor>) {
    if let ToVisitor::Own(body) = response.body_mut()
        && let Some(length) = body.take().as_ref().map(Bytes::len)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn text(fault: Fault, id: &str) -> String {
    let (title, advice, side) = (fault.title(), fault.advice(), side(fault.side()));
    format!("{title}. {advice}\n\n{side}\nRequest {id}\n")
}

/// Problem details (RFC 9457), and what else programs may want to know.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    status: u16,
    title: &'static str,
    detail: &'static str,
    code: &'static str,
    side: &'static str,
    request: &'a str,
}

fn json(fault: Fault, id: &str) -> String {
    let problem = Problem {
        r#type: "about:blank",
        status: fault.status().as_u16(),
        title: fault.title(),
        detail: fault.advice(),
        code: fault.code(),
        side: match fault.side() {
            Side::Visitor => "visitor",
            Side::Owner => "owner",
            Side::Relay => "relay",
        },
        request: id,
    };
    serde_json::to_string(&problem).expect("texts and a number")
}

#[cfg(test)]
mod tests {
    use hyper::body::Body;
    use hyper::header::ACCEPT;

    use super::*;

    fn answer(headers: &HeaderMap) -> Response<ToVisitor> {
        fault(Fault::NoClient, headers, "1-2", &Pages::default())
    }

    #[test]
    fn an_answer_says_whose_it_is_to_do_something() {
        let headers: HeaderMap =
            [(ACCEPT, HeaderValue::from_static("application/json"))].into_iter().collect();
        let response = answer(&headers);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
        assert_eq!(response.headers()[X_RELAY_ERROR], "no_client");
        let json: serde_json::Value = serde_json::from_str(&json(Fault::NoClient, "1-2")).unwrap();
        assert_eq!((&json["side"], &json["request"]), (&"owner".into(), &"1-2".into()));
        assert_eq!((&json["type"], &json["status"]), (&"about:blank".into(), &503.into()));
    }

    #[test]
    fn an_answer_to_head_has_no_body_and_says_how_long_it_would_be() {
        let mut response = answer(&HeaderMap::new());
        let length = response.body().size_hint().exact().unwrap();
        leave_out_body(&mut response);
        assert!(response.body().is_end_stream());
        assert_eq!(response.headers()[CONTENT_LENGTH], length.to_string());
    }
}
