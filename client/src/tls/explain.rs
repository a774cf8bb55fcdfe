//! Why there is no TLS connection, for a person.

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error};
use shared::kit::args;
use shared::kit::logging::Foreign;

use super::trust::WrongPin;

/// What is wrong, and whether waiting can help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    what: String,
    /// Both ends mean what they say: until somebody changes one of them it stays like this.
    pub(crate) is_lasting: bool,
}

/// What it means that a connection has ended with `err`, if TLS has anything to do with it.
/// `encrypted`: its handshake was over.
pub(crate) fn explain(err: &io::Error, encrypted: bool) -> Option<Trouble> {
    match err.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
        Some(err) => Some(by_tls(err)),
        None if encrypted => None,
        None => matches!(
            err.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
        .then(|| passing(format!("it ended the connection when it was asked for TLS: {GONE}"))),
    }
}

/// What to do about a relay without TLS.
const NO_TLS: &str = "start it with --tls-cert and --tls-key or with --tls self-signed, or connect \
                      without, by --server tcp://HOST:PORT";

/// What it may mean that a relay says nothing and goes.
const GONE: &str = "too many attempts from here may have failed or been refused, which passes by \
                    itself; or it does not speak TLS: then start it with --tls-cert and --tls-key \
                    or with --tls self-signed";

/// What to do about a relay whose certificate is of an authority that is not known.
const TRUST_IT: &str = "name that authority by --tls-ca FILE, or the relay's key by --tls-pin, as \
                        the log of the relay shows it";

fn by_tls(err: &Error) -> Trouble {
    match err {
        Error::InvalidCertificate(err) => by_certificate(err),
        Error::AlertReceived(alert) => by_alert(*alert),
        Error::PeerIncompatible(_) => lasting(format!(
            "it does not speak a version of TLS that is new enough ({err}): allow an older one by \
             --tls-min 1.2, or update what it runs behind"
        )),
        Error::InvalidMessage(_) => passing(format!("it does not speak TLS: {NO_TLS}")),
        Error::NoApplicationProtocol => lasting(format!("it is no relay: {err}")),
        err => passing(format!("TLS with it has failed: {err}")),
    }
}

fn by_certificate(err: &CertificateError) -> Trouble {
    match err {
        CertificateError::Other(other) => match other.0.downcast_ref::<WrongPin>() {
            Some(WrongPin(seen)) => lasting(format!(
                "its key is not the one of --tls-pin but has the pin {seen}: somebody may be in \
                 between, or the relay has a new key; ask whoever runs it"
            )),
            None => lasting(format!("its certificate is not trusted: {other}")),
        },
        CertificateError::NotValidForNameContext { expected, presented } => {
            lasting(wrong_name(expected, presented))
        }
        CertificateError::ExpiredContext { not_after, .. } => lasting(format!(
            "its certificate has expired on {}: it needs a new one, or the clock here is wrong",
            day(*not_after)
        )),
        CertificateError::NotValidYetContext { not_before, .. } => lasting(format!(
            "its certificate is not valid before {}: is the clock here right?",
            day(*not_before)
        )),
        CertificateError::UnknownIssuer => lasting(format!(
            "its certificate is not of an authority that is trusted here: {TRUST_IT}"
        )),
        CertificateError::BadSignature => lasting(
            "its certificate is not of the authority that it names: somebody may be in between"
                .into(),
        ),
        // Only of what has checked it is there a word for people.
        err => lasting(format!("its certificate is not trusted ({err}): {TRUST_IT}")),
    }
}

fn wrong_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    /// So many names are plenty for a line.
    const MOST_NAMES: usize = 5;
    let mut names =
        presented.iter().take(MOST_NAMES).map(|name| readable(name)).collect::<Vec<_>>();
    if presented.len() > MOST_NAMES {
        names.push("…".into());
    }
    let names = if names.is_empty() { "nobody".into() } else { names.join(", ") };
    let expected = expected.to_str();
    format!(
        "its certificate is for {}, not for {expected}: connect to it by that name, or name by \
         --tls-name which one it has to have",
        Foreign(&names)
    )
}

/// A name as rustls shows it, `DnsName("relay.example")`, without what is around it.
fn readable(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

fn by_alert(alert: AlertDescription) -> Trouble {
    match alert {
        AlertDescription::CertificateRequired => lasting(
            "it wants a certificate of the client: use --tls-client-cert and --tls-client-key"
                .into(),
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            lasting(format!("it does not accept the certificate of --tls-client-cert ({alert:?})"))
        }
        AlertDescription::ProtocolVersion => lasting(
            "it does not speak a version of TLS that is new enough: allow an older one by \
             --tls-min 1.2, or update it"
                .into(),
        ),
        AlertDescription::NoApplicationProtocol => lasting(
            "it speaks TLS and is no relay: is this the address of its control port?".into(),
        ),
        alert => passing(format!("it broke TLS off ({alert:?})")),
    }
}

fn day(time: UnixTime) -> String {
    args::day(Duration::from_secs(time.as_secs()))
}

fn lasting(what: String) -> Trouble {
    Trouble { what, is_lasting: true }
}

fn passing(what: String) -> Trouble {
    Trouble { what, is_lasting: false }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(err: Error) -> String {
        let err = io::Error::new(io::ErrorKind::InvalidData, err);
        explain(&err, false).unwrap().to_string()
    }

    #[test]
    fn every_mistake_has_its_words() {
        let certificate = |err| said(Error::InvalidCertificate(err));
        let expired = CertificateError::ExpiredContext {
            time: UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000)),
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(1_000_000_000)),
        };
        assert!(certificate(expired).starts_with("its certificate has expired on 2001-09-09: "));
        let name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example").unwrap(),
            presented: vec!["DnsName(\"b.example\")".into()],
        };
        let name = certificate(name);
        assert!(
            name.starts_with("its certificate is for b.example, not for a.example: "),
            "{name}"
        );
        let unknown = certificate(CertificateError::UnknownIssuer);
        assert!(unknown.contains("--tls-ca") && unknown.contains("--tls-pin"), "{unknown}");
        let alert = said(Error::AlertReceived(AlertDescription::CertificateRequired));
        assert!(alert.contains("--tls-client-cert"), "{alert}");
    }

    #[test]
    fn an_end_is_about_tls_only_before_its_handshake_is_over() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let trouble = explain(&reset, false).unwrap();
        assert!(!trouble.is_lasting, "{trouble}");
        assert!(trouble.to_string().contains("too many attempts"), "{trouble}");
        assert_eq!(explain(&reset, true), None);
        assert_eq!(explain(&io::ErrorKind::TimedOut.into(), false), None);
    }
}
