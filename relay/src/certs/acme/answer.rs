//! Answers to an authority's challenges, for as long as it needs them.

use std::sync::Arc;

use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use shared::carry::tls::provider;

use super::super::CertName;
use super::super::table::{Answer, Table};
use super::hook::Record;
use super::trouble::Trouble;
use crate::config::{AcmeChallenge, AcmeSettings};

/// The answers of one order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// They end with this.
    held: Vec<Answer>,
    records: Vec<Record>,
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

impl Answers {
    /// Answers one challenge.
    ///
    /// # Errors
    ///
    /// The certificate or the record that answers it cannot be made.
    pub(super) async fn give(
        &mut self,
        (table, settings): (&Table, &AcmeSettings),
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
                let program = settings.dns_hook.as_deref();
                let program = program.ok_or_else(|| Trouble::own("there is no --acme-dns-hook"))?;
                let record = format!("_acme-challenge.{}", name.domain());
                let set = Record::set(program, record, authorization.dns_value());
                self.records.push(set.await.map_err(|err| Trouble::own(err).counted())?);
            }
        }
        Ok(())
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
    // Not checked against the key: what checks it takes no critical extension that it does not know.
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}
