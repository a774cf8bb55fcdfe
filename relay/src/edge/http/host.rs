//! Which host a request is for.

use std::net::Ipv6Addr;

use hyper::Version;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::web::Fault;

/// The host that a request names: in lower case, without a port and without the dot at the end. Empty
/// if it names none, as HTTP/1.0 may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestedHost {
    /// As the visitor writes it, with its port.
    pub(super) as_written: String,
    name: String,
}

/// The longest name of a host that is looked at, in bytes: that of DNS and a port.
const MAX_HOST: usize = 253 + 6;

impl RequestedHost {
    /// The host of a request, whose target and headers must not disagree (RFC 9112, section 3.2; RFC
    /// 9113, section 8.3.1).
    ///
    /// # Errors
    ///
    /// There is none, more than one, or none that could be.
    pub(super) fn of(request: &Parts) -> Result<Self, Fault> {
        let mut fields = request.headers.get_all(HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(Fault::BadRequest("It has more than one Host."));
        }
        let field = field.map(|host| host.to_str().map_err(|_| BAD_HOST)).transpose()?;
        let target = request.uri.authority().map(Authority::as_str);
        let as_written = match (target, field) {
            (None, None) if request.version < Version::HTTP_11 => "",
            (None, None) => return Err(Fault::BadRequest("It has no Host.")),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(target), Some(field)) if same(target, field) => target,
            (Some(_), Some(_)) => {
                return Err(Fault::BadRequest("Its target and its Host disagree."));
            }
        };
        let name = match as_written {
            "" => String::new(),
            host => name(host).ok_or(BAD_HOST)?,
        };
        Ok(Self { as_written: as_written.to_owned(), name })
    }

    /// The name alone.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

const BAD_HOST: Fault = Fault::BadRequest("Its Host is none.");

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The name in `HOST[:PORT]`, or `None` if it is none.
fn name(host: &str) -> Option<String> {
    if host.len() > MAX_HOST {
        return None;
    }
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (inner, rest) = rest.split_once(']')?;
            let ip: Ipv6Addr = inner.parse().ok()?;
            return is_port(rest).then(|| ip.to_string());
        }
        None => match host.find(':') {
            Some(at) => host.split_at(at),
            None => (host, ""),
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    (is_port(port) && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

/// Whether it is nothing, or a colon and a port, which may be left out (RFC 3986, section 3.2.3).
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(port) => port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn host(uri: &str, hosts: &[&str], version: Version) -> Result<String, Fault> {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        RequestedHost::of(&parts).map(|host| host.name)
    }

    #[test]
    fn a_host_has_one_spelling() {
        let cases = [
            ("App.Example.COM", "app.example.com"),
            ("app.example.com.", "app.example.com"),
            ("app.example.com:8080", "app.example.com"),
            ("app.example.com.:", "app.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "::1"),
            ("[0:0::1]", "::1"),
        ];
        for (written, name) in cases {
            assert_eq!(host("/", &[written], Version::HTTP_11).as_deref(), Ok(name), "{written}");
        }
        let long = "a".repeat(300);
        for bad in
            ["a b", "a/b", "u@a", "a..b", "a:b", "a:123456", "[::1", "[::g]", "a,b", "ä", &long]
        {
            assert!(host("/", &[bad], Version::HTTP_11).is_err(), "{bad}");
        }
    }

    #[test]
    fn there_is_one_host_or_the_request_is_none() {
        let ok = |uri, hosts: &[&str]| host(uri, hosts, Version::HTTP_11);
        assert!(ok("/", &[]).is_err() && ok("/", &["a", "a"]).is_err());
        assert_eq!(host("/", &[], Version::HTTP_10).as_deref(), Ok(""));
        assert_eq!(ok("http://a.example/x", &["A.example"]).as_deref(), Ok("a.example"));
        assert!(ok("http://a.example/x", &["b.example"]).is_err());
        assert!(ok("http://a.example/x", &["a.example:81"]).is_err());
        assert_eq!(host("https://a.example/", &[], Version::HTTP_2).as_deref(), Ok("a.example"));
        assert!(ok("http://user@a.example/", &[]).is_err());
    }
}
