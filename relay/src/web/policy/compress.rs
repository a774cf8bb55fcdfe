//! Which answers are compressed, and how.

use std::cmp::Reverse;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::http::response::Parts;

use crate::web::weights::weighted;

/// Answers that are shorter than this fit into one packet as they are, in bytes.
const SHORTEST: u64 = 1024;

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

/// What shrinks, beside text. Whatever is not known to do so may be compressed already, or be framed so
/// that it cannot be (gRPC).
const SHRINKS: [&str; 20] = [
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// What says the sum of a body as it is.
const SUMS: [HeaderName; 3] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
];

impl Coding {
    /// From what costs the relay least for what it saves.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The one that a visitor takes, if any, and likes no less than an answer as it is (RFC 9110,
    /// section 12.5.3).
    pub(crate) fn wished(request: &HeaderMap) -> Option<Self> {
        let wishes: Vec<_> = weighted(request, ACCEPT_ENCODING).collect();
        let of = |wanted: &str| {
            let wish = wishes.iter().find(|wish| wish.name.eq_ignore_ascii_case(wanted));
            // What is not understood is not taken.
            wish.map(|wish| wish.weight.unwrap_or(0))
        };
        let weight = |name: &str| of(name).or_else(|| of("*"));
        let plain = of("identity").unwrap_or(0);
        let weights = Self::ALL.into_iter().map(|coding| {
            let also = (coding == Self::Gzip).then(|| weight("x-gzip")).flatten();
            (coding, weight(coding.name()).or(also).unwrap_or(0))
        });
        // The first of those that are liked most.
        let best = weights.min_by_key(|(_, weight)| Reverse(*weight));
        best.filter(|(_, weight)| *weight > 0 && *weight >= plain).map(|(coding, _)| coding)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// How an answer is compressed for a visitor who wishes so, if it is. Whoever keeps the answer for
/// others is told that it depends on what they take.
pub(crate) fn choose(answer: &mut Parts, wished: Option<Coding>) -> Option<Coding> {
    if !can_shrink(answer) {
        return None;
    }
    let varies = answer.headers.get_all(VARY).iter().filter_map(|vary| vary.to_str().ok());
    let mut varies = varies.flat_map(|vary| vary.split(',')).map(str::trim);
    if !varies.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding")) {
        answer.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    wished
}

fn can_shrink(answer: &Parts) -> bool {
    let Parts { headers, status, .. } = answer;
    let is_whole = status.is_success() || status.is_client_error() || status.is_server_error();
    let has_none = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::PARTIAL_CONTENT];
    let is_as_it_is = headers.contains_key(CONTENT_ENCODING)
        || headers.contains_key(CONTENT_RANGE)
        || SUMS.iter().any(|name| headers.contains_key(name));
    let length = headers.get(CONTENT_LENGTH).map(|length| length.to_str().unwrap_or_default());
    let is_short = length.is_some_and(|length| length.parse().unwrap_or(0) < SHORTEST);
    is_whole
        && !has_none.contains(status)
        && !is_as_it_is
        && !is_short
        && !must_stay(headers)
        && headers.get(CONTENT_TYPE).is_some_and(shrinks)
}

/// Whether nobody on the way may change it (RFC 9111, section 5.2.2.6).
fn must_stay(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let mut said = fields.flat_map(|field| field.split(','));
    said.any(|said| said.trim().eq_ignore_ascii_case("no-transform"))
}

fn shrinks(content_type: &HeaderValue) -> bool {
    let content_type = content_type.to_str().unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "text/event-stream" {
        // Each event is to be there at once, and some programs do not take them compressed.
        return false;
    }
    let suffix = kind.starts_with("application/")
        && (kind.ends_with("+json") || kind.ends_with("+xml") || kind.ends_with("+yaml"));
    suffix || kind.starts_with("text/") || SHRINKS.contains(&kind.as_str())
}

/// Says that the body of an answer is compressed, and takes back what was true of it before.
pub(crate) fn announce(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    let strong = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    if let Some(tag) = strong.filter(|tag| !tag.starts_with("W/"))
        && let Ok(weak) = HeaderValue::from_str(&format!("W/{tag}"))
    {
        // The same content, and other bytes (RFC 9110, section 8.8.1).
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::*;

    fn wished(accept: &[&'static str]) -> Option<Coding> {
        let fields = accept.iter().map(|value| (ACCEPT_ENCODING, HeaderValue::from_static(value)));
        Coding::wished(&fields.collect())
    }

    #[test]
    fn a_visitor_gets_what_it_likes_most() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, expected) in [
            ("gzip", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("gzip, deflate, br", Some(Brotli)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("GZIP ; Q=0.5, Br;q=0.501", Some(Brotli)),
            ("zstd;q=0.1, gzip;q=0.2", Some(Gzip)),
            ("*", Some(Zstd)),
            ("*;q=0.5, zstd;q=0", Some(Brotli)),
            ("br, *;q=0", Some(Brotli)),
            ("identity;q=0", None),
            ("identity;q=0, gzip;q=0.1", Some(Gzip)),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("identity", None),
            ("deflate, compress", None),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip;q=2", None),
            ("gzip;q=0.0001", None),
            ("gzip;q=x", None),
            ("", None),
        ] {
            assert_eq!(wished(&[accept]), expected, "{accept}");
        }
        assert_eq!(wished(&[]), None);
        assert_eq!(wished(&["deflate", "gzip"]), Some(Gzip));
    }

    fn answer(status: u16, fields: &[(HeaderName, &'static str)]) -> Parts {
        let mut answer = Response::new(()).into_parts().0;
        answer.status = StatusCode::from_u16(status).unwrap();
        answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        for (name, value) in fields {
            answer.headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        answer
    }

    fn is_chosen(status: u16, fields: &[(HeaderName, &'static str)]) -> bool {
        let mut answer = answer(status, fields);
        let chosen = choose(&mut answer, Some(Coding::Gzip)).is_some();
        assert_eq!(chosen, answer.headers.contains_key(VARY), "{fields:?}");
        chosen
    }

    #[test]
    fn text_is_compressed_and_nothing_that_would_not_shrink() {
        for kind in [
            "text/plain",
            "Text/HTML",
            "application/json",
            "application/problem+json; charset=utf-8",
            "application/rss+xml",
            "application/javascript",
            "application/wasm",
            "image/svg+xml",
        ] {
            assert!(is_chosen(200, &[(CONTENT_TYPE, kind)]), "{kind}");
        }
        for kind in [
            "image/png",
            "video/mp4",
            "audio/ogg",
            "application/zip",
            "application/gzip",
            "application/octet-stream",
            "application/grpc",
            "application/grpc+proto",
            "font/woff2",
            "text/event-stream",
            "text/event-stream; charset=utf-8",
            "multipart/form-data",
            "",
        ] {
            assert!(!is_chosen(200, &[(CONTENT_TYPE, kind)]), "{kind}");
        }
        let mut without_type = answer(200, &[]);
        without_type.headers.remove(CONTENT_TYPE);
        assert_eq!(choose(&mut without_type, Some(Coding::Gzip)), None);
    }

    #[test]
    fn what_is_not_to_be_changed_stays_as_it_is() {
        for fields in [
            (CONTENT_ENCODING, "gzip"),
            (CONTENT_ENCODING, "identity"),
            (CONTENT_RANGE, "bytes 0-9/10"),
            (CACHE_CONTROL, "public, No-Transform"),
            (CONTENT_LENGTH, "1023"),
            (CONTENT_LENGTH, "0"),
            (HeaderName::from_static("content-digest"), "sha-256=:AA==:"),
        ] {
            assert!(!is_chosen(200, std::slice::from_ref(&fields)), "{fields:?}");
        }
        for status in [204, 205, 206, 301, 304] {
            assert!(!is_chosen(status, &[]), "{status}");
        }
        for status in [200, 404, 500] {
            assert!(is_chosen(status, &[(CONTENT_LENGTH, "1024")]), "{status}");
        }
    }

    #[test]
    fn the_head_says_what_has_become_of_the_body() {
        let mut answer = answer(
            200,
            &[
                (CONTENT_LENGTH, "2000"),
                (ETAG, "\"a\""),
                (ACCEPT_RANGES, "bytes"),
                (VARY, "Cookie"),
            ],
        );
        assert_eq!(choose(&mut answer, Some(Coding::Brotli)), Some(Coding::Brotli));
        announce(&mut answer.headers, Coding::Brotli);
        let headers = &answer.headers;
        assert_eq!(
            (&headers[CONTENT_ENCODING], &headers[ETAG]),
            (&"br".parse().unwrap(), &"W/\"a\"".parse().unwrap())
        );
        assert!(!headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(ACCEPT_RANGES));
        let vary: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(vary, ["Cookie", "Accept-Encoding"]);

        announce(&mut answer.headers, Coding::Gzip);
        assert_eq!(answer.headers[ETAG], "W/\"a\"", "weak once and for all");
    }

    #[test]
    fn whoever_keeps_it_is_told_also_when_it_is_not_compressed() {
        let mut plain = answer(200, &[]);
        assert_eq!(choose(&mut plain, None), None);
        assert_eq!(plain.headers[VARY], "Accept-Encoding");
        for said in ["*", "cookie, accept-encoding"] {
            let mut answer = answer(200, &[(VARY, said)]);
            assert_eq!(choose(&mut answer, None), None);
            assert_eq!(answer.headers.get_all(VARY).iter().count(), 1, "{said}");
        }
    }
}
