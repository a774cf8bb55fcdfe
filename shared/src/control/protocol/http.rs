//! What a client wants done with the requests of an HTTP tunnel.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::kit::amounts::Frequency;

/// The longest [`HttpOptions`] in bytes of JSON.
pub const MAX_HTTP_OPTIONS: usize = 6 * 1024;

/// What a client wants done with the requests of an HTTP tunnel.
///
/// The names and values of headers are checked by the relay, which knows HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpOptions {
    /// What the local service speaks.
    #[serde(skip_serializing_if = "is_default")]
    pub version: HttpVersion,
    /// Which of several clients a request goes to.
    #[serde(skip_serializing_if = "is_default")]
    pub balance: Balance,
    /// What requests have to have in `X-Tunnel-Token` or `?tunnel_token=`.
    #[serde(skip_serializing_if = "is_default")]
    pub token: Option<SecretDigest>,
    /// `USER:PASSWORD` of those who may come in (Basic, RFC 7617). Empty: everybody.
    #[serde(skip_serializing_if = "is_default")]
    pub auth: Vec<SecretDigest>,
    /// The `Host` that the local service sees. Without one it is the visitor's.
    #[serde(skip_serializing_if = "is_default")]
    pub rewrite_host: Option<String>,
    /// Headers of requests that the local service sees besides, in the place of those of the same
    /// name.
    #[serde(skip_serializing_if = "is_default")]
    pub add_header: Vec<(String, String)>,
    /// Headers of requests that it does not see.
    #[serde(skip_serializing_if = "is_default")]
    pub remove_header: Vec<String>,
    /// The longest body of a request, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub max_body: Option<u64>,
    /// How long the local service may take to begin its answer, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout_ms: Option<u64>,
    /// Whether answers are compressed for visitors who take that.
    #[serde(skip_serializing_if = "is_default")]
    pub compress: bool,
    /// Whether visitors without TLS are sent to the same place with it.
    #[serde(skip_serializing_if = "is_default")]
    pub redirect_https: bool,
    /// How long browsers are to come by TLS alone, in seconds (RFC 6797).
    #[serde(skip_serializing_if = "is_default")]
    pub hsts: Option<u64>,
    /// Where visitors of a path are sent instead.
    #[serde(skip_serializing_if = "is_default")]
    pub redirect: Vec<(String, String)>,
    /// How often requests may come from one source.
    #[serde(skip_serializing_if = "is_default")]
    pub rate: Option<Frequency>,
    /// The JSON Web Tokens that requests have to come with.
    #[serde(skip_serializing_if = "is_default")]
    pub jwt: Option<JwtCheck>,
    /// Who has to have signed requests.
    #[serde(skip_serializing_if = "is_default")]
    pub webhook: Option<WebhookCheck>,
}

/// What a local service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 from the first byte on, without an upgrade (RFC 9113, section 3.3).
    Http2,
}

/// Which of several clients of a tunnel a request goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// The one that came last.
    #[default]
    Newest,
    /// The one with the fewest requests.
    LeastBusy,
    /// Any.
    Random,
    /// The same one for the same source, as long as it is there.
    Sticky,
}

/// The JSON Web Tokens that requests have to come with, as `Authorization: Bearer` (RFC 6750).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtCheck {
    /// What they are signed with: a public key as PEM, or a JSON Web Key Set (RFC 7517).
    pub keys: String,
    /// Whom they have to be for.
    pub audience: String,
    /// Who has to have made them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// Who has to have signed requests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCheck {
    /// How they sign.
    pub from: WebhookSender,
    /// The secret that is shared with them.
    pub secret: String,
}

/// Those whose signatures are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookSender {
    /// `X-Hub-Signature-256`.
    GitHub,
    /// `Stripe-Signature`.
    Stripe,
    /// `X-Slack-Signature`.
    Slack,
}

/// What a secret is recognised by, without the secret: its SHA-256.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// That of this secret.
    pub fn of(secret: &[u8]) -> Self {
        let hash = digest(&SHA256, secret);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Whether it is that of this secret. Takes the same time whatever is different.
    pub fn is_of(&self, secret: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, &Self::of(secret).0).is_ok()
    }
}

/// A password may be short: its digest tells nearly as much as it does.
impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(***)")
    }
}

impl fmt::Debug for WebhookCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookCheck").field("from", &self.from).finish_non_exhaustive()
    }
}

impl TryFrom<String> for SecretDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("a digest is 64 hexadecimal digits")
    }
}

impl From<SecretDigest> for String {
    fn from(digest: SecretDigest) -> Self {
        HEXLOWER.encode(&digest.0)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_look_as_documented_and_those_by_default_are_left_out() {
        let options = HttpOptions {
            version: HttpVersion::Http2,
            balance: Balance::LeastBusy,
            add_header: vec![("X-A".into(), "1".into())],
            rate: Some("20/1m".parse().unwrap()),
            ..HttpOptions::default()
        };
        let json = r#"{"version":"http2","balance":"least-busy","add_header":[["X-A","1"]],"rate":"20/1m"}"#;
        assert_eq!(serde_json::to_string(&options).unwrap(), json);
        assert_eq!(serde_json::from_str::<HttpOptions>(json).unwrap(), options);
        assert_eq!(serde_json::to_string(&HttpOptions::default()).unwrap(), "{}");
    }

    #[test]
    fn a_digest_knows_its_secret_and_shows_nothing_of_it() {
        let digest = SecretDigest::of(b"ann:secret");
        assert!(digest.is_of(b"ann:secret") && !digest.is_of(b"ann:Secret"));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<SecretDigest>(&json).unwrap(), digest);
        assert!(!format!("{digest:?}").contains(&json[1..9]));
        assert!(serde_json::from_str::<SecretDigest>("\"abc\"").is_err());
    }
}
