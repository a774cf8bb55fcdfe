//! The access token of a tunnel, which is for the relay alone.

use hyper::header::{HeaderMap, HeaderName, HeaderValue, REFERER};
use hyper::http::uri::PathAndQuery;
use shared::control::protocol::SecretDigest;

use crate::web::Fault;
use crate::web::fields::{is_same, remove_all};
use crate::web::percent::decoded;

/// Where requests have the token.
const HEADER: HeaderName = HeaderName::from_static("x-tunnel-token");

/// Where they have it if they are typed into a browser.
const PARAMETER: &str = "tunnel_token";

/// The access token of a tunnel, as it is recognised.
#[derive(Debug)]
pub(super) struct Token(SecretDigest);

impl Token {
    pub(super) fn new(digest: SecretDigest) -> Self {
        Self(digest)
    }

    /// Whether a request has the token, in either place. One that is right is enough.
    pub(super) fn check(&self, headers: &HeaderMap, target: &PathAndQuery) -> Result<(), Fault> {
        let by_header = headers.get_all(HEADER).iter().any(|token| self.0.is_of(token.as_bytes()));
        let of_query = parameters(target.query().unwrap_or_default()).filter_map(value);
        if by_header
            || of_query.map(|token| decoded(token.as_bytes())).any(|token| self.0.is_of(&token))
        {
            return Ok(());
        }
        Err(Fault::TokenNeeded)
    }
}

/// Takes the token out of a request, right or wrong, as often as it is there.
pub(super) fn forget(headers: &mut HeaderMap, target: &mut PathAndQuery) {
    remove_all(headers, |name| is_same(name, HEADER.as_str()));
    if target.query().is_some_and(|query| query.contains(PARAMETER)) {
        *target = without(target);
    }
    // What a page was opened with stands here in the requests for all that belongs to it.
    let tells = |value: &HeaderValue| {
        value.as_bytes().windows(PARAMETER.len()).any(|part| part == PARAMETER.as_bytes())
    };
    if headers.get_all(REFERER).iter().any(tells) {
        // One that cannot be taken apart goes as a whole.
        let left = |value: &HeaderValue| match without_parameter(value.to_str().ok()?) {
            Some(left) => left.try_into().ok(),
            None => Some(value.clone()),
        };
        let left: Vec<HeaderValue> = headers.get_all(REFERER).iter().filter_map(left).collect();
        headers.remove(REFERER);
        for value in left {
            headers.append(REFERER, value);
        }
    }
}

/// The same without the token. Whatever else is in the query stays as it is, byte for byte.
pub(super) fn without(target: &PathAndQuery) -> PathAndQuery {
    let Some(left) = without_parameter(target.as_str()) else { return target.clone() };
    // A part of what could be a target can be one.
    left.parse().unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

/// What is left of an address, if the token is in its query.
fn without_parameter(address: &str) -> Option<String> {
    let (path, query) = address.split_once('?')?;
    let others: Vec<_> = parameters(query).filter(|parameter| value(parameter).is_none()).collect();
    if others.len() == parameters(query).count() {
        return None;
    }
    Some(if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) })
}

fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

/// The token in a parameter of the query, as it stands there.
fn value(parameter: &str) -> Option<&str> {
    match parameter.strip_prefix(PARAMETER)? {
        "" => Some(""),
        rest => rest.strip_prefix('='),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &[&'static str], target: &'static str) -> bool {
        let headers = tokens.iter().map(|token| (HEADER, HeaderValue::from_static(token)));
        let token = Token::new(SecretDigest::of(b"s3cret+/="));
        token.check(&headers.collect(), &PathAndQuery::from_static(target)).is_ok()
    }

    #[test]
    fn a_request_has_the_token_in_its_header_or_in_its_query() {
        assert!(check(&["s3cret+/="], "/"));
        assert!(check(&["wrong", "s3cret+/="], "/"));
        for good in [
            "/?tunnel_token=s3cret+/=",
            "/?tunnel_token=s3cret%2B%2f%3D",
            "/?a=b&tunnel_token=s3cret+/=&c",
            "/?tunnel_token=wrong&tunnel_token=s3cret+/=",
        ] {
            assert!(check(&[], good), "{good}");
            assert!(check(&["wrong"], good), "{good}");
        }
        for bad in [
            "/",
            "/?tunnel_token",
            "/?tunnel_token=",
            "/?tunnel_token=S3cret+/=",
            "/?xtunnel_token=s3cret+/=",
            "/?tunnel_tokens=s3cret+/=",
            "/tunnel_token=s3cret+/=",
            "/?a=tunnel_token=s3cret+/=",
            "/?tunnel_token=s3cret%2B%2",
            "/?tunnel_token=%",
        ] {
            assert!(!check(&[], bad), "{bad}");
        }
        assert!(!check(&[""], "/") && !check(&["s3cret"], "/"));
    }

    #[test]
    fn nothing_but_the_token_is_taken_away() {
        for (target, left) in [
            ("/a?tunnel_token=x", "/a"),
            ("/a?tunnel_token", "/a"),
            ("/a?tunnel_token=x&tunnel_token=y", "/a"),
            ("/a?b=1&tunnel_token=x&c=%20+&&d", "/a?b=1&c=%20+&&d"),
            ("/a?&tunnel_token=x", "/a?"),
            ("/a?tunnel_tokens=x&b", "/a?tunnel_tokens=x&b"),
            ("/a?b=tunnel_token", "/a?b=tunnel_token"),
            ("/tunnel_token=x?", "/tunnel_token=x?"),
            ("/a", "/a"),
        ] {
            let mut headers: HeaderMap = [
                ("a", "1"),
                ("x-tunnel-token", "x"),
                ("x-tunnel-token", "y"),
                ("x_tunnel-token", "z"),
            ]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
            let mut target = PathAndQuery::from_static(target);
            forget(&mut headers, &mut target);
            assert_eq!(target.as_str(), left);
            assert_eq!(headers.keys().collect::<Vec<_>>(), ["a"]);
        }
    }

    #[test]
    fn the_page_before_does_not_tell_it_either() {
        for (referer, left) in [
            ("https://app.example/a?b=1&tunnel_token=x", "https://app.example/a?b=1"),
            ("https://app.example/?tunnel_token=x", "https://app.example/"),
            ("https://app.example/?b=tunnel_token", "https://app.example/?b=tunnel_token"),
            ("https://app.example/", "https://app.example/"),
        ] {
            let referer = (REFERER, HeaderValue::from_static(referer));
            let mut headers: HeaderMap = [referer].into_iter().collect();
            forget(&mut headers, &mut PathAndQuery::from_static("/"));
            assert_eq!(headers[REFERER], left);
        }
        let foreign =
            HeaderValue::from_bytes(b"https://app.example/?q=\xe9&tunnel_token=x").unwrap();
        let mut headers: HeaderMap = [(REFERER, foreign)].into_iter().collect();
        forget(&mut headers, &mut PathAndQuery::from_static("/"));
        assert!(headers.is_empty());
    }
}
