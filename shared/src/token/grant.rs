//! What a token may do.

use std::fmt;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{HostPattern, NamePattern, Ports};
use crate::kit::amounts::{Bandwidth, Quota};
use crate::kit::net::Networks;

/// The longest grant in bytes, as JSON, that a token is narrowed by.
pub const MAX_GRANT: usize = 512;

/// What the holder of a token may do. What is not there is not limited. A field that is not known
/// is an error, since it is a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grant {
    /// The names of its tunnels. Empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "not_empty")]
    pub tunnels: Vec<NamePattern>,
    /// Its public ports, those of the tunnel `default` included.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub ports: Option<Ports>,
    /// Its host names. Empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "not_empty")]
    pub hosts: Vec<HostPattern>,
    /// The most tunnels that it has at a time.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub max_tunnels: Option<u32>,
    /// The most visitors that its tunnels have at a time, together.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub max_visitors: Option<u32>,
    /// What its tunnels move, together, in each direction.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub rate: Option<Bandwidth>,
    /// What its tunnels move in a day or a month, together, both directions added up.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub quota: Option<Quota>,
    /// When it ends, in seconds since the beginning of 1970 (UTC).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub expires: Option<u64>,
    /// Where visitors may come from. Empty: from anywhere.
    #[serde(skip_serializing_if = "Networks::is_empty", deserialize_with = "not_empty")]
    pub allow: Networks,
    /// What it is good for at the API. Unlike all others this is a right and no limit: a token in
    /// which it is empty is good for nothing there, and a link in which it is empty takes nothing
    /// away from the one before.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "not_empty")]
    pub scopes: Vec<Scope>,
}

/// What a token is good for at the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Whatever is its owner's.
    Own,
    /// Everything.
    Admin,
    /// The metrics.
    Metrics,
}

/// A list as it is written. Whoever writes an empty one means that nothing is allowed, which is not
/// what it would be taken for.
fn not_empty<'de, D, L, T>(deserializer: D) -> Result<L, D::Error>
where
    D: Deserializer<'de>,
    L: From<Vec<T>>,
    T: Deserialize<'de>,
{
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(D::Error::custom("an empty list: leave it out where there is no limit"));
    }
    Ok(list.into())
}

/// A limit that is written is one: `null` would be taken for none.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Takes an object and nothing else: a list would be taken for the fields in their order.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Grant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Grant, A::Error> {
        Grant::deserialize(MapAccessDeserializer::new(fields))
    }
}

impl Grant {
    /// The grant in a text of JSON, which has to be an object.
    ///
    /// # Errors
    ///
    /// It is none, or has something that is not known.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        let mut text = serde_json::Deserializer::from_slice(json);
        let grant = Self::object(&mut text)?;
        text.end()?;
        Ok(grant)
    }

    /// The same from whatever stands there in a text.
    ///
    /// # Errors
    ///
    /// It is no object, or has something that is not known.
    pub fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }

    /// The moment at which it ends, if it does.
    pub fn ends(&self) -> Option<SystemTime> {
        let seconds = self.expires?;
        // A time that the clock does not reach is no end.
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// The same, good for `time` from `now` on.
    #[must_use]
    pub fn ending(self, now: SystemTime, time: Duration) -> Self {
        let end = now.checked_add(time);
        let since = end.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self { expires: since.map(|since| since.as_secs()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_looks_as_documented() {
        let json = r#"{"tunnels":["web-*"],"ports":"9000-9010","max-visitors":10,"rate":"5mbit","quota":"100GB/month","expires":1800000000,"allow":["10.0.0.0/8"],"scopes":["own","metrics"]}"#;
        let grant: Grant = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&grant).unwrap(), json);
        assert_eq!(serde_json::from_str::<Grant>("{}").unwrap(), Grant::default());
        assert!(serde_json::from_str::<Grant>(r#"{"tunnel":["web"]}"#).is_err());
        // What could be meant as nothing is not taken for everything.
        for json in [
            r#"{"tunnels":[]}"#,
            r#"{"allow":[]}"#,
            r#"{"scopes":[]}"#,
            "[]",
            r#"[["web"]]"#,
            "null",
            r#"{"ports":null}"#,
            r#"{"max-tunnels":null}"#,
            r#"{}{"tunnels":["web"]}"#,
            r#"{"tunnels":["web"]} and more"#,
            r#"{"max-tunnels":1,"max-tunnels":5}"#,
            r#"{"tunnels":["web"],"tunnels":["*"]}"#,
        ] {
            assert!(Grant::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
