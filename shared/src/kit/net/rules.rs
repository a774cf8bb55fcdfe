//! Who may come in.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Networks;

/// Who may visit, and who may not. Everybody may by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Only these may, if there are any.
    #[serde(skip_serializing_if = "Networks::is_empty")]
    pub allow: Networks,
    /// These may not, whatever else is said.
    #[serde(skip_serializing_if = "Networks::is_empty")]
    pub deny: Networks,
}

impl Rules {
    /// Whether a visitor from `ip` may come in.
    pub fn permit(&self, ip: IpAddr) -> bool {
        !self.deny.contain(ip) && (self.allow.is_empty() || self.allow.contain(ip))
    }

    /// Whether everybody may, and so nothing is said.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many networks they name.
    pub fn len(&self) -> usize {
        self.allow.len() + self.deny.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(allow: &str, deny: &str, ip: &str) -> bool {
        let list = |text: &str| match text {
            "" => Networks::default(),
            some => some.parse().unwrap(),
        };
        let rules = Rules { allow: list(allow), deny: list(deny) };
        rules.permit(ip.parse().unwrap())
    }

    #[test]
    fn everybody_may_who_is_allowed_and_not_denied() {
        assert!(permits("", "", "1.2.3.4") && permits("", "", "::1"));
        assert!(permits("10.0.0.0/8", "", "10.1.1.1"));
        assert!(permits("10.0.0.0/8", "", "::ffff:10.1.1.1"));
        assert!(!permits("10.0.0.0/8", "", "11.1.1.1"));
        assert!(!permits("10.0.0.0/8", "", "::1"), "nor another family");
        assert!(!permits("", "10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(permits("", "10.0.0.0/8", "11.1.1.1"));
        assert!(!permits("10.0.0.0/8", "10.1.0.0/16", "10.1.1.1"), "deny wins");
        assert!(!permits("10.1.1.1", "10.0.0.0/8", "10.1.1.1"), "however short it is");
    }

    #[test]
    fn rules_are_written_as_lists_and_read_as_what_counts() {
        let rules = Rules { allow: "10.0.0.1".parse().unwrap(), deny: Networks::default() };
        let json = r#"{"allow":["10.0.0.1/32"]}"#;
        assert_eq!(serde_json::to_string(&rules).unwrap(), json);
        let mapped = r#"{"allow":["::ffff:10.0.0.1/128"],"later":1}"#;
        assert_eq!(serde_json::from_str::<Rules>(mapped).unwrap(), rules);
        assert!(serde_json::from_str::<Rules>(r#"{"deny":["10.0.0.1/40"]}"#).is_err());
        assert_eq!(serde_json::from_str::<Rules>("{}").unwrap(), Rules::default());
    }
}
