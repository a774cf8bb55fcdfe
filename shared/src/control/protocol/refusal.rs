//! Why a relay says no.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kit::logging::harmless;

/// So many characters of each part of a record are shown: more than a name has, or the text that a
/// relay asks for.
const LONGEST_PART: usize = 512;

/// So many characters of a message are shown. What it says to do stands at its end, behind names of
/// up to 253 characters.
const LONGEST_MESSAGE: usize = 1_000;

/// Why a relay does not accept a client, and whether coming back can help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, for programs.
    pub code: RefusalCode,
    /// The reason, for people: what is wrong and what to do.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// The records that somebody has to make first, of which one is enough for each host name. None
    /// for most reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
}

/// A record in the DNS, as somebody makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// The whole name, without a dot at the end.
    pub name: String,
    /// Such as `TXT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A text without quotes, or a name without a dot at the end.
    pub value: String,
}

/// A line of a zone's file, as it may stand in a log. All of it: a part of a record helps nobody.
impl fmt::Display for DnsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.name, &self.kind, &self.value];
        let [name, kind, value] = parts.map(|part| harmless(part, LONGEST_PART));
        match &*kind {
            "TXT" => write!(f, "{name}. TXT \"{value}\""),
            kind => write!(f, "{name}. {kind} {value}."),
        }
    }
}

/// The closed list of reasons for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The relay speaks another version of the protocol.
    Version,
    /// The request contradicts itself: no tunnel, or the same name twice.
    BadRequest,
    /// More tunnels than the relay allows in a session.
    TooManyTunnels,
    /// The port is outside the range that the relay gives out.
    PortNotAllowed,
    /// The port belongs to another tunnel or program.
    PortTaken,
    /// The tunnel exists and has another port.
    PortMismatch,
    /// No port of the relay's range is free.
    NoPortFree,
    /// The relay has as many clients as it takes.
    TooManyClients,
    /// The relay accepts clients over TLS only.
    TlsRequired,
    /// The relay serves nothing of that kind.
    NotOffered,
    /// The relay is stopping.
    ShuttingDown,
    /// The same connection has come again before this one was welcomed.
    Replaced,
    /// The relay does not know who the client is, or does not let it in any more.
    Unauthorized,
    /// The client's token does not let it do this.
    Forbidden,
    /// Somebody else has the tunnel.
    TunnelTaken,
    /// The host name is not one that this owner may have.
    HostNotAllowed,
    /// The owner has not proven yet that the host name is its own.
    HostNotProven,
    /// Somebody else has the host name.
    HostTaken,
    /// The client or its owner has as much as it may have.
    OverLimit,
    /// The relay cannot find out who the client is right now.
    Unavailable,
    /// A reason that only newer relays know.
    #[serde(other)]
    Unknown,
}

impl Refusal {
    /// A refusal with the `retry` hint that belongs to its code.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let retry = match code {
            RefusalCode::Version
            | RefusalCode::BadRequest
            | RefusalCode::TooManyTunnels
            | RefusalCode::PortNotAllowed
            | RefusalCode::PortMismatch
            | RefusalCode::Unauthorized
            | RefusalCode::Forbidden
            | RefusalCode::HostNotAllowed
            | RefusalCode::TlsRequired
            | RefusalCode::NotOffered
            | RefusalCode::Unknown => false,
            RefusalCode::PortTaken
            | RefusalCode::NoPortFree
            | RefusalCode::TooManyClients
            | RefusalCode::ShuttingDown
            | RefusalCode::Replaced
            | RefusalCode::TunnelTaken
            | RefusalCode::HostNotProven
            | RefusalCode::HostTaken
            | RefusalCode::OverLimit
            | RefusalCode::Unavailable => true,
        };
        Self { code, message: message.into(), retry, records: Vec::new() }
    }

    /// Whether it lasts until somebody has made one of its records. Whoever asks again meanwhile
    /// has the relay look for them.
    pub fn waits_for_records(&self) -> bool {
        self.code == RefusalCode::HostNotProven && self.retry
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&harmless(&self.message, LONGEST_MESSAGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_cannot_forge_lines_of_the_log() {
        let refusal = Refusal::new(RefusalCode::BadRequest, "no\nINFO yes \u{202e}");
        assert_eq!(refusal.to_string(), "no\\nINFO yes \\u{202e}");
    }

    #[test]
    fn what_to_do_is_shown_behind_long_names_and_a_book_is_not() {
        let message = format!("whose is {}? Ask the operator", "a".repeat(253));
        assert_eq!(Refusal::new(RefusalCode::HostNotAllowed, &*message).to_string(), message);
        let book = Refusal::new(RefusalCode::BadRequest, "a".repeat(5_000)).to_string();
        assert_eq!(book, format!("{}…", "a".repeat(1_000)));
    }

    #[test]
    fn a_record_is_shown_whole_and_forges_no_lines_either() {
        let record = |name: &str, kind: &str, value: &str| DnsRecord {
            name: name.into(),
            kind: kind.into(),
            value: value.into(),
        };
        let (name, value) = (format!("{}.example", "a".repeat(240)), "v".repeat(250));
        let shown = record(&name, "TXT", &value).to_string();
        assert_eq!(shown, format!("{name}. TXT \"{value}\""));
        assert_eq!(
            record("a.example", "CNAME", "b.example").to_string(),
            "a.example. CNAME b.example."
        );
        assert_eq!(record("a\n", "\u{1b}", "b\u{202e}").to_string(), "a\\n. \\u{1b} b\\u{202e}.");
    }
}
