//! Whatever a client can authenticate with.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

use super::fingerprint::fingerprint;
use super::key::{KEY, Seed};
use super::{BadToken, PREFIX, Token};

/// The shortest secret in bytes that a relay and its clients share. A proof can be tried out at
/// leisure by whoever has seen one, so there must be more of them than anybody can try.
const SHORTEST: usize = 16;

/// The longest secret of any kind in bytes.
pub(super) const LONGEST: usize = 8 * 1024;

/// The longest JSON Web Token in bytes that a client sends.
pub const MAX_JWT: usize = 3 * 1024;

/// What stands in front of a shared secret when it is made into a key.
const SHARED: &[u8] = b"sallyport shared secret\0";

/// What a client was given to show. Its text is one of these, told apart by how it begins.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A token of ours, or what a secret of any other text stands for.
    Token(Token),
    /// A JSON Web Token (RFC 7519).
    Jwt(String),
}

/// Why a text is nothing to authenticate with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSecret {
    /// There is nothing.
    Empty,
    /// It begins like a token and is none.
    Token(BadToken),
    /// It is shorter than a shared secret may be.
    TooShort,
    /// It is longer than anything that a client sends.
    TooLong,
    /// It goes over several lines, or has something else in it that no secret has.
    Characters,
}

impl FromStr for Secret {
    type Err = BadSecret;

    /// White space around it does not count: a file ends with a line.
    fn from_str(text: &str) -> Result<Self, BadSecret> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadSecret::Empty);
        }
        if text.len() > LONGEST {
            return Err(BadSecret::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(BadSecret::Characters);
        }
        if text.starts_with(PREFIX) {
            return text.parse().map(Self::Token).map_err(BadSecret::Token);
        }
        if is_jwt(text) {
            let fits = text.len() <= MAX_JWT;
            return if fits { Ok(Self::Jwt(text.into())) } else { Err(BadSecret::TooLong) };
        }
        if text.len() < SHORTEST {
            return Err(BadSecret::TooShort);
        }
        Ok(Self::Token(shared(text)))
    }
}

impl Secret {
    /// What tells one secret from another in a log, and tells nobody the secret.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Token(token) => fingerprint(&token.verifier().0),
            Self::Jwt(jwt) => fingerprint(jwt.as_bytes()),
        }
    }
}

/// Three parts of base64url, of which the first is an object of JSON (RFC 7515, section 3.1).
fn is_jwt(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 3
        && text.starts_with("eyJ")
        && parts.iter().all(|part| part.bytes().all(allowed))
}

/// The token that a secret of any text stands for.
fn shared(text: &str) -> Token {
    let sum = digest(&SHA256, &[SHARED, text.as_bytes()].concat());
    let mut seed = [0; KEY];
    seed.copy_from_slice(sum.as_ref());
    Token::of_secret(Seed::new(seed))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => write!(f, "Token({})", token.id()),
            Self::Jwt(_) => f.write_str("Jwt(***)"),
        }
    }
}

impl fmt::Display for BadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no token in it"),
            Self::Token(err) => err.fmt(f),
            Self::TooShort => {
                write!(f, "it has fewer than {SHORTEST} characters: that can be guessed")
            }
            Self::TooLong => f.write_str("it is too long for a token"),
            Self::Characters => f.write_str("it is more than one line: a token has only one"),
        }
    }
}

impl std::error::Error for BadSecret {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenId;

    fn token(text: &str) -> Token {
        match text.parse() {
            Ok(Secret::Token(token)) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_secret_is_told_by_how_it_begins() {
        let ours = Token::random();
        assert_eq!(token(&format!(" {ours}\n")), ours);
        assert!(matches!("eyJhbGciOiJIUzI1NiJ9.e30.c2ln".parse(), Ok(Secret::Jwt(_))));
        let shared = token("correct horse battery");
        assert_eq!(shared.id(), TokenId::SHARED);
        assert_eq!(shared, token("correct horse battery\n"));
        assert_ne!(shared.verifier(), token("correct horse batterz").verifier());

        let mistyped = ours.to_string().replace("sally_a", "sally_b");
        assert_eq!(mistyped.parse::<Secret>(), Err(BadSecret::Token(BadToken::Mistyped)));
        for (bad, err) in [
            ("", BadSecret::Empty),
            (" \n", BadSecret::Empty),
            ("hunter2", BadSecret::TooShort),
            ("correct horse\nbattery staple", BadSecret::Characters),
        ] {
            assert_eq!(bad.parse::<Secret>(), Err(err), "{bad:?}");
        }
        assert_eq!("x".repeat(9000).parse::<Secret>(), Err(BadSecret::TooLong));
    }

    #[test]
    fn a_secret_is_never_printed_by_accident() {
        let jwt: Secret = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln".parse().unwrap();
        assert_eq!(format!("{jwt:?}"), "Jwt(***)");
        let shared: Secret = "correct horse battery".parse().unwrap();
        assert_eq!(format!("{shared:?}"), "Token(shared)");
    }
}
