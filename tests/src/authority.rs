//! An authority that issues certificates to relays and clients, good ones and bad ones.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use shared::carry::tls::{ALPN, Pin, install_provider};
use shared::control::protocol::InstanceId;

use crate::files::Folder;

/// An authority of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key, as DER.
    pub key: PrivateKeyDer<'static>,
    /// Both in PEM.
    certificate_pem: String,
    key_pem: String,
}

/// What is special about a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// Nothing: it is good.
    #[default]
    Good,
    /// It has expired.
    Expired,
    /// Its time has not come.
    Future,
}

impl Authority {
    /// A new authority, which nobody knows yet.
    pub fn new() -> Self {
        install_provider();
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority {}", String::from(InstanceId::random()));
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// The purpose of a relay's certificate.
    pub const FOR_RELAYS: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;

    /// A certificate for a relay of this name.
    pub fn relay(&self, name: &str) -> Identity {
        self.issue(name, Validity::Good, Self::FOR_RELAYS)
    }

    /// A certificate for a client.
    pub fn client(&self) -> Identity {
        self.issue("client", Validity::Good, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for a relay on 127.0.0.1 that has expired.
    pub fn issue_expired(&self) -> Identity {
        self.issue("127.0.0.1", Validity::Expired, Self::FOR_RELAYS)
    }

    /// A certificate for that purpose.
    pub fn issue(
        &self,
        name: &str,
        validity: Validity,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![purpose];
        match validity {
            Validity::Good => (),
            Validity::Expired => params.not_after = date_time_ymd(2001, 1, 1),
            Validity::Future => params.not_before = date_time_ymd(4000, 1, 1),
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        }
    }

    /// The authority's own certificate in PEM, for those who are to trust it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A configuration of a client that trusts this authority alone.
    pub fn client_config(&self) -> ClientConfig {
        self.client_config_with(rustls::DEFAULT_VERSIONS)
    }

    /// The same for one that speaks nothing newer than TLS 1.2.
    pub fn old_client_config(&self) -> ClientConfig {
        self.client_config_with(&[&rustls::version::TLS12])
    }

    fn client_config_with(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let mut config = ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// The pin of its key.
    pub fn pin(&self) -> Pin {
        Pin::of(&self.certificate).expect("a certificate")
    }

    /// Writes it as two files into `folder`, one after the other, each at once.
    pub fn write(&self, folder: &Folder, certificate: &str, key: &str) {
        folder.replace(certificate, &self.certificate_pem);
        folder.replace(key, &self.key_pem);
    }

    /// A configuration of a server that shows it.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key());
        Arc::new(config.expect("a certificate that fits its key"))
    }
}
