//! Hosts and paths by which the web reaches a tunnel.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TunnelName;

/// The name of a host in the public DNS, such as `app.example.com`: at least two labels, in lower
/// case, those of other scripts as in DNS (`xn--…`, RFC 5890). Besides, `localhost`, for whoever
/// tries things out. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(Arc<str>);

/// The label that stands for a tunnel in front of a relay's domain, and in paths: a
/// [`TunnelName`] that is no label of another script, which could look like one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subdomain(TunnelName);

/// The host by which the web reaches a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebHost {
    /// A label in front of the relay's domain.
    Subdomain(Subdomain),
    /// A domain of somebody else's, which points to the relay.
    Host(DomainName),
}

/// What the paths of a tunnel begin with, in whole segments: `/api` is for `/api` and `/api/v1`,
/// and not for `/apix`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Arc<str>);

/// The text is no [`DomainName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDomainName;

/// The text is no [`Subdomain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSubdomain;

/// The text is no [`PathPrefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPathPrefix;

/// The longest [`DomainName`] in bytes (RFC 1035, section 2.3.4).
const MAX_DOMAIN_NAME: usize = 253;

/// The longest label of one.
const MAX_LABEL: usize = 63;

/// The longest [`PathPrefix`] in bytes.
const MAX_PATH_PREFIX: usize = 256;

/// The most segments of one: a look-up tries as many.
pub const MAX_SEGMENTS: usize = 8;

impl DomainName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands in front of `domain` in it, if it ends with that.
    pub fn below<'a>(&'a self, domain: &Self) -> Option<&'a str> {
        self.0.strip_suffix(domain.as_str())?.strip_suffix('.')
    }
}

impl FromStr for DomainName {
    type Err = BadDomainName;

    /// Upper case becomes lower case, other scripts become what they are in DNS, and a dot at the
    /// end is left out.
    fn from_str(text: &str) -> Result<Self, BadDomainName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > 4 * MAX_DOMAIN_NAME {
            return Err(BadDomainName);
        }
        let name = idna::domain_to_ascii_strict(text).map_err(|_| BadDomainName)?;
        let label = |label: &str| {
            let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
            (1..=MAX_LABEL).contains(&label.len())
                && label.bytes().all(allowed)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // What ends with a number is an address, or is taken for one.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_address = last.starts_with(|c: char| c.is_ascii_digit());
        let good = name.len() <= MAX_DOMAIN_NAME
            && (name.contains('.') || name == "localhost")
            && name.split('.').all(label)
            && !is_address;
        if good { Ok(Self(name.into())) } else { Err(BadDomainName) }
    }
}

impl Subdomain {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<TunnelName> for Subdomain {
    type Error = BadSubdomain;

    fn try_from(name: TunnelName) -> Result<Self, BadSubdomain> {
        // RFC 5890, section 2.3.1: labels with `--` there are kept for encodings.
        if name.as_str().get(2..4) == Some("--") { Err(BadSubdomain) } else { Ok(Self(name)) }
    }
}

impl FromStr for Subdomain {
    type Err = BadSubdomain;

    fn from_str(text: &str) -> Result<Self, BadSubdomain> {
        text.parse::<TunnelName>().map_err(|_| BadSubdomain)?.try_into()
    }
}

impl PathPrefix {
    /// That of all paths.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Whether it is that of all paths.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The prefix as text, with a slash in front and none at the end, but for `/` itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many segments it has.
    pub fn segments(&self) -> usize {
        if self.is_root() { 0 } else { self.0.matches('/').count() }
    }
}

impl Default for PathPrefix {
    fn default() -> Self {
        Self::root()
    }
}

impl FromStr for PathPrefix {
    type Err = BadPathPrefix;

    /// A slash at the end is left out.
    fn from_str(text: &str) -> Result<Self, BadPathPrefix> {
        if text == "/" {
            return Ok(Self::root());
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        let rest = text.strip_prefix('/').ok_or(BadPathPrefix)?;
        // The unreserved characters of RFC 3986, section 2.3, which have one spelling, and those
        // that servers do not take apart.
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
        let segment = |segment: &str| {
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
        };
        let good = text.len() <= MAX_PATH_PREFIX
            && rest.split('/').count() <= MAX_SEGMENTS
            && rest.split('/').all(segment);
        if good { Ok(Self(text.into())) } else { Err(BadPathPrefix) }
    }
}

/// How each of them stands in a message, and what is said of a text that is none.
macro_rules! text {
    ($type:ident, $bad:ident, $explanation:literal) => {
        impl TryFrom<String> for $type {
            type Error = $bad;

            fn try_from(text: String) -> Result<Self, $bad> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.as_str().into()
            }
        }

        /// It is found by its text.
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Display for $bad {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($explanation)
            }
        }

        impl std::error::Error for $bad {}
    };
}

text!(DomainName, BadDomainName, "expected the name of a host, such as app.example.com");
text!(
    Subdomain,
    BadSubdomain,
    "expected 1 to 63 characters of a-z, 0-9 and -, without - at the ends or -- behind two others"
);
text!(PathPrefix, BadPathPrefix, "expected a path of up to 8 plain segments, such as /api/v1");

/// A label, or a whole name.
impl WebHost {
    /// The label alone, or the whole name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Subdomain(label) => label.as_str(),
            Self::Host(name) => name.as_str(),
        }
    }
}

impl fmt::Display for WebHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_those_of_the_public_dns_in_one_spelling() {
        let good = [
            ("App.Example.COM", "app.example.com"),
            ("app.example.com.", "app.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1.2.example", "1.2.example"),
            ("localhost", "localhost"),
        ];
        for (text, name) in good {
            assert_eq!(text.parse::<DomainName>().unwrap().as_str(), name, "{text}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in ["", ".", "example", "1.2.3.4", "a..b", "-a.b", "a_b.c", "[::1]", "a b.c", &long]
        {
            assert_eq!(bad.parse::<DomainName>(), Err(BadDomainName), "{bad}");
        }
    }

    #[test]
    fn a_name_is_below_a_domain_by_whole_labels() {
        let name = |text: &str| text.parse::<DomainName>().unwrap();
        let domain = name("t.example");
        assert_eq!(name("app.t.example").below(&domain), Some("app"));
        assert_eq!(name("a.b.t.example").below(&domain), Some("a.b"));
        assert_eq!(name("appt.example").below(&domain), None);
        assert_eq!(domain.below(&domain), None);
    }

    #[test]
    fn a_subdomain_is_no_label_of_another_script() {
        for good in ["a", "my-app-2", "a--b"] {
            assert_eq!(good.parse::<Subdomain>().unwrap().as_str(), good);
        }
        for bad in ["", "xn--bcher-kva", "ab--c", "A", "-a", "a.b"] {
            assert_eq!(bad.parse::<Subdomain>(), Err(BadSubdomain), "{bad}");
        }
    }

    #[test]
    fn a_path_prefix_is_plain_segments() {
        let good =
            [("/", "/", 0), ("/api", "/api", 1), ("/api/v1/", "/api/v1", 2), ("/a:b", "/a:b", 1)];
        for (text, prefix, segments) in good {
            let parsed: PathPrefix = text.parse().unwrap();
            assert_eq!((parsed.as_str(), parsed.segments()), (prefix, segments), "{text}");
        }
        let deep = "/a".repeat(9);
        for bad in ["", "api", "//", "/a//b", "/./a", "/a/..", "/a%20", "/a?b", "/ä", &deep] {
            assert_eq!(bad.parse::<PathPrefix>(), Err(BadPathPrefix), "{bad}");
        }
    }

    #[test]
    fn a_host_stands_in_messages_by_its_kind() {
        let host = WebHost::Subdomain("app".parse().unwrap());
        let json = r#"{"subdomain":"app"}"#;
        assert_eq!(serde_json::to_string(&host).unwrap(), json);
        assert_eq!(serde_json::from_str::<WebHost>(json).unwrap(), host);
    }
}
