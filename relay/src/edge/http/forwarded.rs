//! Who visits, as a local service is told, and as proxies in front of the relay tell it.
//!
//! What strangers say of themselves is thrown away. Those of whom `--trust-proxy` says that they are
//! to be believed may name the visitor, in `X-Forwarded-For` and `X-Forwarded-Proto`, or in `Forwarded`
//! (RFC 7239). Where there is one of the former, the latter does not count: nginx, Caddy and most
//! others set `X-Forwarded-For`, and pass on what a visitor says in `Forwarded`.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use shared::kit::digits::push_ip;
use shared::kit::net::Networks;

use super::nodes::{Node, address, is_tls, nodes};
use crate::web::fields::{Values, remove_all};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether it is a header that says so. Nothing of it is passed on from strangers, nor with `_` for
/// `-`: to programs that get headers as variables (RFC 3875, section 4.1.18) that is the same.
pub(super) fn tells(name: &HeaderName) -> bool {
    let name = name.as_str();
    is_told(name)
        || (name.starts_with('x') && name.contains('_') && is_told(&name.replace('_', "-")))
}

fn is_told(name: &str) -> bool {
    // By their text: that is compared by its length first, and every request has many.
    matches!(
        name,
        "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
            | "x-forwarded-proto"
            | "x-forwarded-server"
            | "x-real-ip"
    )
}

/// So many hops of a request are looked at.
const MOST_HOPS: usize = 32;

/// What is known of a request's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Who the visitor is, as far as is believed.
    pub(super) visitor: IpAddr,
    /// The hops in front of whoever connected to the relay, as they are passed on.
    before: Vec<IpAddr>,
    /// Whether the visitor came by TLS.
    pub(super) tls: bool,
    /// Who connected to the relay.
    peer: IpAddr,
}

impl Way {
    /// The way of a request that `peer` has sent, by TLS or not.
    pub(super) fn of(headers: &HeaderMap, peer: IpAddr, tls: bool, trusted: &Networks) -> Self {
        if !trusted.contain(peer) {
            return Self { visitor: peer, before: Vec::new(), tls, peer };
        }
        let mut way = Self { visitor: peer, before: Vec::new(), tls, peer };
        if headers.contains_key(FOR) || headers.contains_key(PROTO) {
            way.tls = proto(headers).unwrap_or(tls);
            let hops: Vec<_> = values(headers, FOR).map(|hop| address(hop.trim())).collect();
            way.follow(hops.into_iter().rev().map(|ip| Node { ip, tls: None }), trusted);
        } else {
            way.follow(nodes(headers), trusted);
        }
        way
    }

    /// Goes from the relay back, as long as each node is to be believed.
    fn follow(&mut self, nodes: impl Iterator<Item = Node>, trusted: &Networks) {
        let by_peer = self.tls;
        for node in nodes.take(MOST_HOPS) {
            self.tls = node.tls.unwrap_or(by_peer);
            // One that hides itself hides those before it.
            let Some(ip) = node.ip else { break };
            self.before.insert(0, ip);
            self.visitor = ip;
            if !trusted.contain(ip) {
                break;
            }
        }
    }

    /// Tells the local service: of the visitor's `host` as written, and of what was taken away in
    /// front of the path.
    pub(super) fn tell(&self, headers: &mut HeaderMap, host: &str, prefix: Option<&str>) {
        remove_all(headers, tells);
        let proto = if self.tls { "https" } else { "http" };
        headers.insert(PROTO, HeaderValue::from_static(proto));
        let mut values = Values::new();
        values.add(FOR, |text| {
            for (at, hop) in self.hops().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                push_ip(text, *hop);
            }
        });
        values.add(HOST, |text| text.push_str(host));
        if let Some(prefix) = prefix {
            values.add(PREFIX, |text| text.push_str(prefix));
        }
        values.add(FORWARDED, |text| self.describe(text, proto, host));
        values.insert_into(headers);
    }

    /// Who has passed the request on, the visitor first.
    fn hops(&self) -> impl Iterator<Item = &IpAddr> {
        self.before.iter().chain([&self.peer])
    }

    /// The same as `Forwarded` says it (RFC 7239).
    fn describe(&self, text: &mut String, proto: &str, host: &str) {
        for (at, hop) in self.hops().enumerate() {
            text.push_str(if at == 0 { "for=" } else { ", for=" });
            // Colons and brackets have to be quoted (section 6).
            let (before, behind) = if hop.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
            text.push_str(before);
            push_ip(text, *hop);
            text.push_str(behind);
            if at == 0 {
                // That is how the visitor came; what came after may be different.
                text.push_str(";proto=");
                text.push_str(proto);
                if !host.is_empty() {
                    text.push_str(";host=\"");
                    text.push_str(host);
                    text.push('"');
                }
            }
        }
    }
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let fields = headers.get_all(name).into_iter();
    fields.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))
}

/// Whether the visitor came by TLS, as the hop says that is nearest: what stands before may be the
/// visitor's own.
fn proto(headers: &HeaderMap) -> Option<bool> {
    is_tls(values(headers, PROTO).last()?.trim())
}

/// The visitor, who need not be the peer of the connection: then no port of theirs is known.
pub(super) fn with_port(visitor: IpAddr, peer: SocketAddr) -> SocketAddr {
    let is_peer = visitor == peer.ip().to_canonical();
    SocketAddr::new(visitor, if is_peer { peer.port() } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let fields = fields.iter();
        fields.map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_are_not_believed() {
        let mut said = headers(&[
            (FOR, "1.2.3.4"),
            (FORWARDED, "for=1.2.3.4;proto=https"),
            (HeaderName::from_static("x-real-ip"), "1.2.3.4"),
            (HeaderName::from_static("x_forwarded-for"), "1.2.3.4"),
            (PROTO, "https"),
        ]);
        let way = Way::of(&said, ip("192.0.2.1"), false, &Networks::default());
        assert_eq!((way.visitor, way.tls), (ip("192.0.2.1"), false));
        way.tell(&mut said, "app.example:8080", Some("/t/app"));
        let told = headers(&[
            (FOR, "192.0.2.1"),
            (PROTO, "http"),
            (HOST, "app.example:8080"),
            (PREFIX, "/t/app"),
            (FORWARDED, "for=192.0.2.1;proto=http;host=\"app.example:8080\""),
        ]);
        assert_eq!(said, told);
    }

    #[test]
    fn those_who_are_trusted_name_the_visitor_and_no_one_before_a_stranger_does() {
        let trusted: Networks = "10.0.0.0/8,2001:db8::/32".parse().unwrap();
        let way = |fields: &[(HeaderName, &'static str)]| {
            Way::of(&headers(fields), ip("10.0.0.1"), false, &trusted)
        };
        let by_x = way(&[(FOR, "6.6.6.6, 192.0.2.1, 10.0.0.2"), (PROTO, "https")]);
        assert_eq!((by_x.visitor, by_x.tls), (ip("192.0.2.1"), true));
        let mut told = HeaderMap::new();
        by_x.tell(&mut told, "", None);
        assert_eq!(told[FOR], "192.0.2.1, 10.0.0.2, 10.0.0.1");

        let brackets = way(&[(FOR, "[2001:db9::1]:4711, 2001:db8::7"), (PROTO, "https, http")]);
        assert_eq!((brackets.visitor, brackets.tls), (ip("2001:db9::1"), false));
        // Few proxies set it, and the others pass on what a visitor says there.
        for own in [(FOR, "192.0.2.1"), (PROTO, "http")] {
            let visitor = if own.0 == FOR { ip("192.0.2.1") } else { ip("10.0.0.1") };
            let other = way(&[(FORWARDED, "for=6.6.6.6;proto=https"), own]);
            assert_eq!((other.visitor, other.tls), (visitor, false));
        }
        assert_eq!(way(&[(FOR, "192.0.2.1, unknown, 10.0.0.2")]).visitor, ip("10.0.0.2"));
        assert_eq!(way(&[]).visitor, ip("10.0.0.1"));
    }

    #[test]
    fn those_who_are_trusted_may_say_it_in_the_standard_way() {
        let trusted: Networks = "10.0.0.0/8,2001:db8::/32".parse().unwrap();
        let way = |field: &'static str| {
            let way = Way::of(&headers(&[(FORWARDED, field)]), ip("10.0.0.1"), false, &trusted);
            (way.visitor.to_string(), way.tls)
        };
        let is = |visitor: &str, tls| (visitor.to_owned(), tls);
        assert_eq!(way("for=192.0.2.1;proto=https"), is("192.0.2.1", true));
        assert_eq!(way("for=\"[2001:db9::1]:4711\";proto=https"), is("2001:db9::1", true));
        // How the visitor came, and not what came after it.
        let far = "for=6.6.6.6;proto=http, for=192.0.2.1;proto=https, for=10.0.0.2;proto=http";
        assert_eq!(way(far), is("192.0.2.1", true));
        assert_eq!(way("for=6.6.6.6;proto=https, for=192.0.2.1"), is("192.0.2.1", false));
        assert_eq!(way("for=6.6.6.6, for=_hidden;proto=https, for=10.0.0.2"), is("10.0.0.2", true));
        assert_eq!(way("for=6.6.6.6, for=unknown"), is("10.0.0.1", false));
        assert_eq!(way("proto=https"), is("10.0.0.1", true));
        let mut told = headers(&[(FORWARDED, far)]);
        Way::of(&told.clone(), ip("10.0.0.1"), false, &trusted).tell(&mut told, "", None);
        assert_eq!(told[FOR], "192.0.2.1, 10.0.0.2, 10.0.0.1");
        assert_eq!(told[FORWARDED], "for=192.0.2.1;proto=https, for=10.0.0.2, for=10.0.0.1");
    }
}
