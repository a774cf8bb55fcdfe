//! Paths that have moved.

use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use hyper::http::{HeaderValue, StatusCode};

use super::{Arrival, BadOption, Verdict, token};

/// The most paths that have moved of one tunnel: each request is compared with all of them.
const MOST_REDIRECTS: usize = 64;

/// Paths that have moved, in the order in which they are looked at.
#[derive(Debug, Default)]
pub(super) struct Redirects(Box<[Moved]>);

/// A path, or all that begin so, and where visitors are sent instead.
#[derive(Debug)]
struct Moved {
    from: Box<str>,
    /// All that begin so.
    is_prefix: bool,
    to: Box<str>,
    /// What follows the prefix is put behind `to`.
    keeps_rest: bool,
}

impl Redirects {
    pub(super) fn new(options: &[(String, String)]) -> Result<Self, BadOption> {
        if options.len() > MOST_REDIRECTS {
            return Err(bad(format!("{MOST_REDIRECTS} paths are the most")));
        }
        let moved = options.iter().map(|(from, to)| Moved::new(from, to));
        Ok(Self(moved.collect::<Result<_, _>>()?))
    }

    /// Sends whoever asks for a path that has moved to its new place, with the query. Browsers do not
    /// remember it (302): a tunnel is here today and another one tomorrow.
    pub(super) fn check(&self, target: &PathAndQuery, arrival: &Arrival) -> Result<(), Verdict> {
        for moved in &self.0 {
            let Some(location) = moved.location(target, arrival) else { continue };
            // What cannot stand in a header was no path.
            if let Ok(location) = HeaderValue::from_str(&location) {
                return Err(Verdict::Redirect { status: StatusCode::FOUND, location });
            }
        }
        Ok(())
    }
}

impl Moved {
    fn new(from: &str, to: &str) -> Result<Self, BadOption> {
        let (from_path, is_prefix) = match from.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (from, false),
        };
        let (to_place, keeps_rest) = match to.strip_suffix('*') {
            Some(place) => (place, true),
            None => (to, false),
        };
        if !is_path(from_path) || from_path.contains('?') {
            return Err(bad(format!(
                "`{from}` is no path: it begins with a slash, and may end with *"
            )));
        }
        if keeps_rest && !is_prefix {
            return Err(bad(format!(
                "`{to}` ends with *, so `{from}` has to end with one as well"
            )));
        }
        if keeps_rest && to_place.contains('?') {
            return Err(bad(format!("`{to}` has a query, and so cannot end with *")));
        }
        if !(is_path(to_place) || is_url(to_place)) {
            let reason = "is neither a path nor the address of a website with a path, such as \
                          https://example.com/";
            return Err(bad(format!("`{to}` {reason}")));
        }
        Ok(Self { from: from_path.into(), is_prefix, to: to_place.into(), keeps_rest })
    }

    /// Where a visitor is sent who asks for `target`, if it is this path.
    fn location(&self, target: &PathAndQuery, arrival: &Arrival) -> Option<String> {
        let rest = target.path().strip_prefix(&*self.from)?;
        if !self.is_prefix && !rest.is_empty() {
            return None;
        }
        let rest = if self.keeps_rest { rest } else { "" };
        let is_here = self.to.starts_with('/');
        let mut location = match is_here {
            // Two slashes at the beginning would be another host, to browsers a backslash as well.
            true => {
                let path = format!("{}{rest}", self.to);
                let path = path.trim_start_matches(['/', '\\']);
                format!("{}/{path}", arrival.prefix.as_deref().unwrap_or_default())
            }
            false => format!("{}{rest}", self.to),
        };
        // Others are not to learn the token of this tunnel.
        let elsewhere = (!is_here).then(|| token::without(target));
        if let Some(query) = elsewhere.as_ref().unwrap_or(target).query() {
            location.push(if location.contains('?') { '&' } else { '?' });
            location.push_str(query);
        }
        Some(location)
    }
}

/// Whether it can be the path of a request, with or without a query.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && is_plain(text)
}

/// Whether it is an address of which the path has begun: what is put behind it does not become a part
/// of the host.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| rest.contains('/')) && is_plain(text)
}

fn is_plain(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_graphic() && !b"#\\*".contains(&byte);
    text.bytes().all(good) && text.parse::<Uri>().is_ok()
}

fn bad(reason: impl std::fmt::Display) -> BadOption {
    BadOption::new("redirect", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::policy::tests::arrival;

    fn sent(from: &str, to: &str, target: &'static str) -> Option<String> {
        sent_below(None, from, to, target)
    }

    fn sent_below(
        prefix: Option<&str>,
        from: &str,
        to: &str,
        target: &'static str,
    ) -> Option<String> {
        let redirects = Redirects::new(&[(from.into(), to.into())]).unwrap();
        let arrival = Arrival { prefix: prefix.map(str::to_owned), ..arrival() };
        match redirects.check(&PathAndQuery::from_static(target), &arrival) {
            Ok(()) => None,
            Err(Verdict::Redirect { status, location }) => {
                assert_eq!(status, 302);
                Some(location.to_str().unwrap().to_owned())
            }
            Err(Verdict::Fault(fault)) => panic!("{fault:?}"),
        }
    }

    #[test]
    fn a_path_is_led_to_its_new_place_with_the_query() {
        for (from, to, target, expected) in [
            ("/old", "/new", "/old", Some("/new")),
            ("/old", "/new", "/old?a=1&b", Some("/new?a=1&b")),
            ("/old", "/new?x=1", "/old?a=1", Some("/new?x=1&a=1")),
            ("/old", "/new", "/old/", None),
            ("/old", "/new", "/older", None),
            ("/old/*", "/new/*", "/old/a/b?c", Some("/new/a/b?c")),
            ("/old/*", "/new", "/old/a/b", Some("/new")),
            ("/old*", "/new*", "/older", Some("/newer")),
            ("/", "https://example.com/", "/?a", Some("https://example.com/?a")),
            ("/", "https://example.com/", "/a", None),
            ("/*", "http://example.com/a/*", "/b", Some("http://example.com/a/b")),
        ] {
            assert_eq!(sent(from, to, target).as_deref(), expected, "{from} {to} {target}");
        }
    }

    #[test]
    fn a_path_of_this_tunnel_stays_in_it() {
        let below = sent_below(Some("/t/app"), "/old/*", "/*", "/old/a");
        assert_eq!(below.as_deref(), Some("/t/app/a"));
        for target in ["/old//evil.example/x", "/old/\\evil.example/x", "/old/\\/evil.example/x"] {
            assert_eq!(sent("/old*", "/*", target).as_deref(), Some("/evil.example/x"), "{target}");
        }
    }

    #[test]
    fn the_token_of_the_tunnel_does_not_leave_it() {
        let target = "/a?tunnel_token=secret&b=1";
        assert_eq!(
            sent("/a", "https://example.com/", target).as_deref(),
            Some("https://example.com/?b=1")
        );
        assert_eq!(sent("/a", "/b", target).as_deref(), Some("/b?tunnel_token=secret&b=1"));
    }

    #[test]
    fn the_first_that_fits_counts() {
        let options = [("/a/b", "/1"), ("/a/*", "/2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let redirects = Redirects::new(&options).unwrap();
        let sent = |target| redirects.check(&PathAndQuery::from_static(target), &arrival());
        let to = |place| {
            let location = HeaderValue::from_static(place);
            Err(Verdict::Redirect { status: StatusCode::FOUND, location })
        };
        assert_eq!(sent("/a/b"), to("/1"));
        assert_eq!(sent("/a/c"), to("/2"));
        assert_eq!(sent("/b"), Ok(()));
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for (from, to) in [
            ("old", "/new"),
            ("", "/new"),
            ("/a?b", "/new"),
            ("/a b", "/new"),
            ("/*a", "/new"),
            ("/old", "new"),
            ("/old", "//example.com/"),
            ("/old", "/\\example.com"),
            ("/old*", "https://example.com*"),
            ("/old", "https://example.com"),
            ("/old", "ftp://example.com/"),
            ("/old", "javascript:alert(1)"),
            ("/old", "/new*"),
            ("/old*", "/new?a=*"),
            ("/old", "/new#a"),
            ("/old", "/new\r\nSet-Cookie: a=b"),
        ] {
            let err = Redirects::new(&[(from.into(), to.into())]).unwrap_err();
            assert!(err.to_string().starts_with("redirect: "), "{err}");
        }
        let many = vec![("/a".to_owned(), "/b".to_owned()); MOST_REDIRECTS + 1];
        assert!(Redirects::new(&many).is_err() && Redirects::new(&many[1..]).is_ok());
    }
}
