//! What nobody is to read in a log, or of what is kept of requests: the values of parameters that are
//! secrets by their name.

use std::borrow::Cow;

use crate::web::percent::decoded;

/// What stands in the place of a secret.
pub(crate) const MASKED: &str = "***";

/// The parameters whose values are masked: in lower case, with `_` for `-`. `docs/operating.md` has
/// the same list.
pub(crate) const SECRETS: [&str; 48] = [
    "access_key",
    "access_token",
    "api_key",
    "api_token",
    "apikey",
    "assertion",
    "auth",
    "auth_token",
    "authorization",
    "bearer",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "credential",
    "credentials",
    "csrf_token",
    "hmac",
    "id_token",
    "jwt",
    "key",
    "otp",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "private_key",
    "pwd",
    "refresh_token",
    "samlresponse",
    "secret",
    "secret_key",
    "session",
    "session_id",
    "session_token",
    "sessionid",
    "sid",
    "sig",
    "sign",
    "signature",
    "ticket",
    "token",
    "tunnel_token",
    "x_amz_credential",
    "x_amz_security_token",
    "x_amz_signature",
    "x_goog_signature",
];

/// So much of the end of a name is compared, in bytes as it is written, of which each may be `%xx`. In
/// front of that nobody nests what matters.
pub(crate) const LONGEST_NAME: usize = 3 * 64;

/// A path with its query, without secrets.
pub(crate) fn path(path: &str) -> Cow<'_, str> {
    path_by(path, is_secret)
}

/// The same for whoever knows by itself which names are those of secrets, as they are written.
pub(crate) fn path_by(path: &str, is_secret: impl Fn(&[u8]) -> bool) -> Cow<'_, str> {
    let secret = |pair| secret(pair, &is_secret);
    let Some((before, query)) = path.split_once('?') else { return Cow::Borrowed(path) };
    if !query.split(['&', ';']).any(|pair| secret(pair).is_some()) {
        return Cow::Borrowed(path);
    }
    let mut masked = format!("{before}?");
    for pair in query.split_inclusive(['&', ';']) {
        let (pair, end) = match pair.strip_suffix(['&', ';']) {
            Some(rest) => (rest, &pair[rest.len()..]),
            None => (pair, ""),
        };
        match secret(pair) {
            Some(name) => [name, "=", MASKED, end].iter().for_each(|part| masked.push_str(part)),
            None => [pair, end].iter().for_each(|part| masked.push_str(part)),
        }
    }
    Cow::Owned(masked)
}

/// A whole address, as in `Referer`, without secrets: neither in its query nor in front of its host,
/// and without what stands behind a `#`, where tokens are as well.
pub(crate) fn url(url: Cow<'_, str>) -> Cow<'_, str> {
    url_by(url, is_secret)
}

/// The same for whoever knows by itself which names are those of secrets, as they are written.
pub(crate) fn url_by<'a>(url: Cow<'a, str>, is_secret: impl Fn(&[u8]) -> bool) -> Cow<'a, str> {
    let mut url = match url.split_once('#') {
        Some((before, _)) => Cow::Owned(before.to_owned()),
        None => url,
    };
    let start = if url.starts_with("//") { Some(2) } else { url.find("://").map(|at| at + 3) };
    if let Some(start) = start {
        let end = url[start..].find(['/', '?']).map_or(url.len(), |length| start + length);
        if let Some(at) = url[start..end].rfind('@') {
            url = Cow::Owned(format!("{}{MASKED}{}", &url[..start], &url[start + at..]));
        }
    }
    match path_by(&url, is_secret) {
        Cow::Borrowed(_) => url,
        Cow::Owned(masked) => Cow::Owned(masked),
    }
}

/// The name of a parameter whose value is a secret, as it is written.
fn secret(pair: &str, is_secret: impl Fn(&[u8]) -> bool) -> Option<&str> {
    let (name, _) = pair.split_once('=')?;
    is_secret(name.as_bytes()).then_some(name)
}

fn is_secret(name: &[u8]) -> bool {
    parts(name, |part| SECRETS.binary_search(&part).is_ok())
}

/// Whether any part of a name as it is written is one of those: `user[password][0]` and
/// `user.password`, as frameworks nest them.
pub(crate) fn parts(name: &[u8], is_one: impl Fn(&str) -> bool) -> bool {
    let end = name.len().saturating_sub(LONGEST_NAME);
    let plain = plain(&name[end..]);
    plain.split(['[', ']', '.']).any(|part| is_one(part.trim_matches([' ', '+'])))
}

/// A name as it is compared: without escapes, in lower case, with `_` for `-`.
fn plain(name: &[u8]) -> String {
    let plain = |byte| match byte {
        b'-' => '_',
        byte => char::from(byte).to_ascii_lowercase(),
    };
    decoded(name).into_iter().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_their_names() {
        assert!(SECRETS.is_sorted());
        let masked = [
            ("/?token=a", "/?token=***"),
            ("/a?x=1&access_token=b&y=2", "/a?x=1&access_token=***&y=2"),
            ("/?Api-Key=c;x=1", "/?Api-Key=***;x=1"),
            ("/?t%6Fken=d&token=e&token=", "/?t%6Fken=***&token=***&token=***"),
            ("/?user[password]=f&user%5Bpin%5D=g", "/?user[password]=***&user%5Bpin%5D=***"),
            (
                "/?password[]=h&token[0]=i&a[pin][b]=j",
                "/?password[]=***&token[0]=***&a[pin][b]=***",
            ),
            ("/?user.password=k&+token=l&%20sid=m", "/?user.password=***&+token=***&%20sid=***"),
            ("/?code=a=b?c", "/?code=***"),
            ("/?X-Amz-Signature=0a", "/?X-Amz-Signature=***"),
            ("/?tunnel_token=x", "/?tunnel_token=***"),
        ];
        for (written, shown) in masked {
            assert_eq!(path(written), shown);
        }
        let nested = format!("/?{}%5Bpassword%5D=", "order%5Bitem%5D".repeat(40));
        assert_eq!(path(&format!("{nested}hush")), format!("{nested}***"));
        for harmless in [
            "/token",
            "/?",
            "/",
            "*",
            "/?q=token",
            "/?tokens=1",
            "/?token",
            "/?%=1&%zz=2",
            "/?ключ=1",
        ] {
            assert_eq!(path(harmless), harmless);
            assert!(matches!(path(harmless), Cow::Borrowed(_)), "{harmless}");
        }
    }

    #[test]
    fn addresses_of_other_places_are_masked_as_well() {
        let masked = [
            ("https://ann:pw@app.example/a?code=1#token=2", "https://***@app.example/a?code=***"),
            ("https://ann@app.example", "https://***@app.example"),
            ("//ann:pw@app.example/a", "//***@app.example/a"),
            ("https://app.example/@ann?q=1", "https://app.example/@ann?q=1"),
            ("/relative?sid=1", "/relative?sid=***"),
            ("https://app.example?a=b@c", "https://app.example?a=b@c"),
        ];
        for (written, shown) in masked {
            assert_eq!(url(written.into()), shown);
        }
    }
}
