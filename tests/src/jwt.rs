//! JSON Web Tokens, put together and signed by hand.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD as BASE64;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use serde_json::{Value, json};

/// Somebody who makes tokens: with a key that the relay has too, or with one of a pair.
#[derive(Debug)]
pub enum Issuer {
    /// HS256 with this key.
    Shared(&'static str),
    /// EdDSA with Ed25519.
    Pair(Box<KeyPair>),
}

impl Issuer {
    /// One with a new pair of keys.
    pub fn with_pair() -> Self {
        Self::Pair(Box::new(KeyPair::generate_for(&PKCS_ED25519).expect("a pair of keys")))
    }

    /// What a relay needs to know of it: the shared key, or a JSON Web Key Set.
    pub fn key_file(&self) -> String {
        match self {
            Self::Shared(key) => format!("hs256:{key}"),
            Self::Pair(pair) => {
                let x = BASE64.encode(pair.der_bytes());
                json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]})
                    .to_string()
            }
        }
    }

    /// A token for the owner `jwt:ann` that is good for a minute, but for these claims, which are
    /// added or stand in for others.
    pub fn issue(&self, claims: &Value) -> String {
        let header = match self {
            Self::Shared(_) => json!({"alg": "HS256", "typ": "JWT"}),
            Self::Pair(_) => json!({"alg": "EdDSA", "typ": "JWT", "kid": "one"}),
        };
        let signed = unsigned(&header, claims);
        let signature = match self {
            Self::Shared(key) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            Self::Pair(pair) => pair.sign(signed.as_bytes()).expect("a signature"),
        };
        format!("{signed}.{}", BASE64.encode(&signature))
    }
}

/// A token that says to need no signature, and has none.
pub fn of_nobody(claims: &Value) -> String {
    unsigned(&json!({"alg": "none", "typ": "JWT"}), claims) + "."
}

/// The time of a claim: so many seconds from now on.
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    now.cast_signed() + seconds
}

/// What is signed: header and claims.
fn unsigned(header: &Value, claims: &Value) -> String {
    let mut all = json!({"sub": "ann", "aud": "sallyport", "exp": in_seconds(60)});
    for (name, value) in claims.as_object().expect("claims by name") {
        all[name] = value.clone();
    }
    let part = |value: &Value| BASE64.encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(&all))
}
