//! Headers that are between two programs and not for those behind them.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Response, StatusCode, Version};

use crate::web::Fault;
use crate::web::fields::remove_all;

/// Whether a header concerns one connection alone (RFC 9110, section 7.6.1), whatever `Connection` says.
/// `Trailer` does not: it announces fields that are passed on.
pub(super) fn is_one_hops(name: &HeaderName) -> bool {
    // By their text: that is compared by its length first, and every request has many.
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Takes away what is not for those behind, and what `Connection` names. Returns the protocol that
/// the connection is to change to, if the message asks for one.
pub(super) fn remove(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if !headers.keys().any(is_one_hops) {
        return None;
    }
    let takes_trailers = headers.get_all(TE).iter().any(|te| has_token(te, "trailers"));
    // What nearly all say names nothing that is not taken away by itself.
    let usual = |token: &&str| {
        ["keep-alive", "close"].iter().any(|usual| usual.eq_ignore_ascii_case(token))
    };
    let tokens = headers.get_all(CONNECTION).iter().flat_map(tokens);
    let named: Vec<HeaderName> =
        tokens.filter(|token| !usual(token)).filter_map(|token| token.parse().ok()).collect();
    let mut upgrade = None;
    if named.contains(&UPGRADE) {
        upgrade = headers.get(UPGRADE).filter(|protocol| !is_http(protocol)).cloned();
    }
    remove_all(headers, |name| is_one_hops(name) || named.contains(name));
    if takes_trailers {
        // The one thing in it that is for those behind as well: gRPC needs it.
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// Takes away the same of an answer to a visitor who speaks this HTTP. Whom the local service tells to
/// ask for another protocol (426) learns which: an answer without it would be of no use (RFC 9110,
/// section 15.5.22). HTTP/2 knows no such thing.
///
/// A body that came in chunks has no other length (RFC 9112, section 6.3).
///
/// # Errors
///
/// The body was encoded in a way that nobody has undone.
pub(super) fn remove_of_answer<B>(
    response: &mut Response<B>,
    version: Version,
) -> Result<(), Fault> {
    let is_told = response.status() == StatusCode::UPGRADE_REQUIRED && version == Version::HTTP_11;
    let headers = response.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) {
        if !is_plain(headers) {
            return Err(Fault::LocalBroken);
        }
        headers.remove(CONTENT_LENGTH);
    }
    let wanted: Vec<_> = match is_told {
        true => headers.get_all(UPGRADE).iter().cloned().collect(),
        false => Vec::new(),
    };
    remove(headers);
    if !wanted.is_empty() {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        for protocol in wanted {
            headers.append(UPGRADE, protocol);
        }
    }
    Ok(())
}

/// Whether nothing is left to undo of a body but its chunks. Empty codings count for nothing (RFC 9110,
/// section 5.6.1), and `identity` is none: it has gone from HTTP, and not from every service.
fn is_plain(headers: &HeaderMap) -> bool {
    let is_one = |coding: &&str| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity");
    let codings = headers.get_all(TRANSFER_ENCODING);
    let mut codings = codings.iter().flat_map(tokens).filter(is_one);
    codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case("chunked"))
        && codings.next().is_none()
}

/// Whether it is HTTP again, or TLS with HTTP in it (RFC 2817): requests that come that way would be
/// routed and checked by nobody.
pub(super) fn is_http(protocol: &HeaderValue) -> bool {
    let is_one = |one: &str| {
        one == "h2" || one == "h2c" || one.starts_with("http") || one.starts_with("tls/")
    };
    tokens(protocol).any(|one| is_one(&one.to_ascii_lowercase()))
}

/// Asks the next one to change to another protocol.
pub(super) fn ask_for(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    // What stands behind a `;` are weights.
    let name = |token: &str| token.split(';').next().unwrap_or_default().trim().to_owned();
    tokens(value).any(|one| name(one).eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        fields.collect()
    }

    #[test]
    fn what_concerns_one_connection_goes_with_what_it_names() {
        let mut message = headers(&[
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers;q=0.5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-sum"),
            ("x-theirs", "2"),
        ]);
        assert_eq!(remove(&mut message), None);
        assert_eq!(
            message,
            headers(&[("te", "trailers"), ("trailer", "x-sum"), ("x-theirs", "2")])
        );
    }

    #[test]
    fn an_answer_in_chunks_has_no_other_length_and_no_other_coding() {
        let answer = |fields: &[_]| {
            let mut answer = Response::new(());
            *answer.headers_mut() = headers(fields);
            remove_of_answer(&mut answer, Version::HTTP_11).map(|()| answer.into_parts().0.headers)
        };
        let length = ("content-length", "2");
        assert_eq!(answer(&[length]), Ok(headers(&[length])));
        for coding in ["Chunked", "chunked,", "identity", ", identity, chunked"] {
            assert_eq!(answer(&[length, ("transfer-encoding", coding)]), Ok(HeaderMap::new()));
        }
        for coding in ["gzip, chunked", "chunked, chunked", "gzip"] {
            let answer = answer(&[("transfer-encoding", coding)]);
            assert_eq!(answer, Err(Fault::LocalBroken), "{coding}");
        }
    }

    #[test]
    fn another_protocol_is_asked_for_by_both_headers() {
        let asks = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        let mut message = headers(&asks);
        let protocol = remove(&mut message);
        assert_eq!(protocol, Some(HeaderValue::from_static("websocket")));
        assert!(message.is_empty());
        ask_for(&mut message, protocol.unwrap());
        assert_eq!(message, headers(&[("connection", "upgrade"), ("upgrade", "websocket")]));
        assert_eq!(remove(&mut headers(&[("upgrade", "websocket")])), None);
        for http in ["h2c", "H2C", "HTTP/2.0", "websocket, h2c", "TLS/1.2"] {
            assert_eq!(remove(&mut headers(&[("connection", "upgrade"), ("upgrade", http)])), None);
        }
    }
}
