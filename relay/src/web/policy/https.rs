//! Visitors without TLS are sent to the same place with it, and browsers are told to come by it.

use hyper::http::uri::PathAndQuery;
use hyper::http::{HeaderValue, StatusCode};
use shared::control::protocol::HttpOptions;

use super::{Arrival, BadOption, Verdict};
use crate::web::Fault;

/// The port of HTTP by TLS, which addresses leave out.
const HTTPS: u16 = 443;

/// The longest that browsers can be told to come by TLS alone: two years in seconds, the most that
/// anybody recommends. It cannot be taken back.
const LONGEST_HSTS: u64 = 2 * 365 * 24 * 3600;

/// Whether visitors are to come by TLS.
#[derive(Debug, Default)]
pub(super) struct Https {
    redirects: bool,
    /// The value of `Strict-Transport-Security` (RFC 6797).
    pub(super) hsts: Option<HeaderValue>,
}

impl Https {
    pub(super) fn new(options: &HttpOptions) -> Result<Self, BadOption> {
        let hsts = options.hsts.map(|seconds| match seconds {
            0..=LONGEST_HSTS => HeaderValue::from_str(&format!("max-age={seconds}"))
                .map_err(|err| BadOption::new("hsts", err)),
            _ => Err(BadOption::new("hsts", "two years are the most")),
        });
        Ok(Self { redirects: options.redirect_https, hsts: hsts.transpose()? })
    }

    /// Sends whoever came without TLS to the same place with it. The method stays as it is, and
    /// browsers may remember it.
    pub(super) fn check(&self, target: &PathAndQuery, arrival: &Arrival) -> Result<(), Verdict> {
        if !self.redirects || arrival.is_tls {
            return Ok(());
        }
        let host = without_port(&arrival.host);
        if host.is_empty() {
            return Err(Fault::BadRequest("It has no Host, and has to come by TLS.").into());
        }
        let port = match arrival.https_port {
            HTTPS => String::new(),
            port => format!(":{port}"),
        };
        let prefix = arrival.prefix.as_deref().unwrap_or_default();
        let location = HeaderValue::from_str(&format!("https://{host}{port}{prefix}{target}"));
        let location = location.map_err(|_| Fault::BadRequest("Its path is none."))?;
        Err(Verdict::Redirect { status: StatusCode::PERMANENT_REDIRECT, location })
    }
}

/// A host as written, which is known to be one, without its port.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::policy::tests::arrival;

    fn location(host: &str, target: &'static str, change: impl FnOnce(&mut Arrival)) -> String {
        let options = HttpOptions { redirect_https: true, ..HttpOptions::default() };
        let https = Https::new(&options).unwrap();
        let mut arrival = Arrival { host: host.to_owned(), ..arrival() };
        change(&mut arrival);
        match https.check(&PathAndQuery::from_static(target), &arrival) {
            Ok(()) => String::new(),
            Err(Verdict::Redirect { status, location }) => {
                assert_eq!(status, 308);
                location.to_str().unwrap().to_owned()
            }
            Err(Verdict::Fault(fault)) => fault.code().to_owned(),
        }
    }

    #[test]
    fn host_path_and_query_stay_and_the_port_becomes_that_of_tls() {
        let https = |host, port| location(host, "/a/b?c=%20&d", |at| at.https_port = port);
        assert_eq!(https("app.example", 443), "https://app.example/a/b?c=%20&d");
        assert_eq!(https("App.example:8080", 8443), "https://App.example:8443/a/b?c=%20&d");
        assert_eq!(https("[::1]:80", 8443), "https://[::1]:8443/a/b?c=%20&d");
        assert_eq!(https("[::1]", 443), "https://[::1]/a/b?c=%20&d");
        let by_path = location("a.example", "/x", |at| at.prefix = Some("/t/app".into()));
        assert_eq!(by_path, "https://a.example/t/app/x");
    }

    #[test]
    fn whoever_came_by_tls_goes_on_and_whoever_names_no_host_does_not() {
        assert_eq!(location("app.example", "/", |at| at.is_tls = true), "");
        assert_eq!(location("", "/", |_| ()), "bad_request");
    }

    #[test]
    fn browsers_are_told_for_two_years_at_most() {
        let https = |hsts| Https::new(&HttpOptions { hsts, ..HttpOptions::default() });
        assert_eq!(https(Some(3600)).unwrap().hsts.unwrap(), "max-age=3600");
        assert_eq!(https(Some(0)).unwrap().hsts.unwrap(), "max-age=0", "forget it");
        assert_eq!(https(None).unwrap().hsts, None);
        assert!(https(Some(LONGEST_HSTS + 1)).is_err());
    }
}
