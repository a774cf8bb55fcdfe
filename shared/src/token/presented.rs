//! What a client shows of its token: everything but the seed.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::grant::{Grant, MAX_GRANT};
use super::key::{KEY, SIGNATURE, Seed};
use super::text::FORMAT;
use super::{BadToken, TokenId, Verifier};

/// So often may a token be narrowed: for a team, a machine of it, a job on that, and one more.
pub const MAX_BLOCKS: usize = 4;

/// What a link is hashed with, so that the hash is of use for nothing else.
const LINK: &[u8] = b"sallyport token: link\0";

/// The public part of a token: its name, and the chain that narrows it. It is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Presented {
    id: TokenId,
    blocks: Vec<Block>,
}

/// One link of the chain, signed with the key before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    /// A [`Grant`] as JSON, as it was signed.
    grant: Box<[u8]>,
    next: Verifier,
    signature: [u8; SIGNATURE],
}

/// A chain that has been followed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narrowed {
    /// The key that has to prove itself.
    pub holder: Verifier,
    /// What each link allows, and what it is known by: the holder may do what all of them do.
    pub grants: Vec<(LinkId, Grant)>,
}

/// What a link of a chain is known by, to whoever counts what is done with the tokens behind it.
///
/// It stands for the whole chain up to there. A key alone would not do: whoever holds one can put it
/// at the end of another chain, with another grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub [u8; 32]);

impl LinkId {
    /// The link that follows, with its key and grant.
    fn next(self, key: &Verifier, grant: &[u8]) -> Self {
        // Both keys have lengths of their own, so nothing can move from one part to the other.
        let hash = digest(&SHA256, &[LINK, &self.0, &key.0, grant].concat());
        let mut id = [0; 32];
        id.copy_from_slice(hash.as_ref());
        Self(id)
    }
}

impl From<Verifier> for LinkId {
    /// A token that is not narrowed is known by its key.
    fn from(root: Verifier) -> Self {
        Self(root.0)
    }
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadChain {
    /// A signature in it is not that of the key before.
    Forged,
    /// It is not laid out as a chain is.
    Malformed,
    /// A link limits the token in a way that this version does not know.
    Unknown(String),
    /// It has as many links as it may have.
    TooLong,
    /// The grant is longer than [`MAX_GRANT`].
    GrantTooLong,
}

impl Presented {
    pub(super) fn new(id: TokenId) -> Self {
        Self { id, blocks: Vec::new() }
    }

    /// The public name of the token, the same for all that are narrowed from it.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Whether the token has been narrowed.
    pub fn is_narrowed(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Follows the chain from the key that the relay knows.
    ///
    /// # Errors
    ///
    /// It is not one that the holders of the keys have made, or it asks for what this version does
    /// not know: a limit that cannot be kept must not be passed over.
    pub fn follow(&self, root: Verifier) -> Result<Narrowed, BadChain> {
        let mut narrowed = Narrowed { holder: root, grants: Vec::new() };
        let mut link = LinkId::from(root);
        for block in &self.blocks {
            if !narrowed.holder.has_narrowed(&block.grant, &block.next, &block.signature) {
                return Err(BadChain::Forged);
            }
            link = link.next(&block.next, &block.grant);
            narrowed.grants.push((link, block.grant()?));
            narrowed.holder = block.next;
        }
        Ok(narrowed)
    }

    /// What the links say, unverified: for whoever holds the token.
    ///
    /// # Errors
    ///
    /// A link that this version does not understand.
    pub fn grants(&self) -> Result<Vec<Grant>, BadChain> {
        self.blocks.iter().map(Block::grant).collect()
    }

    pub(super) fn with(
        &self,
        grant: &Grant,
        seed: &Seed,
        next: &Verifier,
    ) -> Result<Self, BadChain> {
        if self.blocks.len() == MAX_BLOCKS {
            return Err(BadChain::TooLong);
        }
        let grant = serde_json::to_vec(grant).map_err(|_| BadChain::Malformed)?.into_boxed_slice();
        if grant.len() > MAX_GRANT {
            return Err(BadChain::GrantTooLong);
        }
        let signature = seed.sign_narrowing(&grant, next);
        let mut longer = self.clone();
        longer.blocks.push(Block { grant, next: *next, signature });
        Ok(longer)
    }

    /// The key of the last link.
    pub(super) fn last_key(&self) -> Option<Verifier> {
        self.blocks.last().map(|block| block.next)
    }

    /// The format, the number of links and the name; then each link: the length of its grant in two
    /// bytes, big-endian, the grant, the next key, the signature.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT, self.blocks.len() as u8];
        bytes.extend(self.id.0);
        for block in &self.blocks {
            bytes.extend((block.grant.len() as u16).to_be_bytes());
            bytes.extend(&*block.grant);
            bytes.extend(block.next.0);
            bytes.extend(block.signature);
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadToken> {
        let malformed = || BadToken::Chain(BadChain::Malformed);
        let ([format, blocks], rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        if *format != FORMAT {
            return Err(BadToken::Format);
        }
        let (id, mut rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let mut presented = Self::new(TokenId(*id));
        if usize::from(*blocks) > MAX_BLOCKS {
            return Err(BadChain::TooLong.into());
        }
        for _ in 0..*blocks {
            let (block, behind) = Block::decode(rest).ok_or_else(malformed)?;
            presented.blocks.push(block);
            rest = behind;
        }
        if rest.is_empty() { Ok(presented) } else { Err(malformed()) }
    }
}

impl Block {
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (grant, rest) = rest.split_at_checked(length).filter(|_| length <= MAX_GRANT)?;
        let (next, rest) = rest.split_first_chunk::<KEY>()?;
        let (signature, rest) = rest.split_first_chunk()?;
        let block = Self { grant: grant.into(), next: Verifier(*next), signature: *signature };
        Some((block, rest))
    }

    fn grant(&self) -> Result<Grant, BadChain> {
        Grant::from_json(&self.grant).map_err(|err| BadChain::Unknown(err.to_string()))
    }
}

impl TryFrom<String> for Presented {
    type Error = BadToken;

    fn try_from(text: String) -> Result<Self, BadToken> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
        Self::decode(&bytes.map_err(|_| BadToken::Chain(BadChain::Malformed))?)
    }
}

impl From<Presented> for String {
    fn from(presented: Presented) -> Self {
        BASE64URL_NOPAD.encode(&presented.encode())
    }
}

impl fmt::Display for BadChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forged => f.write_str("the token has been tampered with"),
            Self::Malformed => f.write_str("the token is broken: copy it again"),
            Self::Unknown(what) => {
                write!(f, "the token has a limit that this version does not know: {what}")
            }
            Self::TooLong => {
                write!(f, "a token can be narrowed {MAX_BLOCKS} times: begin with an earlier one")
            }
            Self::GrantTooLong => {
                write!(f, "that is too much for one token: {MAX_GRANT} bytes are the most")
            }
        }
    }
}

impl std::error::Error for BadChain {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    fn only(tunnel: &str) -> Grant {
        Grant { tunnels: vec![tunnel.parse().unwrap()], ..Grant::default() }
    }

    #[test]
    fn a_narrowed_token_is_followed_from_the_key_of_the_first() {
        let first = Token::random();
        let second = first.narrow(&only("web-*")).unwrap();
        let third: Token = second.narrow(&only("web-1")).unwrap().to_string().parse().unwrap();
        assert_eq!((third.id(), third.presented().is_narrowed()), (first.id(), true));
        let narrowed = third.presented().follow(first.verifier()).unwrap();
        assert_eq!(narrowed.holder, third.verifier());
        let grants: Vec<_> = narrowed.grants.iter().map(|(_, grant)| grant.clone()).collect();
        assert_eq!(grants, [only("web-*"), only("web-1")]);
        assert_eq!(first.presented().follow(first.verifier()).unwrap().grants, []);

        let stranger = Token::random();
        let followed = third.presented().follow(stranger.verifier());
        assert_eq!(followed, Err(BadChain::Forged));
    }

    #[test]
    fn a_link_is_known_by_all_that_leads_to_it() {
        let root = Token::random();
        let links = |token: &Token| -> Vec<_> {
            let followed = token.presented().follow(root.verifier()).unwrap();
            followed.grants.into_iter().map(|(link, _)| link).collect()
        };
        let narrow = root.narrow(&only("web")).unwrap();
        assert_eq!(links(&narrow.narrow(&only("web")).unwrap())[0], links(&narrow)[0]);
        // The same key again, with a grant that its holder has made up.
        let wide = serde_json::to_vec(&Grant::default()).unwrap();
        let mut again = root.presented().clone();
        again.blocks.push(Block {
            signature: root.seed.sign_narrowing(&wide, &root.verifier()),
            grant: wide.into(),
            next: root.verifier(),
        });
        let followed = again.follow(root.verifier()).unwrap();
        assert_eq!(followed.holder, root.verifier());
        assert_ne!(followed.grants[0].0, LinkId::from(root.verifier()));
        // Two chains to one key.
        let other = root.narrow(&only("db")).unwrap();
        let to_narrow = |from: &Token| {
            let (grant, next) = (serde_json::to_vec(&only("x")).unwrap(), narrow.verifier());
            let signature = from.seed.sign_narrowing(&grant, &next);
            let mut longer = from.presented().clone();
            longer.blocks.push(Block { grant: grant.into(), next, signature });
            longer.follow(root.verifier()).unwrap()
        };
        let (direct, around) = (to_narrow(&root), to_narrow(&other));
        assert_eq!(direct.holder, around.holder);
        assert_ne!(direct.grants.last().unwrap().0, around.grants.last().unwrap().0);
    }

    #[test]
    fn whoever_holds_a_narrowed_token_cannot_widen_it() {
        let first = Token::random();
        let narrow = first.narrow(&only("web")).unwrap();
        // Without the link, with the link of another token, or with another grant in it.
        let without = Presented::new(first.id());
        assert_ne!(without.follow(first.verifier()).unwrap().holder, narrow.verifier());
        let mut presented = narrow.presented().clone();
        presented.blocks[0].grant = serde_json::to_vec(&Grant::default()).unwrap().into();
        assert_eq!(presented.follow(first.verifier()), Err(BadChain::Forged));
        let mut other = Token::random().narrow(&Grant::default()).unwrap().presented().clone();
        other.id = first.id();
        assert_eq!(other.follow(first.verifier()), Err(BadChain::Forged));
    }

    #[test]
    fn a_limit_that_is_not_known_is_not_passed_over() {
        let first = Token::random();
        let next = Seed::random();
        let grant: Box<[u8]> = br#"{"moon-phase":"full"}"#.as_slice().into();
        let mut presented = Presented::new(first.id());
        // As a newer version would sign it.
        let seed = Seed::new([3; KEY]);
        let signature = seed.sign_narrowing(&grant, &next.verifier());
        presented.blocks.push(Block { grant, next: next.verifier(), signature });
        let err = presented.follow(seed.verifier()).unwrap_err();
        assert!(matches!(&err, BadChain::Unknown(what) if what.contains("moon-phase")), "{err}");
    }

    #[test]
    fn a_chain_has_an_end_and_fits_a_hello() {
        let mut token = Token::random();
        let mut long = only(&"x".repeat(63));
        while serde_json::to_vec(&long).unwrap().len() < MAX_GRANT - 80 {
            long.tunnels.push("y".repeat(63).parse().unwrap());
        }
        for _ in 0..MAX_BLOCKS {
            token = token.narrow(&long).unwrap();
        }
        assert_eq!(token.narrow(&long), Err(BadChain::TooLong));
        let json = serde_json::to_vec(token.presented()).unwrap();
        assert!(json.len() < 3584, "{} bytes", json.len());
        assert_eq!(serde_json::from_slice::<Presented>(&json).unwrap(), *token.presented());
        while serde_json::to_vec(&long).unwrap().len() <= MAX_GRANT {
            long.tunnels.push("z".repeat(63).parse().unwrap());
        }
        assert_eq!(Token::random().narrow(&long), Err(BadChain::GrantTooLong));
    }

    #[test]
    fn garbage_is_no_token() {
        for text in ["", "AQ", "AQA", "AQUAAAAAAAAAAAAAAA", "!!", "AQAAAAAAAAAAAAAAAAAA"] {
            let json = format!("\"{text}\"");
            assert!(serde_json::from_str::<Presented>(&json).is_err(), "{text}");
        }
    }
}
