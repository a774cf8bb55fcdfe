//! Signatures of those who call back: GitHub, Stripe, Slack.
//!
//! What is signed is the body, byte for byte, so it is held until it is known to be theirs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER_PERMISSIVE;
use hyper::header::{HeaderMap, HeaderName};
use shared::control::protocol::{WebhookCheck, WebhookSender};

use super::BadOption;
use crate::limits::Memory;
use crate::web::Fault;

/// The longest body that is held to be checked, in bytes. Events are a few kB, and those of Stripe and
/// Slack never more than this; of GitHub only those are that hold a push of thousands of commits.
pub(crate) const MOST_SIGNED: usize = 1024 * 1024;

/// How old a signature may be, or how far ahead its sender's clock. Stripe and Slack say so.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// So many bytes of bodies that may be anybody's are held for one tunnel: of all bodies of a burst. All
/// tunnels together have a bound of their own. An honest one is checked as soon as it is here, and
/// held no longer.
const MOST_HELD: usize = 16 * 1024 * 1024;

/// The most signatures of one request that are compared. Stripe sends two while a secret is changed.
const MOST_SIGNATURES: usize = 8;

/// Who has to have signed requests, and by what it is known.
pub(crate) struct Webhook {
    from: WebhookSender,
    key: hmac::Key,
    memory: Memory<()>,
}

/// What a request says to be signed with.
pub(crate) struct Signature<'a> {
    key: &'a hmac::Key,
    /// What is signed in front of the body.
    before: Vec<u8>,
    /// One of them has to be right.
    said: Vec<Vec<u8>>,
}

impl Webhook {
    pub(super) fn new(check: &WebhookCheck) -> Result<Self, BadOption> {
        if check.secret.is_empty() {
            return Err(BadOption::new("webhook", "an empty secret is none"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, check.secret.as_bytes());
        Ok(Self { from: check.from, key, memory: Memory::new(MOST_HELD) })
    }

    /// What a request says to be signed with. It is looked at before a body is read, so that none is
    /// held for whoever has no signature at all.
    ///
    /// # Errors
    ///
    /// It has none, or one of another time.
    pub(crate) fn signature(
        &self,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Signature<'_>, Fault> {
        let of = match self.from {
            WebhookSender::GitHub => github(headers),
            WebhookSender::Stripe => stripe(headers),
            WebhookSender::Slack => slack(headers),
        };
        let Said { before, signed_at, signatures } = of.ok_or(Fault::Unsigned)?;
        let is_now = signed_at.is_none_or(|at| {
            let at = UNIX_EPOCH.checked_add(Duration::from_secs(at));
            at.is_some_and(|at| difference(at, now) <= TOLERANCE)
        });
        let signatures = signatures.iter().take(MOST_SIGNATURES);
        let said: Vec<_> = signatures.filter_map(|said| decoded(said)).collect();
        if said.is_empty() || !is_now {
            return Err(Fault::Unsigned);
        }
        Ok(Signature { key: &self.key, before, said })
    }

    /// What bodies take up until it is known whose they are.
    pub(crate) fn memory(&self) -> &Memory<()> {
        &self.memory
    }
}

impl Signature<'_> {
    /// Whether it is right for this body. Takes the same time whatever is different.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(crate) fn check(&self, body: &[u8]) -> Result<(), Fault> {
        let mut context = hmac::Context::with_key(self.key);
        context.update(&self.before);
        context.update(body);
        let right = context.sign();
        let is_right = |said: &Vec<u8>| verify_slices_are_equal(said, right.as_ref()).is_ok();
        if self.said.iter().any(is_right) { Ok(()) } else { Err(Fault::Unsigned) }
    }
}

/// A signature as a request has it.
struct Said<'a> {
    before: Vec<u8>,
    /// In seconds since the beginning of 1970, if the sender says it.
    signed_at: Option<u64>,
    /// In hexadecimal digits.
    signatures: Vec<&'a str>,
}

/// `X-Hub-Signature-256: sha256=…` over the body. GitHub signs no time: what was good once is good for
/// as long as the secret is.
fn github(headers: &HeaderMap) -> Option<Said<'_>> {
    let signature = only(headers, "x-hub-signature-256")?.strip_prefix("sha256=")?;
    Some(Said { before: Vec::new(), signed_at: None, signatures: vec![signature] })
}

/// `Stripe-Signature: t=…,v1=…,v1=…` over the time, a dot and the body. Other schemes than `v1` are
/// passed over.
fn stripe(headers: &HeaderMap) -> Option<Said<'_>> {
    let (mut time, mut signatures) = (None, Vec::new());
    for element in only(headers, "stripe-signature")?.split(',') {
        match element.trim().split_once('=')? {
            ("t", _) if time.is_some() => return None,
            ("t", text) => time = Some(text),
            ("v1", text) => signatures.push(text),
            _ => (),
        }
    }
    let time = time?;
    Some(Said { before: format!("{time}.").into(), signed_at: Some(seconds(time)?), signatures })
}

/// `X-Slack-Signature: v0=…` over the version, `X-Slack-Request-Timestamp` and the body.
fn slack(headers: &HeaderMap) -> Option<Said<'_>> {
    let time = only(headers, "x-slack-request-timestamp")?;
    let signature = only(headers, "x-slack-signature")?.strip_prefix("v0=")?;
    let (before, signed_at) = (format!("v0:{time}:").into(), Some(seconds(time)?));
    Some(Said { before, signed_at, signatures: vec![signature] })
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    let mut fields = headers.get_all(HeaderName::from_static(name)).iter();
    let (first, None) = (fields.next()?, fields.next()) else { return None };
    first.to_str().ok()
}

/// A time as it is signed: digits and nothing else.
fn seconds(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn decoded(signature: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(signature.as_bytes()).ok()
}

fn difference(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|err| err.duration())
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("from", &self.from).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    /// The example of "Validating webhook deliveries" in GitHub's documentation.
    const GITHUB: (&str, &str, &str) = (
        "It's a Secret to Everybody",
        "Hello, World!",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    );

    /// The example of "Verifying requests from Slack" in Slack's documentation.
    const SLACK: (&str, &str, &str, u64) = (
        "8f742231b10e8888abcd99yyyzzz85a5",
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
         &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
         &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmi\
         bIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        1_531_420_618,
    );

    /// The time of the example in Stripe's documentation, which shows no body and no secret. The
    /// signature is from `openssl dgst -sha256 -hmac`.
    const STRIPE: (&str, &str, &str, u64) = (
        "whsec_test_secret",
        r#"{"id":"evt_1","object":"event"}"#,
        "654b43d3508ecadb3f8cefc4bc7d3d2bdc5ba9e03bf2c89b2d0657a8e24e4543",
        1_492_774_577,
    );

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn check(
        (from, secret): (WebhookSender, &str),
        fields: &[(&'static str, &str)],
        body: &str,
        now: u64,
    ) -> bool {
        let webhook = Webhook::new(&WebhookCheck { from, secret: secret.into() }).unwrap();
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let signature = webhook.signature(&fields.iter().map(field).collect(), at(now));
        signature.and_then(|signature| signature.check(body.as_bytes())).is_ok()
    }

    #[test]
    fn github_signs_the_body() {
        let (secret, body, signature) = GITHUB;
        let check = |secret, fields: &[(&'static str, &str)], body| {
            check((WebhookSender::GitHub, secret), fields, body, 0)
        };
        let field = "x-hub-signature-256";
        assert!(check(secret, &[(field, signature)], body));
        let upper = signature.to_uppercase().replace("SHA256", "sha256");
        assert!(check(secret, &[(field, &upper)], body));
        assert!(!check(secret, &[(field, signature)], "Hello, World"));
        assert!(!check("another secret", &[(field, signature)], body));
        assert!(!check(secret, &[], body));
        assert!(!check(secret, &[("x-hub-signature", signature)], body));
        assert!(!check(secret, &[(field, signature), (field, signature)], body));
        for bad in [&signature[7..], &signature[..70], "sha256=", "sha1=00", "sha256=zz", ""] {
            assert!(!check(secret, &[(field, bad)], body), "{bad}");
        }
    }

    #[test]
    fn slack_signs_the_time_and_the_body() {
        let (secret, body, signature, time) = SLACK;
        let by = (WebhookSender::Slack, secret);
        let fields = |time: &'static str| {
            [("x-slack-request-timestamp", time), ("x-slack-signature", signature)]
        };
        let good = fields("1531420618");
        for now in [time, time - 300, time + 300] {
            assert!(check(by, &good, body, now), "{now}");
        }
        for now in [time - 301, time + 301, 0] {
            assert!(!check(by, &good, body, now), "{now}");
        }
        assert!(!check(by, &good, &body[1..], time));
        assert!(!check(by, &good[1..], body, time) && !check(by, &good[..1], body, time));
        for other in ["1531420619", "+1531420618", " 1531420618", "1531420618.0", ""] {
            assert!(!check(by, &fields(other), body, time), "{other}");
        }
    }

    #[test]
    fn stripe_signs_the_time_and_the_body_once_for_each_secret() {
        let (secret, body, signature, time) = STRIPE;
        let by = (WebhookSender::Stripe, secret);
        let check = |header: &str, now| check(by, &[("stripe-signature", header)], body, now);
        let other = "5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd";
        for good in [
            format!("t={time},v1={signature}"),
            format!("t={time},v1={other},v1={signature},v0=6ffb"),
            format!("v1={signature}, t={time}"),
        ] {
            assert!(check(&good, time), "{good}");
            assert!(check(&good, time + 300) && !check(&good, time + 301), "{good}");
            assert!(check(&good, time - 300) && !check(&good, time - 301), "{good}");
        }
        for bad in [
            format!("t={time},v1={other}"),
            format!("t={time},v0={signature}"),
            format!("t={},v1={signature}", time + 1),
            format!("t={time},t={time},v1={signature}"),
            format!("v1={signature}"),
            format!("t={time}"),
            format!("t={time},v1"),
            format!("t=99999999999999999999,v1={signature}"),
            format!("t=18446744073709551615,v1={signature}"),
            format!("t={time},{}v1={signature}", format!("v1={other},").repeat(MOST_SIGNATURES)),
        ] {
            assert!(!check(&bad, time), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_needed_and_never_shown() {
        let check = |secret: &str| {
            Webhook::new(&WebhookCheck { from: WebhookSender::GitHub, secret: secret.into() })
        };
        assert!(check("").is_err());
        assert!(!format!("{:?}", check("s3cret").unwrap()).contains("s3cret"));
    }
}
