//! A JSON Web Token (RFC 7519), as `Authorization: Bearer` (RFC 6750).

use std::net::IpAddr;
use std::time::Instant;

use hyper::header::HeaderMap;
use shared::control::protocol::JwtCheck;

use super::guesses::Guesses;
use super::{BadOption, login};
use crate::access::{BadJwt, JwtKeys, JwtRules};
use crate::web::Fault;

/// The tokens that are good. The local service sees them too: it may want to know who that is.
#[derive(Debug)]
pub(super) struct Bearer {
    rules: JwtRules,
    /// Those that nobody has signed: to find that out takes as long as the tunnel's keys say.
    guesses: Guesses,
}

impl Bearer {
    pub(super) fn new(check: &JwtCheck) -> Result<Self, BadOption> {
        let JwtCheck { keys, audience, issuer } = check;
        if audience.is_empty() || issuer.as_ref().is_some_and(String::is_empty) {
            return Err(BadOption::new("jwt", "whom tokens are for and who makes them has a name"));
        }
        let keys = JwtKeys::parse(keys).map_err(|err| BadOption::new("jwt", err))?;
        let rules = JwtRules { keys, audience: audience.clone(), issuer: issuer.clone() };
        Ok(Self { rules, guesses: Guesses::new() })
    }

    /// Whether a request has a token that is good now.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        visitor: IpAddr,
        now: Instant,
    ) -> Result<(), Fault> {
        let token = login::credentials(headers, "bearer").ok_or(Fault::JwtNeeded(None))?;
        self.guesses.check(visitor, now)?;
        self.rules.check(token).map_err(|bad| {
            if bad == BadJwt::Signature {
                self.guesses.was_wrong(visitor, now);
            }
            Fault::JwtNeeded(Some(reason(&bad)))
        })
    }
}

/// What is said of a bad token in `WWW-Authenticate`, where neither quotes nor backslashes can stand.
fn reason(bad: &BadJwt) -> &'static str {
    match bad {
        BadJwt::Unknown | BadJwt::Signature => "it is not signed with a key of this tunnel",
        BadJwt::Critical => "it asks for what the relay does not know (crit)",
        BadJwt::Expired => "it has expired",
        BadJwt::NotYet => "it is not good yet (nbf)",
        BadJwt::Audience => "it is for somebody else (aud)",
        BadJwt::Issuer => "it is of another issuer (iss)",
        BadJwt::Missing(_) => "it lacks a claim: exp, aud, or iss",
        BadJwt::NoNumber(_) => "a time in it is no number: exp or nbf",
        BadJwt::Unclear(_) => "its claims are no object of JSON",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use data_encoding::BASE64URL_NOPAD;
    use hyper::header::{AUTHORIZATION, HeaderValue};
    use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
    use serde_json::{Value, json};

    use super::*;

    struct Issuer(KeyPair);

    impl Issuer {
        fn new() -> Self {
            Self(KeyPair::generate_for(&PKCS_ED25519).unwrap())
        }

        fn rule(&self) -> Bearer {
            let keys = self.0.public_key_pem();
            let issuer = Some("https://login.example".into());
            Bearer::new(&JwtCheck { keys, audience: "app".into(), issuer }).unwrap()
        }

        /// A token that is good, but for these claims; `null` takes one away.
        fn issue(&self, changes: &Value) -> String {
            let mut claims = json!({
                "aud": ["other", "app"], "iss": "https://login.example", "exp": in_seconds(60),
            });
            for (name, value) in changes.as_object().unwrap() {
                claims[name] = value.clone();
            }
            claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!("{}.{}", part(&json!({"alg": "EdDSA"})), part(&claims));
            let signature = self.0.sign(signed.as_bytes()).unwrap();
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
        }
    }

    fn in_seconds(seconds: i64) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        now.cast_signed() + seconds
    }

    const VISITOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn check(rule: &Bearer, authorization: &str) -> Result<(), Fault> {
        let value = HeaderValue::from_str(authorization).unwrap();
        let headers = [(AUTHORIZATION, value)].into_iter().collect();
        rule.check(&headers, VISITOR, Instant::now())
    }

    #[test]
    fn a_token_of_the_issuer_for_this_audience_is_good_whomever_it_is_about() {
        let issuer = Issuer::new();
        for claims in [json!({}), json!({"sub": "a\nb"}), json!({"aud": "app", "sallyport": 7})] {
            let token = issuer.issue(&claims);
            assert_eq!(check(&issuer.rule(), &format!("Bearer {token}")), Ok(()), "{claims}");
            assert_eq!(check(&issuer.rule(), &format!("bearer {token}")), Ok(()));
        }
    }

    #[test]
    fn others_are_told_what_is_wrong_with_theirs() {
        let issuer = Issuer::new();
        for (claims, says) in [
            (json!({"exp": in_seconds(-1)}), "expired"),
            (json!({"exp": null}), "lacks"),
            (json!({"nbf": "soon"}), "no number"),
            (json!({"exp": "soon"}), "lacks"),
            (json!({"nbf": in_seconds(60)}), "nbf"),
            (json!({"aud": "other"}), "aud"),
            (json!({"aud": null}), "lacks"),
            (json!({"iss": "https://evil.example"}), "iss"),
            (json!({"iss": null}), "lacks"),
        ] {
            let token = format!("Bearer {}", issuer.issue(&claims));
            let Err(Fault::JwtNeeded(Some(reason))) = check(&issuer.rule(), &token) else {
                panic!("{claims}")
            };
            assert!(reason.contains(says), "{claims}: {reason}");
        }
        let of_another = format!("Bearer {}", Issuer::new().issue(&json!({})));
        for bad in [&*of_another, "Bearer a.b.c", "Bearer x", "Bearer eyJhbGciOiJub25lIn0.e30."] {
            let checked = check(&issuer.rule(), bad);
            let signature = reason(&BadJwt::Signature);
            assert_eq!(checked, Err(Fault::JwtNeeded(Some(signature))), "{bad}");
        }
        let none = issuer.rule().check(&HeaderMap::new(), VISITOR, Instant::now());
        assert_eq!(none, Err(Fault::JwtNeeded(None)));
        assert_eq!(check(&issuer.rule(), "Basic YTpi"), Err(Fault::JwtNeeded(None)));
    }

    #[test]
    fn whoever_tries_out_signatures_waits_and_whoever_has_an_old_token_does_not() {
        let issuer = Issuer::new();
        let rule = issuer.rule();
        let old = format!("Bearer {}", issuer.issue(&json!({"exp": in_seconds(-1)})));
        let good = format!("Bearer {}", issuer.issue(&json!({})));
        for _ in 0..100 {
            // Nor has one that is none, or that no key could have signed.
            for other in [&*old, "Bearer undefined", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.AAAA"] {
                assert!(matches!(check(&rule, other), Err(Fault::JwtNeeded(_))), "{other}");
            }
        }
        let forged = format!("Bearer {}", Issuer::new().issue(&json!({})));
        let waits = |fault| matches!(fault, Err(Fault::TooManyGuesses(_)));
        assert!((0..100).any(|_| waits(check(&rule, &forged))));
        // Its answer would tell that the ones before were wrong, and costs the same to find out.
        assert!(waits(check(&rule, &good)));
        let elsewhere = [198, 51, 100, 1].into();
        let headers =
            [(AUTHORIZATION, HeaderValue::from_str(&good).unwrap())].into_iter().collect();
        assert_eq!(rule.check(&headers, elsewhere, Instant::now()), Ok(()));
    }

    #[test]
    fn keys_that_are_none_are_refused_when_the_tunnel_is_opened() {
        let check = |keys: &str, audience: &str| {
            let check = JwtCheck { keys: keys.into(), audience: audience.into(), issuer: None };
            Bearer::new(&check).map(drop).map_err(|err| err.to_string())
        };
        assert!(check("nothing", "app").unwrap_err().starts_with("jwt: "));
        assert!(check("{\"keys\": []}", "app").unwrap_err().contains("none of its keys"));
        let pair = Issuer::new().0;
        assert!(check(&pair.serialize_pem(), "app").unwrap_err().contains("private key"));
        assert!(check(&pair.public_key_pem(), "").is_err());
        assert_eq!(check(&pair.public_key_pem(), "app"), Ok(()));
    }
}
