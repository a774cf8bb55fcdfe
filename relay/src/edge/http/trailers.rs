//! Fields that come behind a body.

use hyper::body::Frame;
use hyper::header::HeaderName;

use super::{forwarded, hops};
use crate::web::fields::{is_same, remove_all};

/// Fields that have been looked at in front of a body.
const COME_FIRST: [&str; 8] = [
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "host",
    "trailer",
    "x-request-id",
    "x-tunnel-token",
];

/// Whether a field may not stand behind a body (RFC 9110, section 6.5.1): what frames a message or
/// says where it belongs and who sends it has been looked at in front of it, and one that comes
/// later would be looked at by nobody.
fn is_late(name: &HeaderName) -> bool {
    let comes_first = COME_FIRST.iter().any(|first| is_same(name, first));
    comes_first || hops::is_one_hops(name) || forwarded::tells(name)
}

/// A part of a body as it is passed on.
pub(super) fn checked<B>(mut part: Frame<B>) -> Frame<B> {
    if let Some(trailers) = part.trailers_mut() {
        remove_all(trailers, is_late);
    }
    part
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn what_belongs_in_front_of_a_body_is_taken_away_behind_it() {
        let fields = |names: &[&'static str]| -> HeaderMap {
            let names = names.iter().map(|name| HeaderName::from_static(name));
            names.map(|name| (name, HeaderValue::from_static("1"))).collect()
        };
        let sent = fields(&[
            "content-length",
            "x-forwarded-for",
            "x_forwarded_for",
            "transfer-encoding",
            "authorization",
            "grpc-status",
            "x-sum",
        ]);
        let frame = checked(Frame::<()>::trailers(sent));
        assert_eq!(frame.into_trailers().ok(), Some(fields(&["grpc-status", "x-sum"])));
        assert_eq!(checked(Frame::data(1)).into_data().ok(), Some(1));
    }
}
