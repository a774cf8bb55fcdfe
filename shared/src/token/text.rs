//! A token as text: `sally_` and 77 letters and digits or more.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};

use super::key::{KEY, Seed, fill};
use super::presented::{BadChain, Presented};
use super::{Challenge, Grant, Proof, Verifier};

/// What every token begins with, for scanners that look for secrets.
pub const PREFIX: &str = "sally_";

/// The first byte of a token, for one that is made otherwise some day.
pub(super) const FORMAT: u8 = 1;

/// The bytes of a checksum: a typo goes unnoticed once in four thousand million times.
const CHECKSUM: usize = 4;

/// A token: whoever has it is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    presented: Presented,
    pub(super) seed: Seed,
}

/// The public name of a token: it stands in lists and logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(pub(super) [u8; 10]);

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It does not begin like one.
    Prefix,
    /// It has been mistyped or cut off.
    Mistyped,
    /// It was made by a newer version.
    Format,
    /// Its chain is broken: somebody has tried to make it do more.
    Chain(BadChain),
}

impl Token {
    /// A new token that no other relay or client has.
    pub fn random() -> Self {
        let mut id = [0; 10];
        fill(&mut id);
        Self { presented: Presented::new(TokenId(id)), seed: Seed::random() }
    }

    /// The token that a secret of any text stands for: the same at both ends.
    pub(super) fn of_secret(seed: Seed) -> Self {
        Self { presented: Presented::new(TokenId::SHARED), seed }
    }

    /// Its public name, and that of all that are narrowed from it.
    pub fn id(&self) -> TokenId {
        self.presented.id()
    }

    /// What a relay keeps of it. Of use only for a token that has not been narrowed.
    pub fn verifier(&self) -> Verifier {
        self.seed.verifier()
    }

    /// What a client shows of it.
    pub fn presented(&self) -> &Presented {
        &self.presented
    }

    /// Proves that it is here.
    pub fn prove(&self, challenge: &Challenge) -> Proof {
        self.seed.prove(challenge)
    }

    /// A token that can do what this one can, and what `grant` says, whichever is less.
    ///
    /// # Errors
    ///
    /// It has been narrowed too often, or the grant is too long.
    pub fn narrow(&self, grant: &Grant) -> Result<Self, BadChain> {
        let next = Seed::random();
        let presented = self.presented.with(grant, &self.seed, &next.verifier())?;
        Ok(Self { presented, seed: next })
    }
}

impl TokenId {
    /// That of a secret which the relay was given instead of a store.
    pub const SHARED: Self = Self([0; 10]);
}

/// Base32 (RFC 4648, section 6) in lower case, without padding: a double click takes all of it.
fn alphabet() -> Encoding {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("an alphabet of 32 symbols")
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let sum = digest(&SHA256, bytes);
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&sum.as_ref()[..CHECKSUM]);
    checksum
}

/// The secret itself.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.presented.encode();
        bytes.extend(self.seed.bytes());
        bytes.extend(checksum(&bytes));
        write!(f, "{PREFIX}{}", alphabet().encode(&bytes))
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let text = text.strip_prefix(PREFIX).ok_or(BadToken::Prefix)?;
        let bytes = alphabet().decode(text.as_bytes()).map_err(|_| BadToken::Mistyped)?;
        let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(BadToken::Mistyped)?;
        if checksum(bytes) != *sum {
            return Err(BadToken::Mistyped);
        }
        if bytes.first() != Some(&FORMAT) {
            return Err(BadToken::Format);
        }
        let (presented, seed) = bytes.split_last_chunk::<KEY>().ok_or(BadToken::Mistyped)?;
        let (presented, seed) = (Presented::decode(presented)?, Seed::new(*seed));
        if presented.last_key().is_some_and(|key| key != seed.verifier()) {
            return Err(BadToken::Chain(BadChain::Forged));
        }
        Ok(Self { presented, seed })
    }
}

impl From<BadChain> for BadToken {
    fn from(err: BadChain) -> Self {
        Self::Chain(err)
    }
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => write!(f, "a token begins with {PREFIX}"),
            Self::Mistyped => f.write_str("the token has been mistyped or cut off: copy it again"),
            Self::Format => {
                f.write_str("the token was made by a newer version: update this program")
            }
            Self::Chain(err) => err.fmt(f),
        }
    }
}

impl std::error::Error for BadToken {}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::SHARED {
            f.write_str("shared")
        } else {
            f.write_str(&alphabet().encode(&self.0))
        }
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = alphabet().decode(text.as_bytes()).ok();
        let id = bytes.and_then(|bytes| bytes.try_into().ok());
        id.map(Self).ok_or("a token's id is 16 characters of a-z and 2-7")
    }
}

impl TryFrom<String> for TokenId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_written_down() {
        let token = Token::random();
        let text = token.to_string();
        assert_eq!(text.len(), PREFIX.len() + 77);
        assert!(text[PREFIX.len()..].bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')));
        assert_eq!(text.parse::<Token>().unwrap(), token);
        assert_eq!(token.id().to_string().parse(), Ok(token.id()));
    }

    #[test]
    fn every_single_typo_is_noticed() {
        let text = Token::random().to_string();
        for at in PREFIX.len()..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(typo.parse::<Token>(), Err(BadToken::Mistyped), "{at}");
        }
        for end in PREFIX.len()..text.len() {
            assert_eq!(text[..end].parse::<Token>(), Err(BadToken::Mistyped), "cut at {end}");
        }
        assert_eq!("hunter2".parse::<Token>(), Err(BadToken::Prefix));
    }

    #[test]
    fn a_token_is_never_printed_by_accident() {
        let token = Token::random();
        let secret = token.to_string();
        assert!(!format!("{token:?}").contains(&secret[40..60]));
    }
}
