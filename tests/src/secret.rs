//! A secret that a relay shares with its clients, and what it is narrowed to.

use shared::token::{Grant, Secret};

/// The secret.
pub const SECRET: &str = "correct horse battery staple";

/// The same, narrowed to a grant in JSON.
///
/// # Panics
///
/// It is no grant.
pub fn narrowed(grant: &str) -> Secret {
    let grant: Grant = serde_json::from_str(grant).expect("a grant");
    match SECRET.parse() {
        Ok(Secret::Token(token)) => Secret::Token(token.narrow(&grant).expect("a grant")),
        other => panic!("no token: {other:?}"),
    }
}
