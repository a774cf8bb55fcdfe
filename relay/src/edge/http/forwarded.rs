//! Who visits, as a local service is told, and as proxies in front of the relay tell it.
//!
//! What strangers say of themselves is thrown away. Those of whom `--trust-proxy` says that they are
//! to be believed may name the visitor, in `X-Forwarded-For` and `X-Forwarded-Proto`. `Forwarded` (RFC
//! 7239) is for the local service alone: few proxies set it, and the others pass on what a visitor says
//! there.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use shared::kit::digits::push_ip;
use shared::kit::net::Networks;

use super::fields::{Values, remove_all};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Everything that says so. Nothing of it is passed on from strangers.
const ALL: [HeaderName; 8] = [
    FORWARDED,
    FOR,
    HOST,
    PORT,
    PREFIX,
    PROTO,
    REAL_IP,
    HeaderName::from_static("x-forwarded-server"),
];

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
        let hops: Vec<_> = values(headers, FOR).map(|hop| address(hop.trim())).collect();
        // From the relay back, as long as each is to be believed.
        let mut before: Vec<IpAddr> = Vec::new();
        for hop in hops.into_iter().rev().take(MOST_HOPS) {
            // One that hides itself hides those before it.
            let Some(hop) = hop else { break };
            before.insert(0, hop);
            if !trusted.contain(hop) {
                break;
            }
        }
        let visitor = before.first().copied().unwrap_or(peer);
        Self { visitor, before, tls: proto(headers).unwrap_or(tls), peer }
    }

    /// Tells the local service: of the visitor's `host` as written, and of what was taken away in
    /// front of the path.
    pub(super) fn tell(&self, headers: &mut HeaderMap, host: &str, prefix: Option<&str>) {
        remove_all(headers, |name| ALL.contains(name));
        let proto = if self.tls { "https" } else { "http" };
        headers.insert(PROTO, HeaderValue::from_static(proto));
        let mut values = Values::default();
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

/// An address with or without a port. `None`: it is hidden, or none.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, _) = rest.split_once(']')?;
        return ip.parse::<Ipv6Addr>().ok().map(|ip| IpAddr::from(ip).to_canonical());
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    text.rsplit_once(':').and_then(|(ip, _)| ip.parse().ok())
}

/// Whether the visitor came by TLS, as the hop says that is nearest: what stands before may be the
/// visitor's own.
fn proto(headers: &HeaderMap) -> Option<bool> {
    match values(headers, PROTO).last()?.trim() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
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
            (REAL_IP, "1.2.3.4"),
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
        // Few proxies care for it, and pass on what a visitor says there.
        let other = way(&[(FORWARDED, "for=6.6.6.6;proto=https"), (FOR, "192.0.2.1")]);
        assert_eq!((other.visitor, other.tls), (ip("192.0.2.1"), false));
        assert_eq!(way(&[(FOR, "192.0.2.1, unknown, 10.0.0.2")]).visitor, ip("10.0.0.2"));
        assert_eq!(way(&[]).visitor, ip("10.0.0.1"));
    }
}
