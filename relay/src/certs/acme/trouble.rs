//! Why an order comes to nothing, and what can be done about it.

use std::fmt;
use std::time::SystemTime;

use instant_acme::{Error, Problem};
use shared::kit::logging::Foreign;

use super::https::Https;
use crate::config::AcmeChallenge;

/// Why an order comes to nothing.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The type of the authority's problem, without what all of them begin with.
    kind: Option<String>,
    what: String,
    pub(super) whose: Whose,
    /// Before then the authority does not want to hear of it again.
    pub(super) not_before: Option<SystemTime>,
}

/// Whose trouble it is, and so what has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of all names: the authority cannot be reached, or what the relay keeps.
    All,
    /// The order's. The authority knows of it, so it counts there.
    Order,
}

/// What the types of problems begin with (RFC 8555, section 6.7).
const TYPES: &str = "urn:ietf:params:acme:error:";

impl Trouble {
    /// Something of our own, of which the authority has not heard.
    pub(super) fn own(what: impl fmt::Display) -> Self {
        Self { kind: None, what: what.to_string(), whose: Whose::All, not_before: None }
    }

    pub(super) fn new(err: &Error, https: &Https) -> Self {
        let not_before = https.not_before();
        match err {
            Error::Api(problem) => Self { not_before, ..Self::problem(problem) },
            err => Self { not_before, ..Self::own(whole(err)) },
        }
    }

    pub(super) fn problem(problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(TYPES));
        let details = problem.subproblems.iter().filter_map(|part| part.detail.as_deref());
        let all: Vec<&str> = problem.detail.as_deref().into_iter().chain(details).collect();
        let what = match (kind, all.join("; ")) {
            (Some(kind), what) => format!("{kind}: {what}"),
            (None, what) => what,
        };
        let kind = kind.map(str::to_owned);
        Self { kind, what, whose: Whose::Order, not_before: None }
    }

    /// The authority knows of the order.
    pub(super) fn counted(self) -> Self {
        Self { whose: Whose::Order, ..self }
    }

    /// Whether the authority does not know the relay's account any more.
    pub(super) fn is_unknown_account(&self) -> bool {
        self.kind.as_deref() == Some("accountDoesNotExist")
    }

    /// Whether what is to be replaced has been already.
    pub(super) fn is_replaced_already(&self) -> bool {
        self.kind.as_deref() == Some("alreadyReplaced")
    }

    /// What an operator can do, to be read behind a colon.
    pub(super) fn advice(&self, challenge: AcmeChallenge) -> &'static str {
        if self.whose == Whose::All && self.kind.is_none() {
            return "can this machine reach --acme-directory, and does it trust its server?";
        }
        match (self.kind.as_deref(), challenge) {
            (Some("caa"), _) => "its CAA record in the DNS has to allow this authority",
            (Some("rateLimited"), _) => {
                "the authority has had enough for now; nothing has to be done, but a wildcard \
                 (--acme-wildcard) needs fewer orders"
            }
            (Some("rejectedIdentifier"), _) => {
                "the authority does not issue certificates for this name: take another"
            }
            (Some("externalAccountRequired"), _) => {
                "get a key from the authority: --acme-eab-kid and --acme-eab-key-file"
            }
            (Some("invalidContact" | "unsupportedContact"), _) => "choose another --acme-email",
            (Some("userActionRequired"), _) => "the authority wants you to read its new terms",
            (_, AcmeChallenge::Http01) => {
                "the name has to lead to this relay, and port 80 there to --http"
            }
            (_, AcmeChallenge::TlsAlpn01) => {
                "the name has to lead to this relay, and port 443 there to --https"
            }
            (_, AcmeChallenge::Dns01) => {
                "look at the zone of --dns-update, or at what --dns-hook does: the record has to \
                 be there when it ends"
            }
        }
    }
}

/// An error with those below it.
fn whole(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        let below = err.to_string();
        if !text.contains(&below) {
            text = format!("{text}: {below}");
        }
        source = err.source();
    }
    text
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may quote what a visitor has sent.
        fmt::Display::fmt(&Foreign(&self.what), f)
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Trouble {
        Trouble::problem(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn what_the_authority_says_is_passed_on_with_what_to_do() {
        let refused = problem(
            r#"{"type":"urn:ietf:params:acme:error:caa","detail":"no","status":403,
                "subproblems":[{"detail":"CAA of t.example"}]}"#,
        );
        assert_eq!(refused.to_string(), "caa: no; CAA of t.example");
        assert!(refused.advice(AcmeChallenge::Http01).contains("CAA record"));
        assert_eq!(refused.whose, Whose::Order);
        let refused = problem(r#"{"type":"urn:ietf:params:acme:error:connection","detail":"x"}"#);
        assert!(refused.advice(AcmeChallenge::Http01).contains("port 80"));
        assert!(refused.advice(AcmeChallenge::TlsAlpn01).contains("port 443"));
    }
}
