//! Whether a JSON Web Token is good, whoever shows it.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::JwtRules;
use super::keys::JwtKey;

/// Why a token is not good. Only what a good signature stands behind is told in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadJwt {
    /// It is no token, or there is no key for it: no signature has been looked at.
    Unknown,
    /// None of the keys has signed it.
    Signature,
    /// It asks for what the relay does not know.
    Critical,
    Expired,
    NotYet,
    Audience,
    Issuer,
    /// It does not say this.
    Missing(String),
    /// What it says in this is no number.
    NoNumber(String),
    /// Signed, and yet not understood: a grant that the relay does not know, say.
    Unclear(String),
}

/// What whoever has no good signature is told.
pub(super) const BAD_SIGNATURE: &str = "the relay does not know who signed this token";

/// Nothing in particular.
#[derive(Deserialize)]
struct Anything {}

impl JwtRules {
    /// Whether a token is good now, whatever else it says.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub(crate) fn check(&self, jwt: &str) -> Result<(), BadJwt> {
        check::<Anything>(jwt, self, &["exp"]).map(drop)
    }
}

/// What a token says, if one of the keys has signed it and it is for us and now. It has to say what is
/// `required`, and whom it is for.
pub(super) fn check<'a, C: DeserializeOwned>(
    jwt: &str,
    rules: &'a JwtRules,
    required: &[&'static str],
) -> Result<(C, &'a JwtKey), BadJwt> {
    let header = decode_header(jwt).map_err(|_| BadJwt::Unknown)?;
    if header.crit.is_some() {
        // RFC 7515, section 4.1.11.
        return Err(BadJwt::Critical);
    }
    let named = |key: &&JwtKey| header.kid.is_some() && key.id == header.kid;
    let by_name = rules.keys.iter().any(|key| named(&key));
    // The key decides on the algorithm. A token that asks for another one is not even looked at
    // with it: what checks a signature must never be taken for a shared key.
    let candidates = rules.keys.iter().filter(|key| key.algorithm == header.alg);
    let mut bad = BadJwt::Unknown;
    for key in candidates.filter(|key| !by_name || named(key)) {
        match decode::<C>(jwt, &key.key, &validation(key.algorithm, rules, required)) {
            Ok(token) => return Ok((token.claims, key)),
            // What another key says of it counts more.
            Err(err) if matches!(err.kind(), ErrorKind::InvalidSignature) => {
                if bad == BadJwt::Unknown {
                    bad = BadJwt::Signature;
                }
            }
            Err(err) => bad = err.kind().into(),
        }
    }
    Err(bad)
}

fn validation(algorithm: Algorithm, rules: &JwtRules, required: &[&'static str]) -> Validation {
    let mut validation = Validation::new(algorithm);
    // What it is good for ends when the token does, to the second.
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_audience(&[&rules.audience]);
    let mut required = [required, &["aud"]].concat();
    if let Some(issuer) = &rules.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    validation
}

impl From<&ErrorKind> for BadJwt {
    fn from(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::NotYet,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::MissingRequiredClaim(claim) => Self::Missing(claim.clone()),
            ErrorKind::InvalidClaimFormat(claim) => Self::NoNumber(claim.clone()),
            ErrorKind::Json(err) => Self::Unclear(err.to_string()),
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for BadJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown | Self::Signature => f.write_str(BAD_SIGNATURE),
            Self::Critical => {
                f.write_str("the token asks for what the relay does not know (`crit`)")
            }
            Self::Expired => f.write_str("the token has expired"),
            Self::NotYet => f.write_str("the token is not good yet"),
            Self::Audience => f.write_str("the token is for somebody else (`aud`)"),
            Self::Issuer => f.write_str("the relay does not take tokens of this issuer (`iss`)"),
            Self::Missing(claim) => write!(f, "the token does not say `{claim}`"),
            Self::NoNumber(claim) => write!(f, "what the token says in `{claim}` is no number"),
            Self::Unclear(reason) => write!(f, "the relay does not understand the token: {reason}"),
        }
    }
}
