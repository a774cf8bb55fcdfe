//! The keys that JSON Web Tokens are checked with, as a file has them.

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{PublicEncryptingKey, PublicKey};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyOperations,
    OctetKeyPairParameters, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::token::fingerprint;

/// The shortest shared key in bytes: as long as what HS256 makes (RFC 7518, section 3.2).
const SHORTEST_SECRET: usize = 32;

/// The keys of RSA that are taken, in bits: RFC 7518, section 3.3, asks for the least, and longer
/// ones would keep the relay busy.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// The most keys of a set. Those of whoever rotates them are two or three.
const MOST_KEYS: usize = 32;

/// The keys, each good for one algorithm.
#[derive(Clone)]
pub struct JwtKeys {
    keys: Vec<JwtKey>,
}

#[derive(Clone)]
pub(super) struct JwtKey {
    /// Its name in a set of keys.
    pub(super) id: Option<String>,
    /// The one algorithm that it is for: never the one that a token asks for.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// What tells it from others.
    pub(super) digest: [u8; 32],
}

/// Why a file has no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadJwtKeys {
    /// It is nothing that the relay takes for a key.
    NoKey,
    /// It has a private key, which a relay has no use for.
    Private,
    /// As PEM it is none of the kinds of key that the relay knows.
    Unknown,
    /// As PEM there is more than one.
    Several,
    /// It is of RSA, and shorter or longer than a relay takes.
    Length,
    /// It is no set of keys.
    Set(String),
    /// There are more in the set than are looked at.
    TooMany,
    /// None of the keys in the set is for an algorithm that the relay takes.
    NoneUsable,
    /// Behind the word for a shared key is a public one.
    Public,
    /// It is shorter than a shared key may be.
    TooShort,
}

impl JwtKeys {
    /// What a file begins with whose text is the shared key of HS256. Whatever is not said to be one
    /// could be a public key, which everybody may know and sign with.
    pub(crate) const SHARED: &str = "hs256:";

    /// The keys in the text of a file: a public key as PEM, a set of keys (RFC 7517), or `hs256:` and
    /// the shared key of HS256.
    ///
    /// # Errors
    ///
    /// What is wrong with it; no key is in that.
    pub fn parse(text: &str) -> Result<Self, BadJwtKeys> {
        let text = text.trim();
        let keys = if text.starts_with('{') {
            set(text)?
        } else if text.starts_with("-----BEGIN") {
            vec![pem(text)?]
        } else if let Some(secret) = text.strip_prefix(Self::SHARED) {
            vec![shared(secret.trim_start())?]
        } else {
            return Err(BadJwtKeys::NoKey);
        };
        Ok(Self { keys })
    }

    /// What tells these keys from others in a log, and tells nobody a key.
    pub(crate) fn fingerprint(&self) -> String {
        let digests: Vec<u8> = self.keys.iter().flat_map(|key| key.digest).collect();
        fingerprint(&digests)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &JwtKey> {
        self.keys.iter()
    }
}

impl JwtKey {
    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey, from: &[u8]) -> Self {
        let sum = digest(&SHA256, &[format!("{algorithm:?}\0").as_bytes(), from].concat());
        let mut digest = [0; 32];
        digest.copy_from_slice(sum.as_ref());
        Self { id, algorithm, key, digest }
    }
}

fn shared(secret: &str) -> Result<JwtKey, BadJwtKeys> {
    // What everybody may know is no secret.
    let is_object = secret.starts_with('{') && serde_json::from_str::<IgnoredAny>(secret).is_ok();
    if secret.starts_with("-----BEGIN") || is_object {
        return Err(BadJwtKeys::Public);
    }
    if secret.len() < SHORTEST_SECRET {
        return Err(BadJwtKeys::TooShort);
    }
    let bytes = secret.as_bytes();
    Ok(JwtKey::new(None, Algorithm::HS256, DecodingKey::from_secret(bytes), bytes))
}

fn pem(text: &str) -> Result<JwtKey, BadJwtKeys> {
    if text.lines().any(|line| line.starts_with("-----BEGIN") && line.contains("PRIVATE KEY")) {
        return Err(BadJwtKeys::Private);
    }
    if text.matches("-----BEGIN").count() > 1 {
        // Each but the first would be passed over without a word.
        return Err(BadJwtKeys::Several);
    }
    let bytes = text.as_bytes();
    let made = [
        (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
        (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
        (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
    ];
    let good = made.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
    let (algorithm, key) = good.ok_or(BadJwtKeys::Unknown)?;
    if !is_long_enough(algorithm, &key) {
        return Err(BadJwtKeys::Length);
    }
    Ok(JwtKey::new(None, algorithm, key, bytes))
}

/// A set of keys.
#[derive(Deserialize)]
struct Set {
    keys: Vec<SetKey>,
}

#[derive(Deserialize)]
struct SetKey {
    #[serde(flatten)]
    public: Jwk,
    /// The private half, which has this name in all kinds that have one (RFC 7518, section 6).
    d: Option<IgnoredAny>,
}

fn set(text: &str) -> Result<Vec<JwtKey>, BadJwtKeys> {
    let set: Set = serde_json::from_str(text).map_err(|err| BadJwtKeys::Set(err.to_string()))?;
    if set.keys.len() > MOST_KEYS {
        return Err(BadJwtKeys::TooMany);
    }
    if set.keys.iter().any(|key| key.d.is_some()) {
        return Err(BadJwtKeys::Private);
    }
    let keys: Vec<_> = set.keys.iter().filter_map(|key| of_set(&key.public)).collect();
    if keys.is_empty() { Err(BadJwtKeys::NoneUsable) } else { Ok(keys) }
}

/// A key of a set, if it is for one of our algorithms. Others are passed over (RFC 7517, section 5).
fn of_set(jwk: &Jwk) -> Option<JwtKey> {
    let common = &jwk.common;
    let is_for_signing = common
        .public_key_use
        .as_ref()
        .is_none_or(|to| *to == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            curve: EllipticCurve::Ed25519,
            ..
        }) => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
            curve: EllipticCurve::P256,
            ..
        }) => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    let agrees = jwk.common.key_algorithm.is_none_or(|said| said == algorithm.into());
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let text = serde_json::to_vec(jwk).ok()?;
    (is_for_signing && agrees && is_long_enough(algorithm, &key))
        .then(|| JwtKey::new(jwk.common.key_id.clone(), algorithm, key, &text))
}

/// Whether signatures that are good by the key can be trusted.
fn is_long_enough(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => secret.len() >= SHORTEST_SECRET,
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
            rsa_bits(der).is_some_and(|bits| RSA_BITS.contains(&bits))
        }
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            let first = n.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
            RSA_BITS.contains(&((n.len() - zeros) * 8 - first))
        }
        // The others have one length each.
        _ => true,
    }
}

/// How long a key of RSA is that is written in either of its two forms.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let spki: PublicKeyX509Der<'_> = PublicKey::from_der(der).ok()?.as_der().ok()?;
    Some(PublicEncryptingKey::from_der(spki.as_ref()).ok()?.key_size_bits())
}

impl PartialEq for JwtKeys {
    fn eq(&self, other: &Self) -> bool {
        self.keys.iter().map(|key| key.digest).eq(other.keys.iter().map(|key| key.digest))
    }
}

impl Eq for JwtKeys {}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKeys({})", self.fingerprint())
    }
}

impl fmt::Display for BadJwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => write!(
                f,
                "it begins neither like a public key as PEM (`-----BEGIN PUBLIC KEY-----`) nor like \
                 a JSON Web Key Set (`{{\"keys\": …}}`); if it is the shared key of HS256, put \
                 `{}` in front",
                JwtKeys::SHARED
            ),
            Self::Private => f.write_str(
                "it has a private key: the relay checks signatures, for which the public key is \
                 enough",
            ),
            Self::Unknown => {
                f.write_str("it has no public key of Ed25519, P-256 or RSA as PEM (SPKI)")
            }
            Self::Set(reason) => write!(f, "it is no JSON Web Key Set: {reason}"),
            Self::Several => f.write_str(
                "it has more than one key: a JSON Web Key Set can have several, a PEM file one",
            ),
            Self::Length => write!(
                f,
                "its RSA key is too short or too long: it may have {} to {} bits",
                RSA_BITS.start(),
                RSA_BITS.end()
            ),
            Self::TooMany => write!(f, "it has more than {MOST_KEYS} keys"),
            Self::NoneUsable => f.write_str(
                "none of its keys is good for EdDSA (Ed25519), ES256 (P-256), RS256 (2048 to \
                 8192 bits) or HS256 (32 bytes or more)",
            ),
            Self::Public => write!(
                f,
                "a public key is no shared key: leave the `{}` in front of it out",
                JwtKeys::SHARED
            ),
            Self::TooShort => write!(
                f,
                "it is too short for the shared key of HS256: {SHORTEST_SECRET} characters are the \
                 least"
            ),
        }
    }
}

impl std::error::Error for BadJwtKeys {}
