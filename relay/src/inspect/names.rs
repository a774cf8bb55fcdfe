//! Which values are secrets, by their names.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::config::MaskNames;
use crate::web::mask::{self, SECRETS};

/// Names that are secrets in headers as well, beside those of parameters.
const OF_HEADERS: [&str; 8] = [
    "authenticationinfo",
    "cookie",
    "csrf",
    "proxyauthorization",
    "setcookie",
    "xcsrf",
    "xsrf",
    "wwwauthenticate",
];

/// Whatever ends like this is one too: `userPassword`, `X-Tunnel-Token`, `stripe_secret_key`.
const ENDS: [&str; 11] = [
    "accesskey",
    "apikey",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "token",
];

/// Names that stand for a secret only where their value is a text: `"code": 200` is none.
const OFTEN_HARMLESS: [&str; 3] = ["code", "key", "sign"];

/// Those of parameters, as they are compared here.
static KNOWN: LazyLock<HashSet<String>> =
    LazyLock::new(|| SECRETS.iter().chain(&OF_HEADERS).map(|name| squashed(name)).collect());

/// Headers that say where a visitor is.
const ADDRESSES: [&str; 7] = [
    "cf-connecting-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-for",
    "x-real-ip",
];

/// The names of secrets, with those that an operator has added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    added: MaskNames,
    /// Nobody is to learn where visitors are.
    hides_addresses: bool,
}

impl Names {
    pub(super) fn new(added: MaskNames, hides_addresses: bool) -> Self {
        Self { added, hides_addresses }
    }

    /// Whether the value of a parameter or a field with this name is a secret. The name is as it is
    /// written, with its escapes.
    pub(super) fn hide_parameter(&self, name: &[u8]) -> bool {
        mask::parts(name, |part| self.hide(part))
    }

    /// Whether that of a key of JSON is one, which is a text or is not.
    pub(super) fn hide_key(&self, name: &str, is_text: bool) -> bool {
        name.split(['[', ']', '.'])
            .any(|part| self.hide(part) && (is_text || !OFTEN_HARMLESS.contains(&&*squashed(part))))
    }

    /// Whether that of a header is one.
    pub(super) fn hide_header(&self, name: &str) -> bool {
        // What stands behind the first `x-` is the name of a parameter as often as not.
        self.hide(name)
            || name.strip_prefix("x-").is_some_and(|name| self.hide(name))
            || (self.hides_addresses && ADDRESSES.contains(&name))
    }

    fn hide(&self, name: &str) -> bool {
        let name = squashed(name);
        KNOWN.contains(&name)
            || ENDS.iter().any(|end| name.ends_with(end))
            || self.added.contains(&name)
    }
}

/// A name as it is compared: letters and digits alone, in lower case.
fn squashed(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_however_their_names_are_written() {
        let names = Names::new("X-Iban".parse().unwrap(), false);
        for header in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-tunnel-token",
            "x-auth",
            "x-csrf-token",
            "x-iban",
        ] {
            assert!(names.hide_header(header), "{header}");
        }
        for header in ["host", "accept", "x-request-id", "content-type", "x-forwarded-for"] {
            assert!(!names.hide_header(header), "{header}");
        }
        let without = Names::new(MaskNames::default(), true);
        assert!(without.hide_header("x-forwarded-for") && without.hide_header("forwarded"));
        for name in ["password", "user[password]", "t%6Fken", "Api-Key", "a.new_password", "x_iban"]
        {
            assert!(names.hide_parameter(name.as_bytes()), "{name}");
        }
        for key in ["password", "accessToken", "client_secret", "PASSWORD", "dbPassword", "code"] {
            assert!(names.hide_key(key, true), "{key}");
        }
        for key in ["tokens", "max_tokens", "name", "author", "passenger", "encoding"] {
            assert!(!names.hide_key(key, true), "{key}");
        }
        assert!(!names.hide_key("code", false) && names.hide_key("pin", false));
    }
}
