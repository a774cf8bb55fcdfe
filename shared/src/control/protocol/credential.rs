//! How a client says who it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::token::{Presented, Proof};

/// What a client shows in its [`Hello`](super::Hello).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Credential {
    /// A token, or the secret that the relay and its clients share. The token itself stays where
    /// it is.
    Token {
        /// The public part of the token.
        token: Presented,
        /// That the client holds the rest, if both ends know what to sign without a word: the
        /// binding of their TLS channel. Otherwise the relay asks with
        /// [`FromRelay::Challenge`](super::FromRelay::Challenge).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Proof>,
    },
    /// A JSON Web Token (RFC 7519), which is good for whoever has it.
    Jwt {
        /// In its compact form.
        jwt: String,
    },
}

/// The most bytes of JSON that a credential takes up.
pub const MAX_CREDENTIAL: usize = 4 * 1024;

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { token, .. } => write!(f, "Token({})", token.id()),
            Self::Jwt { .. } => f.write_str("Jwt(***)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Challenge, Grant, MAX_BLOCKS, MAX_JWT, Nonce, Token};

    #[test]
    fn the_longest_credential_has_room() {
        let name = "x".repeat(63).parse().unwrap();
        let grant = Grant { tunnels: vec![name; 7], ..Grant::default() };
        let mut token = Token::random();
        for _ in 0..MAX_BLOCKS {
            token = token.narrow(&grant).unwrap();
        }
        let proof = Some(token.prove(&Challenge::Nonce(Nonce::random())));
        let shown = Credential::Token { token: token.presented().clone(), proof };
        let jwt = Credential::Jwt { jwt: "x".repeat(MAX_JWT) };
        for credential in [shown, jwt] {
            let json = serde_json::to_string(&credential).unwrap();
            assert!(json.len() <= MAX_CREDENTIAL, "{} bytes", json.len());
            assert_eq!(serde_json::from_str::<Credential>(&json).unwrap(), credential);
        }
    }
}
