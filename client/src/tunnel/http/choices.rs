//! What somebody chooses for the requests of a tunnel, and what the relay is told of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::HeaderName;
use serde_json::Value;
use shared::control::protocol::{
    Balance, HttpOptions, HttpVersion, JwtCheck, MAX_HTTP_OPTIONS, SecretDigest, TunnelName,
    WebhookCheck, WebhookSender,
};
use shared::kit::amounts::{Frequency, Size};
use shared::token::Hidden;

use super::super::BadTunnel;
use super::super::target::Place;
use super::secret::{SecretText, bad_file, bad_line, bad_token, logins, read};
use super::values::{Header, Redirect, RewriteHost};

/// What is done with requests, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HttpChoices {
    pub(crate) token: Option<SecretText>,
    pub(crate) auth: Vec<Hidden>,
    pub(crate) auth_file: Option<PathBuf>,
    pub(crate) rewrite_host: Option<RewriteHost>,
    pub(crate) add_header: Vec<Header>,
    pub(crate) remove_header: Vec<HeaderName>,
    pub(crate) max_body: Option<Size>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) compress: bool,
    pub(crate) redirect_https: bool,
    pub(crate) hsts: Option<Duration>,
    pub(crate) redirect: Vec<Redirect>,
    pub(crate) rate: Option<Frequency>,
    pub(crate) balance: Balance,
    pub(crate) jwt: Option<Jwt>,
    pub(crate) webhook: Option<Webhook>,
}

/// The JSON Web Tokens that requests have to come with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Jwt {
    pub(crate) key: PathBuf,
    pub(crate) audience: String,
    pub(crate) issuer: Option<String>,
}

/// Who has to have signed requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) from: WebhookSender,
    pub(crate) secret: SecretText,
}

/// The same while its options come, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpParts {
    /// What is whole.
    pub(crate) choices: HttpChoices,
    pub(crate) token: Option<Hidden>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) jwt_key: Option<PathBuf>,
    pub(crate) jwt_audience: Option<String>,
    pub(crate) jwt_issuer: Option<String>,
    pub(crate) webhook: Option<WebhookSender>,
    pub(crate) webhook_secret: Option<Hidden>,
    pub(crate) webhook_secret_file: Option<PathBuf>,
}

impl HttpParts {
    /// What the options come to.
    pub(crate) fn finish(self) -> Result<HttpChoices, BadTunnel> {
        let token = SecretText::of(self.token, self.token_file, ("token", "token-file"))?;
        let jwt = match (self.jwt_key, self.jwt_audience) {
            (Some(key), Some(audience)) => Some(Jwt { key, audience, issuer: self.jwt_issuer }),
            (Some(_), None) => return Err(BadTunnel::Needs("jwt-key", "jwt-audience")),
            (None, Some(_)) => return Err(BadTunnel::Needs("jwt-audience", "jwt-key")),
            (None, None) if self.jwt_issuer.is_some() => {
                return Err(BadTunnel::Needs("jwt-issuer", "jwt-key"));
            }
            (None, None) => None,
        };
        let options = ("webhook-secret", "webhook-secret-file");
        let secret = SecretText::of(self.webhook_secret, self.webhook_secret_file, options)?;
        let webhook = match (self.webhook, secret) {
            (Some(from), Some(secret)) => Some(Webhook { from, secret }),
            (Some(_), None) => return Err(BadTunnel::Needs("webhook", "webhook-secret")),
            (None, Some(SecretText::Given(_))) => {
                return Err(BadTunnel::Needs("webhook-secret", "webhook"));
            }
            (None, Some(SecretText::In(_))) => {
                return Err(BadTunnel::Needs("webhook-secret-file", "webhook"));
            }
            (None, None) => None,
        };
        Ok(HttpChoices { token, jwt, webhook, ..self.choices })
    }
}

impl HttpChoices {
    /// What the relay is told of the tunnel `name`, whose local service speaks `version` at `place`.
    /// Reads the files that are named.
    pub(crate) fn read(
        &self,
        name: &TunnelName,
        version: HttpVersion,
        place: &Place,
    ) -> Result<HttpOptions, BadTunnel> {
        // All are named, so that a new one is not forgotten.
        let Self {
            token,
            auth,
            auth_file,
            rewrite_host,
            add_header,
            remove_header,
            max_body,
            timeout,
            compress,
            redirect_https,
            hsts,
            redirect,
            rate,
            balance,
            jwt,
            webhook,
        } = self;
        let mut logged_in = auth.clone();
        if let Some(file) = auth_file {
            logged_in.extend(logins(file, "auth-file")?);
        }
        let digest = |secret: &Hidden| SecretDigest::of(secret.0.as_bytes());
        let token = token.as_ref().map(|token| token.read("token-file", bad_token)).transpose()?;
        let options = HttpOptions {
            version,
            balance: *balance,
            token: token.as_ref().map(digest),
            auth: logged_in.iter().map(digest).collect(),
            rewrite_host: rewrite_host.as_ref().map(|host| match host {
                RewriteHost::Own => place.host(),
                RewriteHost::To(host) => host.to_string(),
            }),
            add_header: add_header.iter().map(Header::pair).collect(),
            remove_header: remove_header.iter().map(|name| name.as_str().to_owned()).collect(),
            max_body: max_body.map(Size::bytes),
            timeout_ms: timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            compress: *compress,
            redirect_https: *redirect_https,
            hsts: hsts.map(|time| time.as_secs()),
            redirect: redirect.iter().map(|it| (it.from.clone(), it.to.clone())).collect(),
            rate: *rate,
            jwt: jwt.as_ref().map(Jwt::read).transpose()?,
            webhook: webhook.as_ref().map(Webhook::read).transpose()?,
        };
        let bytes = serde_json::to_vec(&options).map_or(usize::MAX, |json| json.len());
        if bytes > MAX_HTTP_OPTIONS {
            return Err(BadTunnel::TooLong(name.clone(), bytes));
        }
        Ok(options)
    }
}

impl Jwt {
    fn read(&self) -> Result<JwtCheck, BadTunnel> {
        let keys = public_keys(&self.key, read(&self.key, "jwt-key")?)?;
        let (audience, issuer) = (self.audience.clone(), self.issuer.clone());
        Ok(JwtCheck { keys, audience, issuer })
    }
}

/// The keys in a file, which the relay is to have. The relay looks at them closely; what must not
/// leave this machine is noticed here.
fn public_keys(file: &Path, text: String) -> Result<String, BadTunnel> {
    let bad = |what| Err(bad_file(file, "jwt-key", what));
    let set = serde_json::from_str::<Value>(&text).ok();
    let set = set.as_ref().and_then(|set| set.get("keys")?.as_array());
    // RFC 7518, section 6: `d` is the private part of each kind of key that has one.
    let in_set = set.is_some_and(|keys| keys.iter().any(|key| key.get("d").is_some()));
    if in_set || text.contains("PRIVATE KEY-----") {
        return bad("it is a private key, which nobody else may have: give the public one");
    }
    if set.is_none() && !text.contains("PUBLIC KEY-----") {
        return bad("expected a public key as PEM, or a JSON Web Key Set");
    }
    Ok(text)
}

impl Webhook {
    fn read(&self) -> Result<WebhookCheck, BadTunnel> {
        let secret = self.secret.read("webhook-secret-file", bad_line)?;
        Ok(WebhookCheck { from: self.from, secret: secret.0 })
    }
}

/// The names of all ways to choose a client.
pub(crate) const BALANCES: [(&str, Balance); 4] = [
    ("newest", Balance::Newest),
    ("least-busy", Balance::LeastBusy),
    ("random", Balance::Random),
    ("sticky", Balance::Sticky),
];

/// The names of all whose signatures are known.
pub(crate) const SENDERS: [(&str, WebhookSender); 3] = [
    ("github", WebhookSender::GitHub),
    ("stripe", WebhookSender::Stripe),
    ("slack", WebhookSender::Slack),
];

/// The way to choose a client that has this name.
pub(crate) fn balance(text: &str) -> Result<Balance, String> {
    named(&BALANCES, text)
}

/// Whose signatures are called like this.
pub(crate) fn sender(text: &str) -> Result<WebhookSender, String> {
    named(&SENDERS, text)
}

fn named<T: Copy>(names: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("expected one of: {}", names.join(", "))
    })
}

/// The name of `value`.
pub(crate) fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, named)| named == value).map_or("", |(name, _)| name)
}
