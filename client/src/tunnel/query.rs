//! Options behind the `?` of a tunnel: `NAME=VALUE` with `&` between, where bytes that would mean
//! something else are written as `%` and two hexadecimal digits (RFC 3986, section 2.1).

use super::BadTunnel;
use super::options::Options;

/// The options of a query with their values; an error where a `%` stands for nothing.
pub(super) fn options(query: &str) -> impl Iterator<Item = Result<(&str, String), BadTunnel>> {
    query.split('&').map(|option| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let decoded = decoded(value).ok_or_else(|| BadTunnel::Percent(name.to_owned()))?;
        Ok((name, decoded))
    })
}

/// `None`: a `%` is not followed by two digits, or what they stand for is no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        // `u8` would also take `+8`.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// `value` as it stands in a query, also where blanks are between several tunnels.
pub(super) fn encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '%' | '&' | '#') || c.is_whitespace() || c.is_control() {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        } else {
            encoded.push(c);
        }
    }
    encoded
}

/// Tunnels as they are written, without their secrets, for whoever is told that they are not good. An
/// option that is not known may be the name of a secret, mistyped.
pub(crate) fn masked(text: &str) -> String {
    let option = |option: &str| {
        let plain = option.trim_end_matches(|c: char| c == '&' || c.is_whitespace());
        let end = &option[plain.len()..];
        match plain.split_once('=') {
            Some((name, _)) if !Options::may_be_seen(name) => format!("{name}=***{end}"),
            _ => option.to_owned(),
        }
    };
    let tunnel = |tunnel: &str| match tunnel.split_once('?') {
        None => tunnel.to_owned(),
        Some((target, query)) => {
            format!("{target}?{}", query.split_inclusive('&').map(option).collect::<String>())
        }
    };
    text.split_inclusive(char::is_whitespace).map(tunnel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mean_something_else_is_written_in_another_way() {
        for value in ["", "a", "a b&c#d%", "50%", "é +=?/:", "\u{2003}\n"] {
            let written = encoded(value);
            assert!(!written.contains([' ', '&', '#', '\n', '\u{2003}']), "{written}");
            assert_eq!(decoded(&written).as_deref(), Some(value), "{written}");
        }
        assert_eq!(decoded("a%20b%C3%a9+").as_deref(), Some("a bé+"));
        for bad in ["%", "%2", "a%zz", "%+1", "%é", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_repeated_to_whoever_has_mistyped_something_else() {
        let text = "a=http://1?token=x&port=1 b=http://2?auht=a:b&auth=me:y?z&path=/c d=3";
        let expected = "a=http://1?token=***&port=1 b=http://2?auht=***&auth=***&path=/c d=3";
        assert_eq!(masked(text), expected);
    }
}
