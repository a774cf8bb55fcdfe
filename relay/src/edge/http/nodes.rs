//! `Forwarded` (RFC 7239): what each proxy says of whoever it was asked by.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{FORWARDED, HeaderMap};

/// What a proxy says of whoever it was asked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// `None`: it is hidden, or none is named.
    pub(super) ip: Option<IpAddr>,
    /// Whether it came by TLS.
    pub(super) tls: Option<bool>,
}

/// What proxies say, from the nearest back. What stands in front may be a visitor's own, and however
/// it is broken, what stands behind it is read all the same.
pub(super) fn nodes(headers: &HeaderMap) -> impl Iterator<Item = Node> {
    let fields = headers.get_all(FORWARDED).into_iter().rev();
    fields.flat_map(|field| backwards(field.to_str().unwrap_or_default(), ',')).map(node)
}

/// An address with or without a port. `None`: it is hidden, or none.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, _) = rest.split_once(']')?;
        return ip.parse::<Ipv6Addr>().ok().map(|ip| IpAddr::from(ip).to_canonical());
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    text.rsplit_once(':').and_then(|(ip, _)| ip.parse().ok())
}

/// Whether this is what TLS is called, if it is known.
pub(super) fn is_tls(proto: &str) -> Option<bool> {
    let is = |name: &str| proto.eq_ignore_ascii_case(name);
    match () {
        () if is("https") || is("wss") => Some(true),
        () if is("http") || is("ws") => Some(false),
        () => None,
    }
}

fn node(element: &str) -> Node {
    let mut node = Node::default();
    for pair in backwards(element, ';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let Some(value) = plain(value) else { continue };
        match name {
            name if name.eq_ignore_ascii_case("for") => node.ip = address(&value),
            name if name.eq_ignore_ascii_case("proto") => node.tls = is_tls(&value),
            _ => (),
        }
    }
    node
}

/// The parts of a list, the last one first. A separator between quotes is none.
fn backwards(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut left = Some(list);
    std::iter::from_fn(move || {
        let list = left?;
        let mut is_quoted = false;
        let found = list.char_indices().rev().find(|(at, char)| {
            let is_escaped =
                || list[..*at].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
            is_quoted ^= *char == '"' && !is_escaped();
            *char == separator && !is_quoted
        });
        let (before, part) = match found {
            Some((at, _)) => (Some(&list[..at]), &list[at + 1..]),
            None => (None, list),
        };
        left = before;
        Some(part.trim())
    })
}

/// A value without its quotes. `None`: they do not fit.
fn plain(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(Cow::Borrowed(value));
    };
    let mut plain = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(Cow::Owned(plain)),
            '\\' => plain.push(chars.next()?),
            char => plain.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn of(fields: &[&'static str]) -> Vec<Node> {
        let fields = fields.iter().map(|field| (FORWARDED, HeaderValue::from_static(field)));
        nodes(&fields.collect()).collect()
    }

    fn ips(fields: &[&'static str]) -> Vec<Option<String>> {
        of(fields).iter().map(|node| node.ip.map(|ip| ip.to_string())).collect()
    }

    fn at(ip: &str) -> Option<String> {
        Some(ip.to_owned())
    }

    #[test]
    fn proxies_say_who_came_with_or_without_a_port() {
        // The examples of RFC 7239, sections 4 and 6.
        for (field, ip) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", at("192.0.2.60")),
            ("For=\"[2001:db8:cafe::17]:4711\"", at("2001:db8:cafe::17")),
            ("for=\"192.0.2.43:47011\"", at("192.0.2.43")),
            ("for=192.0.2.43", at("192.0.2.43")),
            ("proto=https;FOR=192.0.2.43", at("192.0.2.43")),
            ("for=\"\\1\\92.0.2.43\"", at("192.0.2.43")),
            ("for=\"[::ffff:192.0.2.1]\"", at("192.0.2.1")),
            ("for=\"_gazonk\"", None),
            ("for=_hidden", None),
            ("for=\"_SEVKISEK:4711\"", None),
            ("for=unknown", None),
            ("for=", None),
            ("for=\"192.0.2.43", None),
            ("for=192.0.2.43\"", None),
            ("for=\"192.0.2.43\"x", None),
            ("by=203.0.113.43", None),
            ("", None),
        ] {
            assert_eq!(ips(&[field]), [ip], "{field}");
        }
        let tls = |field| of(&[field])[0].tls;
        assert_eq!(tls("for=_a;proto=https"), Some(true));
        assert_eq!(tls("proto=\"HTTP\""), Some(false));
        assert_eq!((tls("for=_a"), tls("proto=gopher")), (None, None));
    }

    #[test]
    fn the_nearest_comes_first_whatever_stands_before_it() {
        let two = [at("192.0.2.2"), at("192.0.2.1")];
        assert_eq!(ips(&["for=192.0.2.1, for=192.0.2.2"]), two);
        assert_eq!(ips(&["for=192.0.2.1", "for=192.0.2.2"]), two);
        assert_eq!(ips(&["for=192.0.2.1;host=\"a,b;for=6.6.6.6\" ,for=192.0.2.2;by=\"_;,\""]), two);
        assert_eq!(ips(&["for=192.0.2.1;host=\"a\\\",b\", for=192.0.2.2"]), two);
        // What a visitor leaves open does not take in what a proxy says.
        for broken in [
            "for=\"x, for=192.0.2.2",
            "for=\"x\\\", for=192.0.2.2",
            "\", for=192.0.2.2",
            "\"\\, for=192.0.2.2",
        ] {
            assert_eq!(ips(&[broken])[..1], two[..1], "{broken}");
        }
        assert_eq!(ips(&["for=\"", "for=192.0.2.2"]), [two[0].clone(), None]);
    }
}
