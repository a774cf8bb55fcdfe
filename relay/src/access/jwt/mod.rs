//! JSON Web Tokens (RFC 7519), from whoever has the key to make them.

mod check;
mod keys;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use serde::Deserialize;
use shared::control::protocol::Refusal;
use shared::token::{Grant, LinkId};

use super::principal::expired;
use super::standing::Standing;
use super::{Admitted, Owner, unauthorized};

pub(crate) use self::check::BadJwt;
use self::check::check;
use self::keys::JwtKey;
pub use self::keys::{BadJwtKeys, JwtKeys};

/// Which JSON Web Tokens are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// What they are signed with.
    pub keys: JwtKeys,
    /// Whom they have to be for (`aud`).
    pub audience: String,
    /// Who has to have made them (`iss`), if it matters.
    pub issuer: Option<String>,
}

/// The longest name of a subject in bytes: it becomes an owner, who stands in logs and metrics.
const LONGEST_SUBJECT: usize = 64;

/// What a token says, as far as it concerns the relay.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    /// What its holder may do. Without it: anything.
    #[serde(default, deserialize_with = "Grant::object")]
    sallyport: Grant,
}

/// Those who came with a JSON Web Token, by what it was good by.
#[derive(Debug, Default)]
pub(super) struct Jwt(Mutex<HashMap<GoodBy, Standing>>);

/// What a token was good by: whoever came with it may be here for as long as that is so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GoodBy {
    /// What tells the key from others that it was signed with.
    key: [u8; 32],
    audience: String,
    issuer: Option<String>,
}

impl GoodBy {
    fn new(rules: &JwtRules, key: &JwtKey) -> Self {
        let JwtRules { audience, issuer, .. } = rules;
        Self { key: key.digest, audience: audience.clone(), issuer: issuer.clone() }
    }
}

impl Jwt {
    /// These are the rules from now on. Those who came by others, with a key that is not among
    /// these or for another audience, have to go.
    pub(super) fn set_rules(&self, rules: Option<&JwtRules>) {
        let good = |rules: &JwtRules| -> Vec<GoodBy> {
            rules.keys.iter().map(|key| GoodBy::new(rules, key)).collect()
        };
        let good = rules.map(good).unwrap_or_default();
        let mut standings = self.0.lock();
        for (by, standing) in standings.extract_if(|by, _| !good.contains(by)) {
            let has_key = good.iter().any(|good| good.key == by.key);
            standing.end(unauthorized(if has_key {
                "the relay takes tokens for another audience or of another issuer now"
            } else {
                "the relay does not take this key any more"
            }));
        }
        for by in good {
            standings.entry(by).or_default();
        }
    }

    /// Who has shown this.
    ///
    /// # Errors
    ///
    /// Somebody who is not let in.
    pub(super) fn admit(&self, jwt: &str, rules: Option<&JwtRules>) -> Result<Admitted, Refusal> {
        let Some(rules) = rules else {
            return Err(unauthorized("the relay takes no JSON Web Tokens"));
        };
        let (claims, key) = check::<Claims>(jwt, rules, SAYS)?;
        let owner = subject(&claims.sub)?;
        let Claims { exp, sallyport: grant, .. } = claims;
        let lifetime = Grant { expires: Some(exp), ..Grant::default() };
        // The rules may have become others meanwhile.
        let standing = self.0.lock().get(&GoodBy::new(rules, key)).cloned();
        let standing = standing.ok_or(BadJwt::Signature)?;
        let key = counted_as(&owner, &grant)?;
        let grants = vec![(Some(key), grant), (None, lifetime)];
        Ok(Admitted { owner, token: None, standing, grants })
    }
}

/// What a client's token has to say beside whom it is for.
const SAYS: &[&str] = &["exp", "sub"];

impl From<BadJwt> for Refusal {
    fn from(bad: BadJwt) -> Self {
        match bad {
            BadJwt::Expired => expired(),
            other => unauthorized(other.to_string()),
        }
    }
}

/// What is hashed with an owner and rights, so that the hash is of use for nothing else.
const COUNTED: &[u8] = b"sallyport jwt: counted together\0";

/// What all tokens about the same owner and with the same rights are counted as: they come and go,
/// and their limits must not begin anew with each. Those with other rights are counted apart, so that
/// none of them has the limits of another one.
fn counted_as(owner: &Owner, grant: &Grant) -> Result<LinkId, Refusal> {
    // Each has an end of its own, and is no other one for that.
    let lasting = Grant { expires: None, ..grant.clone() };
    let rights = serde_json::to_vec(&lasting)
        .map_err(|err| unauthorized(format!("the relay cannot keep to the token: {err}")))?;
    // An owner's name has no zero in it, so nothing can move from one part to the other.
    let sum = digest(&SHA256, &[COUNTED, owner.to_string().as_bytes(), b"\0", &rights].concat());
    let mut key = [0; 32];
    key.copy_from_slice(sum.as_ref());
    Ok(LinkId(key))
}

/// The owner whom a token is about.
fn subject(sub: &str) -> Result<Owner, Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+|:".contains(&byte);
    if (1..=LONGEST_SUBJECT).contains(&sub.len()) && sub.bytes().all(allowed) {
        return Ok(Owner::Subject(format!("jwt:{sub}").into()));
    }
    Err(unauthorized(format!(
        "the token's `sub` is no name for an owner: 1 to {LONGEST_SUBJECT} of a-z, A-Z, 0-9 and \
         ._-@+|: are"
    )))
}
