//! Values of options that only HTTP has.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::http::uri::Authority;
use shared::kit::args;

/// A header with its value, such as `X-Stage: beta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

/// Where visitors of a path are sent instead, such as `/old /new`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(super) from: String,
    pub(super) to: String,
}

/// The `Host` that a local service sees in the place of the visitor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RewriteHost {
    /// That of the local service itself.
    Own,
    /// This one.
    To(Authority),
}

/// What tells where a request begins and ends, and what of it concerns one connection alone: the
/// relay says these, and nobody else.
const OF_CONNECTION: [HeaderName; 6] =
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// The name of a header that may be added or removed.
pub(crate) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "expected the name of a header".to_owned())?;
    if name == HOST {
        return Err("use 'rewrite-host'".into());
    }
    if OF_CONNECTION.contains(&name) {
        return Err(format!("{name} is for one connection alone, and stays as it is"));
    }
    Ok(name)
}

/// A text that is not empty.
pub(crate) fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a value is required".into()) } else { Ok(text.to_owned()) }
}

/// A time for which a relay waits, which it knows in milliseconds.
pub(crate) fn long_enough(text: &str) -> Result<Duration, String> {
    let time = args::positive_duration(text)?;
    if time.as_millis() == 0 { Err("must be 1ms at least".into()) } else { Ok(time) }
}

/// A time that browsers are told, who know it in seconds.
pub(crate) fn whole_seconds(text: &str) -> Result<Duration, String> {
    let time = args::duration(text)?;
    if time.subsec_nanos() == 0 { Ok(time) } else { Err("must be whole seconds".into()) }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) =
            text.split_once(':').ok_or("expected a header such as 'X-Stage: beta'")?;
        let name = header_name(name)?;
        // The relay gets it as text.
        let value = value.trim_matches([' ', '\t']);
        let value = HeaderValue::from_str(value).map_err(|_| VALUE)?;
        if value.to_str().is_err() { Err(VALUE.into()) } else { Ok(Self { name, value }) }
    }
}

const VALUE: &str = "a header's value is one line of printable ASCII characters";

impl Header {
    /// As the relay is told.
    pub(super) fn pair(&self) -> (String, String) {
        let value = self.value.to_str().unwrap_or_default();
        (self.name.as_str().to_owned(), value.to_owned())
    }
}

impl FromStr for Redirect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once(' ').ok_or(REDIRECT)?;
        let to = to.trim_start_matches(' ');
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_path = |text: &str| text.starts_with('/') && is_plain(text);
        let is_url = |text: &str| {
            let host = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
            host.is_some_and(|host| !host.is_empty()) && is_plain(text)
        };
        if !is_path(from) || from.contains(['?', '#']) || !(is_path(to) || is_url(to)) {
            return Err(REDIRECT.into());
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

const REDIRECT: &str = "expected a path, a blank, and a path or URL, such as '/old /new' or '/docs https://docs.example/'";

impl FromStr for RewriteHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "true" {
            return Ok(Self::Own);
        }
        match text.parse::<Authority>() {
            Ok(host) if !text.contains('@') && !host.host().is_empty() => Ok(Self::To(host)),
            _ => Err("expected a host such as app.example:8080, or `true` for that of the local \
                      service"
                .into()),
        }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = self.pair();
        write!(f, "{name}: {value}")
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.from, self.to)
    }
}

impl fmt::Display for RewriteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("true"),
            Self::To(host) => f.write_str(host.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_name_and_a_value_on_one_line() {
        let good = [("X-A: b c", "x-a: b c"), ("x-a:b", "x-a: b"), ("X-A:", "x-a: ")];
        for (text, shown) in good {
            assert_eq!(text.parse::<Header>().unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", "X-A", ": b", "X A: b", "X-A: b\r\nX-B: c", "X-A: é", "ä: b"] {
            assert!(bad.parse::<Header>().is_err(), "{bad}");
        }
        assert!("Host: a".parse::<Header>().unwrap_err().contains("rewrite-host"));
        assert!("Content-Length: 1".parse::<Header>().unwrap_err().contains("stays as it is"));
    }

    #[test]
    fn a_redirect_leads_from_a_path_to_a_path_or_a_url() {
        for text in ["/old /new", "/ https://docs.example/?a=b#c", "/a http://b"] {
            assert_eq!(text.parse::<Redirect>().unwrap().to_string(), text);
        }
        for bad in ["", "/old", "old /new", "/old new", "/old ftp://a", "/a?b /c", "/a /b c", "/a "]
        {
            assert!(bad.parse::<Redirect>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_to_rewrite_to_is_one_or_that_of_the_service() {
        for text in ["true", "app.example", "app.example:8080", "[::1]:80"] {
            assert_eq!(text.parse::<RewriteHost>().unwrap().to_string(), text);
        }
        for bad in ["", "a b", "http://a", "user@a", ":80", "a/b"] {
            assert!(bad.parse::<RewriteHost>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_what_the_relay_and_browsers_can_count() {
        assert!(long_enough("1ms").is_ok() && whole_seconds("0s").is_ok());
        assert!(long_enough("1us").is_err() && long_enough("0s").is_err());
        assert!(whole_seconds("1500ms").is_err());
    }
}
