//! What a tunnel leads to, as it is written: `22`, `http://localhost:3000`, `unix:/run/app.sock`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rustls::pki_types::ServerName;
use shared::control::protocol::HttpVersion;
use shared::kit::net::HostPort;

use super::BadTunnel;

/// What a tunnel leads to, and what it carries there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) protocol: Protocol,
    pub(crate) place: Place,
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The bytes of TCP connections.
    Tcp,
    /// Requests, in the version that the local service speaks.
    Http(HttpVersion),
    /// TLS connections.
    Tls,
}

/// Where a local service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a TCP port. Without a host it is on loopback.
    Tcp(HostPort),
    /// At a Unix socket.
    Unix(PathBuf),
    /// At a TCP port where TLS is spoken.
    Secured(Secured),
}

/// A server that shows a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// Its host, as written, which its certificate has to name.
    name: ServerName<'static>,
    port: u16,
}

/// What stands in front of the path of a Unix socket.
const UNIX: [(&str, Protocol); 4] = [
    ("unix:", Protocol::Tcp),
    ("http+unix:", Protocol::Http(HttpVersion::Http1)),
    ("h2c+unix:", Protocol::Http(HttpVersion::Http2)),
    ("tls+unix:", Protocol::Tls),
];

impl Target {
    /// That port of this machine, or of a host.
    pub(crate) fn tcp(address: HostPort) -> Self {
        Self { protocol: Protocol::Tcp, place: Place::Tcp(address) }
    }

    /// What `text` means where only targets of `scheme` make sense: the scheme may be left out.
    ///
    /// # Errors
    ///
    /// It is no target, or one of another scheme.
    pub(crate) fn of_scheme(scheme: &'static str, text: &str) -> Result<Self, BadTunnel> {
        let is_path = text.starts_with("unix:");
        let target: Self = match (is_path, text.contains("://") || text.contains("+unix:")) {
            (true, _) if scheme == "tcp" => text.parse()?,
            (true, _) => format!("{scheme}+{text}").parse()?,
            (false, true) => text.parse()?,
            (false, false) => format!("{scheme}://{text}").parse()?,
        };
        if target.scheme() == scheme { Ok(target) } else { Err(BadTunnel::Target(text.to_owned())) }
    }

    /// The scheme of such targets.
    pub(crate) fn scheme(&self) -> &'static str {
        match (self.protocol, &self.place) {
            (_, Place::Secured(_)) => "https",
            (Protocol::Tcp, _) => "tcp",
            (Protocol::Http(HttpVersion::Http1), _) => "http",
            (Protocol::Http(HttpVersion::Http2), _) => "h2c",
            (Protocol::Tls, _) => "tls",
        }
    }
}

impl FromStr for Target {
    type Err = BadTunnel;

    fn from_str(text: &str) -> Result<Self, BadTunnel> {
        for (scheme, protocol) in UNIX {
            if let Some(path) = text.strip_prefix(scheme) {
                if path.is_empty() {
                    return Err(BadTunnel::NoPath(scheme));
                }
                return Ok(Self { protocol, place: Place::Unix(path.into()) });
            }
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::tcp(address(text, text, None)?));
        };
        let (rest, path) = rest.split_at(rest.find(['/', '#']).unwrap_or(rest.len()));
        // A URL that was copied from a browser ends with a slash.
        if !matches!(path, "" | "/") {
            return Err(BadTunnel::Behind(path.to_owned()));
        }
        let http = Protocol::Http(HttpVersion::Http1);
        let (protocol, place) = match scheme {
            "tcp" => (Protocol::Tcp, Place::Tcp(address(rest, text, None)?)),
            "http" => (http, Place::Tcp(address(rest, text, Some(80))?)),
            "https" => (http, Place::Secured(Secured::of(address(rest, text, Some(443))?)?)),
            "h2c" => {
                let place = Place::Tcp(address(rest, text, Some(80))?);
                (Protocol::Http(HttpVersion::Http2), place)
            }
            "tls" => (Protocol::Tls, Place::Tcp(address(rest, text, Some(443))?)),
            _ => return Err(BadTunnel::Scheme(scheme.to_owned())),
        };
        Ok(Self { protocol, place })
    }
}

/// The address that stands in `whole`. Where there is only a host, its port is `otherwise`.
fn address(text: &str, whole: &str, otherwise: Option<u16>) -> Result<HostPort, BadTunnel> {
    let address = host_port(text, otherwise);
    address.ok_or_else(|| BadTunnel::Target(whole.to_owned()))
}

/// `PORT`, `HOST:PORT`, or `HOST` where there is a port `otherwise`.
pub(super) fn host_port(text: &str, otherwise: Option<u16>) -> Option<HostPort> {
    let is_port = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = !is_port && (text.ends_with(']') || !text.contains(':'));
    let address: HostPort = match otherwise {
        Some(port) if is_host => format!("{text}:{port}").parse().ok()?,
        _ => text.parse().ok()?,
    };
    (address.port != 0).then_some(address)
}

impl Secured {
    /// The server at `address`.
    pub(super) fn of(address: HostPort) -> Result<Self, BadTunnel> {
        // The name that certificates for one's own machine have.
        let host = address.host.unwrap_or_else(|| "localhost".to_owned());
        match ServerName::try_from(host.clone()) {
            Ok(name) => Ok(Self { name, port: address.port }),
            Err(_) => Err(BadTunnel::NoServerName(host)),
        }
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> (String, u16) {
        (self.name.to_str().into_owned(), self.port)
    }

    /// What its certificate has to name.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

impl Place {
    /// What the local service is called in a `Host` header that is written for it.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Tcp(address) => {
                let shown = self.to_string();
                let usual = address.port == 80;
                shown.strip_suffix(":80").filter(|_| usual).unwrap_or(&shown).to_owned()
            }
            Self::Secured(at) => {
                let shown = at.to_string();
                let usual = at.port == 443;
                shown.strip_suffix(":443").filter(|_| usual).unwrap_or(&shown).to_owned()
            }
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// As it would be written, with the host and the port.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match (&self.place, self.protocol) {
            (Place::Secured(_), _) | (_, Protocol::Tcp) => return self.place.fmt(f),
            (Place::Tcp(_), _) => "://",
            (Place::Unix(_), _) => "+",
        };
        write!(f, "{}{separator}{}", self.scheme(), self.place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => match &address.host {
                Some(_) => address.fmt(f),
                None => write!(f, "127.0.0.1:{}", address.port),
            },
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Secured(at) => write!(f, "https://{at}"),
        }
    }
}

impl fmt::Display for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = HostPort { host: Some(self.name.to_str().into_owned()), port: self.port };
        address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_shown_with_its_scheme_host_and_port() {
        let cases = [
            ("22", "tcp", "127.0.0.1:22"),
            ("tcp://22", "tcp", "127.0.0.1:22"),
            ("tcp://10.0.0.5:5432", "tcp", "10.0.0.5:5432"),
            ("unix:/run/app.sock", "tcp", "unix:/run/app.sock"),
            ("http://localhost:3000", "http", "http://localhost:3000"),
            ("http://localhost:3000/", "http", "http://localhost:3000"),
            ("http://app", "http", "http://app:80"),
            ("http://3000", "http", "http://127.0.0.1:3000"),
            ("http://[::1]", "http", "http://[::1]:80"),
            ("http+unix:/run/app.sock", "http", "http+unix:/run/app.sock"),
            ("https://app.example", "https", "https://app.example:443"),
            ("https://8443", "https", "https://localhost:8443"),
            ("https://[::1]:8443", "https", "https://[::1]:8443"),
            ("h2c://localhost:50051", "h2c", "h2c://localhost:50051"),
            ("h2c+unix:/run/app.sock", "h2c", "h2c+unix:/run/app.sock"),
            ("tls://db.local:5433", "tls", "tls://db.local:5433"),
            ("tls+unix:/run/app.sock", "tls", "tls+unix:/run/app.sock"),
        ];
        for (text, scheme, shown) in cases {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.scheme(), target.to_string().as_str()), (scheme, shown), "{text}");
            assert_eq!(shown.parse::<Target>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_told_why() {
        let cases = [
            ("http://localhost:3000/path", "'/path' behind the port"),
            ("http://localhost:3000/#top", "'/#top' behind the port"),
            ("tcp://localhost:3000/path", "'/path' behind the port"),
            ("http://user@localhost:3000", "'http://user@localhost:3000' is no target"),
            ("http://", "'http://' is no target"),
            ("http://a:0", "'http://a:0' is no target"),
            ("http://:80", "is no target"),
            ("http+unix:", "http+unix: needs a path, such as http+unix:/run/app.sock"),
            ("https://-a.example:1", "'-a.example' is no name that TLS can check"),
            ("ftp://a:1", "'ftp://' is not known: use http://"),
            ("https+unix:/a", "is no target"),
        ];
        for (text, error) in cases {
            let err = text.parse::<Target>().unwrap_err().to_string();
            assert!(err.contains(error), "{text}: {err}");
        }
    }

    #[test]
    fn a_scheme_that_is_clear_may_be_left_out() {
        let cases = [
            ("http", "3000", "http://127.0.0.1:3000"),
            ("http", "localhost:3000", "http://localhost:3000"),
            ("http", "http://localhost:3000", "http://localhost:3000"),
            ("http", "unix:/a", "http+unix:/a"),
            ("http", "http+unix:/a", "http+unix:/a"),
            ("https", "8443", "https://localhost:8443"),
            ("h2c", "50051", "h2c://127.0.0.1:50051"),
            ("tcp", "22", "127.0.0.1:22"),
            ("tcp", "unix:/a", "unix:/a"),
            ("tls", "5433", "tls://127.0.0.1:5433"),
        ];
        for (scheme, text, shown) in cases {
            let target = Target::of_scheme(scheme, text).unwrap();
            assert_eq!(target.to_string(), shown, "{scheme} {text}");
        }
        for (scheme, text) in [("http", "https://a"), ("tcp", "http://a"), ("https", "unix:/a")] {
            assert!(Target::of_scheme(scheme, text).is_err(), "{scheme} {text}");
        }
    }
}
