//! Headers and targets as they are kept: copied, so that they hold on to no buffer of hyper's, and
//! without secrets.

use std::borrow::Cow;

use hyper::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, SET_COOKIE,
    WWW_AUTHENTICATE,
};

use super::cost;
use super::names::Names;
use crate::web::mask::{self, MASKED};

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    /// As it came, unless it is masked.
    pub(crate) value: Box<[u8]>,
    /// Something of it was a secret.
    pub(crate) is_masked: bool,
}

/// Headers, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Box<[Field]>);

impl Field {
    /// The value as text. What is no UTF-8 is read as Latin-1, as programs did before it.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match std::str::from_utf8(&self.value) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(self.value.iter().map(|byte| char::from(*byte)).collect()),
        }
    }
}

impl Fields {
    /// Those of a head, without secrets.
    pub(super) fn of(headers: &HeaderMap, names: &Names) -> Self {
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            let masked = masked(name, value, names);
            Field {
                name: name.as_str().into(),
                is_masked: masked.is_some(),
                value: masked.map_or_else(
                    || value.as_bytes().into(),
                    |masked| masked.into_bytes().into_boxed_slice(),
                ),
            }
        };
        Self(headers.iter().map(field).collect())
    }

    pub(super) fn cost(&self) -> usize {
        let each = |field: &Field| {
            size_of::<Field>() + cost::of(field.name.len()) + cost::of(field.value.len())
        };
        self.0.iter().map(each).sum()
    }
}

/// A path with its query without secrets, and whether there were any.
pub(super) fn target(target: &str, names: &Names) -> (Box<str>, bool) {
    let masked = mask::path_by(target, |name| names.hide_parameter(name));
    let is_masked = matches!(masked, Cow::Owned(_));
    (masked.into(), is_masked)
}

/// What is kept of a value that is a secret, or has one in it.
fn masked(name: &HeaderName, value: &HeaderValue, names: &Names) -> Option<String> {
    if !names.hide_header(name.as_str()) {
        let text = value.to_str().ok()?;
        let is_address = text.starts_with('/') || text.contains("://");
        let masked = is_address
            .then(|| mask::url_by(Cow::Borrowed(text), |name| names.hide_parameter(name)))?;
        return (*masked != *text).then(|| masked.into_owned());
    }
    let text = value.to_str().unwrap_or_default();
    Some(match name {
        &COOKIE => cookies(text),
        &SET_COOKIE => set_cookie(text),
        &AUTHORIZATION | &PROXY_AUTHORIZATION | &WWW_AUTHENTICATE => credentials(text),
        _ => MASKED.to_owned(),
    })
}

/// The names of cookies, which tell developers which there were.
fn cookies(text: &str) -> String {
    let pairs = text.split(';').map(|pair| match pair.trim().split_once('=') {
        Some((name, _)) => format!("{name}={MASKED}"),
        None => MASKED.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("; ")
}

/// The name of a cookie and what is to become of it.
fn set_cookie(text: &str) -> String {
    let (pair, rest) = text.split_once(';').map_or((text, ""), |(pair, rest)| (pair, rest));
    let name = pair.split_once('=').map_or("", |(name, _)| name);
    let semicolon = if rest.is_empty() { "" } else { ";" };
    format!("{name}={MASKED}{semicolon}{rest}")
}

/// The scheme, if it is one that is known.
fn credentials(text: &str) -> String {
    let scheme = text.split_once(' ').map(|(scheme, _)| scheme);
    let known = ["Basic", "Bearer", "Digest", "Negotiate", "NTLM", "HOBA", "Mutual", "DPoP"];
    match scheme.filter(|scheme| known.iter().any(|one| one.eq_ignore_ascii_case(scheme))) {
        Some(scheme) => format!("{scheme} {MASKED}"),
        None => MASKED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_secrets_only_what_they_are_is_kept() {
        let names = Names::default();
        for (name, value, kept) in [
            ("authorization", "Bearer hush", "Bearer ***"),
            ("authorization", "hush", "***"),
            ("authorization", "hush now", "***"),
            ("proxy-authorization", "Basic aHVzaA==", "Basic ***"),
            ("cookie", "a=hush; b=hush=1;hush", "a=***; b=***; ***"),
            ("set-cookie", "id=hush; Path=/; HttpOnly", "id=***; Path=/; HttpOnly"),
            ("set-cookie", "hush", "=***"),
            ("x-api-key", "hush", "***"),
            ("referer", "https://a.example/?token=hush&x=1", "https://a.example/?token=***&x=1"),
            ("location", "/cb?code=hush#hush", "/cb?code=***"),
            ("accept", "text/html", "text/html"),
            ("user-agent", "a#b?c", "a#b?c"),
        ] {
            let name: HeaderName = name.parse().unwrap();
            let map = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            let fields = Fields::of(&map, &names);
            assert_eq!(fields.0[0].text(), kept);
            assert_eq!(fields.0[0].is_masked, value != kept, "{value}");
        }
        let (kept, is_masked) = target("/a?password=hush&b=1", &names);
        assert_eq!((&*kept, is_masked), ("/a?password=***&b=1", true));
        assert_eq!(target("/a?b=1", &names), ("/a?b=1".into(), false));
    }

    #[test]
    fn what_is_no_utf_8_is_still_shown() {
        let name = HeaderName::from_static("x-name");
        let map = HeaderMap::from_iter([(name, HeaderValue::from_bytes(b"caf\xe9").unwrap())]);
        assert_eq!(Fields::of(&map, &Names::default()).0[0].text(), "café");
    }
}
