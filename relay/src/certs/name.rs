//! The names that certificates are for.

use std::fmt;
use std::str::FromStr;

use shared::control::protocol::{BadDomainName, DomainName};

/// What a certificate is for: one host, or all hosts right below a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CertName {
    Host(DomainName),
    /// Written `*.example.com`. The domain itself is not among them (RFC 6125, section 6.4.3).
    Below(DomainName),
}

impl CertName {
    /// The domain in it.
    pub(crate) fn domain(&self) -> &DomainName {
        match self {
            Self::Host(domain) | Self::Below(domain) => domain,
        }
    }

    /// Whether a certificate for it is one for `host`.
    pub(crate) fn covers(&self, host: &DomainName) -> bool {
        match self {
            Self::Host(name) => name == host,
            Self::Below(domain) => host.below(domain).is_some_and(|label| !label.contains('.')),
        }
    }
}

impl FromStr for CertName {
    type Err = BadDomainName;

    fn from_str(text: &str) -> Result<Self, BadDomainName> {
        match text.strip_prefix("*.") {
            Some(domain) => Ok(Self::Below(domain.parse()?)),
            None => Ok(Self::Host(text.parse()?)),
        }
    }
}

impl fmt::Display for CertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => fmt::Display::fmt(host, f),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// The name of the wildcard that `host` could be right below, as it is written.
pub(super) fn wildcard_above(host: &str) -> Option<String> {
    let (_, domain) = host.split_once('.')?;
    Some(format!("*.{domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_for_one_label_and_not_for_the_domain_itself() {
        let name: CertName = "*.t.example".parse().unwrap();
        let covers = |host: &str| name.covers(&host.parse().unwrap());
        assert!(covers("app.t.example"));
        assert!(!covers("a.b.t.example") && !covers("t.example") && !covers("appt.example"));
        assert_eq!(name.to_string(), "*.t.example");
        assert_eq!(wildcard_above("app.t.example").as_deref(), Some("*.t.example"));
        for bad in ["*", "*.example", "a.*.example", "**.t.example"] {
            assert!(bad.parse::<CertName>().is_err(), "{bad}");
        }
    }
}
