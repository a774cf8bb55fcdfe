//! What is kept, as the rest of the relay sees it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::token::{Grant, TokenId, Verifier};
use utoipa::ToSchema;

/// The name of a user, or of a token among those of its user: 1 to 63 of `a`-`z`, `0`-`9`, `.`, `_`
/// and `-`, so that it can stand in a log, a metric and a file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(Arc<str>);

/// The text is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadName;

/// Somebody who may have tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct User {
    #[schema(value_type = String)]
    pub(crate) name: Name,
    /// In seconds since 1970.
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = u64)]
    pub(crate) created: SystemTime,
    /// Since when none of the user's tokens is good.
    #[serde(serialize_with = "maybe_seconds")]
    #[schema(value_type = Option<u64>)]
    pub(crate) disabled: Option<SystemTime>,
}

/// A token that is to be kept.
#[derive(Clone, Debug)]
pub(crate) struct NewToken {
    pub(crate) id: TokenId,
    pub(crate) owner: Name,
    pub(crate) name: Name,
    pub(crate) verifier: Verifier,
    pub(crate) grant: Grant,
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TokenRecord {
    #[schema(value_type = String)]
    pub(crate) id: TokenId,
    #[schema(value_type = String)]
    pub(crate) owner: Name,
    #[schema(value_type = String)]
    pub(crate) name: Name,
    #[serde(skip)]
    pub(crate) verifier: Verifier,
    /// What its holder may do.
    #[schema(value_type = Object)]
    pub(crate) grant: Grant,
    /// In seconds since 1970.
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = u64)]
    pub(crate) created: SystemTime,
    #[serde(serialize_with = "maybe_seconds")]
    #[schema(value_type = Option<u64>)]
    pub(crate) last_used: Option<SystemTime>,
    #[serde(serialize_with = "maybe_seconds")]
    #[schema(value_type = Option<u64>)]
    pub(crate) revoked: Option<SystemTime>,
    /// When it ends because another one has taken its place.
    #[serde(serialize_with = "maybe_seconds")]
    #[schema(value_type = Option<u64>)]
    pub(crate) replaced: Option<SystemTime>,
    /// Whether its user is disabled.
    pub(crate) owner_disabled: bool,
}

impl TokenRecord {
    /// Whether it is the one that is meant by its name.
    pub(crate) fn is_in_use(&self) -> bool {
        self.revoked.is_none() && self.replaced.is_none()
    }

    /// When it ends by itself, if it does.
    pub(crate) fn ends(&self) -> Option<SystemTime> {
        [self.grant.ends(), self.replaced].into_iter().flatten().min()
    }
}

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Name> for Arc<str> {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let good = (1..=63).contains(&text.len()) && text.bytes().all(allowed);
        if good { Ok(Self(text.into())) } else { Err(BadName) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name is 1 to 63 characters of a-z, 0-9, `.`, `_` and `-`")
    }
}

impl std::error::Error for BadName {}

/// As it is shown: seconds since the beginning of 1970.
pub(super) fn seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(since.as_secs())
}

pub(super) fn maybe_seconds<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
