//! Tokens: what a client shows to be let in, and how a holder makes one that can do less.
//!
//! A token is the seed of an Ed25519 key (RFC 8032). A relay keeps its public key alone, from which
//! the token cannot be made, and the token itself never crosses the wire: the client signs what
//! only this connection has. Whoever reads along, a stolen store and even the relay learn nothing
//! that they could use elsewhere.
//!
//! A narrowed token is a chain: each key signs what its holder may do and the public key of the
//! next, and only the seed of the last is handed on. The relay follows the chain from the key that
//! it knows, so it needs no record of a narrowed token, and revoking the first revokes all.
//!
//! - [`Token`]: the whole, with the seed, as text
//! - [`Presented`], [`Proof`]: what a client shows of it
//! - [`Verifier`]: what a relay keeps of it
//! - [`Grant`]: what a holder may do
//! - [`fingerprint`]: what is shown of a secret
//! - [`Secret`]: whatever a client can authenticate with, and where it is [`given`]

mod args;
mod fingerprint;
mod given;
mod grant;
mod key;
mod patterns;
mod presented;
mod secret;
mod text;

pub use args::GrantArgs;
pub use fingerprint::fingerprint;
pub use given::{Hidden, ON_COMMAND_LINE, given, is_among};
pub use grant::{Grant, MAX_GRANT, Scope};
pub use key::{Challenge, Nonce, Proof, Verifier};
pub use patterns::{BadPattern, BadPorts, HostPattern, NamePattern, Ports};
pub use presented::{BadChain, LinkId, MAX_BLOCKS, Narrowed, Presented};
pub use secret::{BadSecret, MAX_JWT, Secret};
pub use text::{BadToken, PREFIX, Token, TokenId};
