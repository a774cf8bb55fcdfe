//! Answers to an authority's challenges, for as long as it needs them.

use std::sync::Arc;

use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use shared::carry::tls::provider;

use super::super::CertName;
use super::super::table::{Answer, Table};
use super::checks::Obstacle;
use super::trouble::Trouble;
use crate::config::AcmeChallenge;
use crate::domains::{Domains, Passing};

/// The answers of one order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// They end with this.
    held: Vec<Answer>,
    records: Vec<Passing>,
}

impl AcmeChallenge {
    /// What the authority calls it.
    pub(super) fn kind(self) -> ChallengeType {
        match self {
            Self::Http01 => ChallengeType::Http01,
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Self::Dns01 => ChallengeType::Dns01,
        }
    }

    /// How it is shown that a certificate for `name` may be had.
    pub(super) fn of(self, name: &CertName) -> Self {
        match name {
            CertName::Host(_) => self,
            // There is no other way for those.
            CertName::Below(_) => Self::Dns01,
        }
    }
}

/// Whether a challenge for `name` could be answered, as far as that can be told beforehand.
///
/// # Errors
///
/// The relay makes no records of that name.
pub(super) fn can_answer(
    challenge: AcmeChallenge,
    name: &CertName,
    domains: &Domains,
) -> Result<(), Obstacle> {
    if challenge != AcmeChallenge::Dns01 {
        return Ok(());
    }
    let advice =
        "a program (--dns-hook) makes records elsewhere, or choose another --acme-challenge";
    let writer = domains.writer(&record(name));
    writer.map(drop).map_err(|err| Obstacle::Name(err.to_string(), advice))
}

/// Where the record is that answers dns-01 (RFC 8555, section 8.4).
fn record(name: &CertName) -> String {
    format!("_acme-challenge.{}", name.domain())
}

impl Answers {
    /// Answers one challenge.
    ///
    /// # Errors
    ///
    /// The certificate or the record that answers it cannot be made.
    pub(super) async fn give(
        &mut self,
        (table, domains): (&Table, &Domains),
        (challenge, name): (AcmeChallenge, &CertName),
        (token, authorization): (&str, &KeyAuthorization),
    ) -> Result<(), Trouble> {
        match challenge {
            AcmeChallenge::Http01 => {
                self.held.push(table.answer_token(token, authorization.as_str().into()));
            }
            AcmeChallenge::TlsAlpn01 => {
                let key = handshake(name, authorization.digest().as_ref()).map_err(Trouble::own)?;
                self.held.push(table.answer_handshake(name.domain(), key));
            }
            AcmeChallenge::Dns01 => {
                let record = record(name);
                let writer = domains.writer(&record).map_err(Trouble::own)?;
                let set = self.set(Passing::new(writer, record, authorization.dns_value()));
                set.await.map_err(|err| Trouble::own(format_args!("{err:#}")).counted())?;
            }
        }
        Ok(())
    }

    /// Puts a record into the DNS. Whatever comes of it, it is taken back with the others.
    async fn set(&mut self, record: Passing) -> anyhow::Result<()> {
        let at = self.records.len();
        self.records.push(record);
        self.records[at].set().await
    }

    /// Takes all of them back.
    pub(super) async fn take_back(self) {
        for record in self.records {
            record.unset().await;
        }
    }
}

/// The certificate that answers tls-alpn-01 (RFC 8737, section 3).
fn handshake(name: &CertName, digest: &[u8]) -> anyhow::Result<Arc<CertifiedKey>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.domain().to_string()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let key = provider().key_provider.load_private_key(der)?;
    // Not checked against the key: what checks it takes no critical extension that it does not
    // know.
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::{interval, timeout};

    use super::*;
    use crate::config::DomainSettings;
    use crate::domains::Writer;
    use crate::scratch::Scratch;

    /// A program that does this, in a folder of its own, and takes down what it was told to do.
    struct Program(Scratch);

    impl Program {
        fn new(script: &str) -> Self {
            let folder = Scratch::new();
            folder.program("hook", &format!("echo \"$@\" >>log; {script}"));
            Self(folder)
        }

        fn record(&self) -> Passing {
            record_by(&self.0.file("hook"))
        }

        fn called(&self) -> String {
            fs::read_to_string(self.0.file("log")).unwrap_or_default()
        }
    }

    fn record_by(program: &Path) -> Passing {
        let settings = DomainSettings { hook: Some(program.into()), ..DomainSettings::default() };
        let name = "_acme-challenge.t.example";
        Passing::new(Writer::of(&settings, name).expect("a program"), name.into(), "value".into())
    }

    const SET: &str = "add _acme-challenge.t.example TXT value\n";
    const UNSET: &str = "remove _acme-challenge.t.example TXT value\n";

    #[tokio::test]
    async fn a_record_that_could_not_be_made_is_taken_back_all_the_same() {
        let program = Program::new("exit 3");
        let mut answers = Answers::default();
        let err = answers.set(program.record()).await.unwrap_err().to_string();
        assert!(err.contains("add has failed: exit status: 3"), "{err}");
        answers.take_back().await;
        assert_eq!(program.called(), [SET, UNSET].concat());
        let none = record_by(&program.0.file("none"));
        let err = Answers::default().set(none).await.unwrap_err().to_string();
        assert!(err.contains("cannot be run"), "{err}");
    }

    #[tokio::test]
    async fn a_record_is_taken_back_although_nobody_waited_until_it_was_made() {
        let program = Program::new("test $1 = remove || exec tail -f /dev/null");
        let mut answers = Answers::default();
        let is_running = timeout(Duration::from_secs(20), async {
            let mut looks = interval(Duration::from_millis(5));
            while program.called() != SET {
                looks.tick().await;
            }
        });
        tokio::select! {
            set = answers.set(program.record()) => panic!("{set:?}"),
            is_running = is_running => is_running.expect("a program that runs"),
        }
        answers.take_back().await;
        assert_eq!(program.called(), [SET, UNSET].concat());
    }

    #[tokio::test]
    async fn a_program_that_says_a_lot_is_read_to_its_end() {
        let program = Program::new("head -c 1000000 /dev/zero; exec 1>&-");
        let mut answers = Answers::default();
        answers.set(program.record()).await.unwrap();
        answers.take_back().await;
    }
}
