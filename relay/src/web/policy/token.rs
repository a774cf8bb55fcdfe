//! The access token of a tunnel, which is for the relay alone.

use hyper::header::{HeaderMap, HeaderName};
use hyper::http::uri::PathAndQuery;
use shared::control::protocol::SecretDigest;

use crate::web::Fault;
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
    headers.remove(HEADER);
    if target.query().is_some_and(|query| query.contains(PARAMETER)) {
        *target = without(target);
    }
}

/// The same without the token. Whatever else is in the query stays as it is, byte for byte.
pub(super) fn without(target: &PathAndQuery) -> PathAndQuery {
    let Some(query) = target.query() else { return target.clone() };
    if !parameters(query).any(|parameter| value(parameter).is_some()) {
        return target.clone();
    }
    let others: Vec<_> = parameters(query).filter(|parameter| value(parameter).is_none()).collect();
    let path = target.path();
    let left = match others.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", others.join("&")),
    };
    // A part of what could be a target can be one.
    left.parse().unwrap_or_else(|_| PathAndQuery::from_static("/"))
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
    use hyper::http::HeaderValue;

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
            let mut headers: HeaderMap =
                [("a", "1"), ("x-tunnel-token", "x"), ("x-tunnel-token", "y")]
                    .map(|(name, value)| {
                        (HeaderName::from_static(name), HeaderValue::from_static(value))
                    })
                    .into_iter()
                    .collect();
            let mut target = PathAndQuery::from_static(target);
            forget(&mut headers, &mut target);
            assert_eq!(target.as_str(), left);
            assert_eq!(headers.keys().collect::<Vec<_>>(), ["a"]);
        }
    }
}
