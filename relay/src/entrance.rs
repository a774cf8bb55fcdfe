//! By what the public reaches a tunnel.

use std::fmt;

use shared::control::protocol::{DomainName, HostName, PathPrefix, PublicAddress, WebHost};

/// One way in for visitors. No two tunnels have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entrance {
    /// A TCP port of the relay. Zero stands for one that the kernel is still to choose.
    Port(u16),
    /// A host and a path, for requests of HTTP.
    Web(WebAddress),
    /// A host, for TLS connections that name it.
    ServerName(WebHost),
}

/// A part of the web.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WebAddress {
    pub(crate) host: WebHost,
    pub(crate) path: PathPrefix,
}

/// Where the web reaches the relay, as visitors see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WebFront {
    /// Subdomains are in front of it. Without one tunnels are told apart by paths.
    pub(crate) domain: Option<DomainName>,
    /// Whether visitors come by TLS.
    pub(crate) tls: bool,
    /// The port that they come to. `None`: requests of HTTP are not served.
    pub(crate) port: Option<u16>,
    /// The port for TLS connections that are not opened. `None`: there is none.
    pub(crate) tls_port: Option<u16>,
}

/// What the paths of all subdomains begin with on hosts that are nobody's own.
pub(crate) const BY_PATH: &str = "/t/";

impl Entrance {
    /// Whether it is known already, and not for the kernel to choose.
    pub(crate) fn is_chosen(&self) -> bool {
        *self != Self::Port(0)
    }

    /// Its host, if it has one of its own.
    pub(crate) fn host(&self) -> Option<&WebHost> {
        match self {
            Self::Port(_) => None,
            Self::Web(address) => Some(&address.host),
            Self::ServerName(host) => Some(host),
        }
    }

    /// How visitors write it, of a relay that they know as `relay` and whose web is at `front`.
    pub(crate) fn address(&self, relay: &HostName, front: &WebFront) -> PublicAddress {
        match self {
            Self::Port(port) => PublicAddress::tcp(relay, *port),
            Self::Web(WebAddress { host, path }) => {
                let port = front.port.unwrap_or_default();
                match front.name(host) {
                    Some(name) => PublicAddress::web(front.tls, &name, port, path.as_str()),
                    None => {
                        let path = format!("{BY_PATH}{host}{path}");
                        PublicAddress::web(front.tls, &relay.to_string(), port, &path)
                    }
                }
            }
            Self::ServerName(host) => {
                PublicAddress::tls(&front.shown(host), front.tls_port.unwrap_or_default())
            }
        }
    }
}

impl WebFront {
    /// What stands in front of the relay's domain in a name, if it ends with that.
    pub(crate) fn label_in<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_suffix(self.domain.as_ref()?.as_str())?.strip_suffix('.')
    }

    /// The whole name of a host, if it has one.
    pub(crate) fn name(&self, host: &WebHost) -> Option<String> {
        match host {
            WebHost::Host(name) => Some(name.to_string()),
            WebHost::Subdomain(label) => Some(format!("{label}.{}", self.domain.as_ref()?)),
        }
    }

    /// The same; a subdomain without a domain is known by its label.
    pub(crate) fn shown(&self, host: &WebHost) -> String {
        self.name(host).unwrap_or_else(|| host.to_string())
    }
}

impl WebFront {
    /// The port that visitors reach by TLS: that of HTTP by TLS unless another one is known.
    pub(crate) fn https_port(&self) -> u16 {
        self.port.filter(|_| self.tls).or(self.tls_port).unwrap_or(443)
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Web(WebAddress { host, path }) if path.is_root() => host.fmt(f),
            Self::Web(WebAddress { host, path }) => write!(f, "{host}{path}"),
            Self::ServerName(host) => write!(f, "{host} by TLS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(host: WebHost, path: &str) -> Entrance {
        Entrance::Web(WebAddress { host, path: path.parse().unwrap() })
    }

    #[test]
    fn visitors_are_given_the_shortest_address_that_works() {
        let relay: HostName = "relay.example".parse().unwrap();
        let app = || WebHost::Subdomain("app".parse().unwrap());
        let own = || WebHost::Host("app.example.com".parse().unwrap());
        let domain: Option<DomainName> = Some("t.example".parse().unwrap());
        let plain = WebFront { port: Some(80), ..WebFront::default() };
        let tls = WebFront { domain, tls: true, port: Some(8443), tls_port: Some(8443) };
        let cases = [
            (web(app(), "/"), &plain, "http://relay.example/t/app/"),
            (web(app(), "/api"), &plain, "http://relay.example/t/app/api"),
            (web(own(), "/"), &plain, "http://app.example.com/"),
            (web(app(), "/"), &tls, "https://app.t.example:8443/"),
            (web(own(), "/api"), &tls, "https://app.example.com:8443/api"),
            (Entrance::ServerName(app()), &tls, "tls://app.t.example:8443"),
            (Entrance::Port(20000), &tls, "tcp://relay.example:20000"),
        ];
        for (entrance, front, address) in cases {
            assert_eq!(entrance.address(&relay, front).as_str(), address);
        }
        assert_eq!((plain.https_port(), tls.https_port()), (443, 8443));
        let behind_plain = WebFront { tls: false, port: Some(80), ..tls };
        assert_eq!(behind_plain.https_port(), 8443);
    }
}
