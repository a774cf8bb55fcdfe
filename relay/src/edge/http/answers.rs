//! What the relay answers itself: why a request got no further, for people and for programs.

use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use super::body::ToVisitor;
use crate::web::{Fault, Side, Verdict};

/// Which of the relay's own answers it is, for programs.
const X_RELAY_ERROR: HeaderName = HeaderName::from_static("x-relay-error");

/// What a visitor reads most easily.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Json,
    Text,
}

/// The answer to a request that got no further, which has the number `id`.
pub(super) fn fault(fault: Fault, request: &HeaderMap, id: &str) -> Response<ToVisitor> {
    let format = Format::of(request);
    let body = match format {
        Format::Html => html(fault, id),
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
        Fault::LoginNeeded => {
            let basic = HeaderValue::from_static("Basic realm=\"tunnel\", charset=\"UTF-8\"");
            headers.insert(WWW_AUTHENTICATE, basic);
        }
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

impl Format {
    /// The one that a request asks for. Browsers name HTML first, programs what they read.
    fn of(request: &HeaderMap) -> Self {
        let accept = request.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
        for range in accept.flat_map(|accept| accept.split(',')) {
            let range = range.split(';').next().unwrap_or_default().trim();
            match range {
                "text/html" | "application/xhtml+xml" => return Self::Html,
                "application/json" | "application/problem+json" => return Self::Json,
                "text/plain" => return Self::Text,
                _ => (),
            }
        }
        Self::Text
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/problem+json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

fn text(fault: Fault, id: &str) -> String {
    let (title, advice, side) = (fault.title(), fault.advice(), side(fault.side()));
    format!("{title}. {advice}\n\n{side}\nRequest {id}\n")
}

/// Problem details (RFC 9457).
fn json(fault: Fault, id: &str) -> String {
    serde_json::json!({
        "type": "about:blank",
        "status": fault.status().as_u16(),
        "title": fault.title(),
        "detail": fault.advice(),
        "code": fault.code(),
        "side": match fault.side() {
            Side::Visitor => "visitor",
            Side::Owner => "owner",
            Side::Relay => "relay",
        },
        "request": id,
    })
    .to_string()
}

/// Nothing in it comes from the visitor but the request's number, which is plain.
fn html(fault: Fault, id: &str) -> String {
    let status = fault.status().as_u16().to_string();
    let words = [
        ("{{status}}", status.as_str()),
        ("{{title}}", fault.title()),
        ("{{advice}}", fault.advice()),
        ("{{side}}", side(fault.side())),
        ("{{id}}", id),
    ];
    let page = include_str!("page.html").to_owned();
    words.iter().fold(page, |page, (place, word)| page.replace(place, word))
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Visitor => "The request itself is the reason.",
        Side::Owner => "The tunnel's owner can do something about it; the relay is fine.",
        Side::Relay => "The relay's operator can do something about it.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(accept: &'static str) -> Format {
        Format::of(&[(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
    }

    #[test]
    fn browsers_get_a_page_and_programs_what_they_read() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(format(browser), Format::Html);
        assert_eq!(format("application/json, text/plain"), Format::Json);
        assert_eq!(format("*/*"), Format::Text);
        assert_eq!(Format::of(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn an_answer_says_whose_it_is_to_do_something() {
        let headers: HeaderMap =
            [(ACCEPT, HeaderValue::from_static("application/json"))].into_iter().collect();
        let response = fault(Fault::NoClient, &headers, "1-2");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
        assert_eq!(response.headers()[X_RELAY_ERROR], "no_client");
        let json: serde_json::Value = serde_json::from_str(&json(Fault::NoClient, "1-2")).unwrap();
        assert_eq!((&json["side"], &json["request"]), (&"owner".into(), &"1-2".into()));
    }
}
