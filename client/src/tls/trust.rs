//! Whom the client trusts to be its relay, and what it shows of itself.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::VerifierBuilderError;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use shared::carry::tls::pem::{self, BadFile};
use shared::carry::tls::{ALPN, Pin, provider, system_authorities};

use super::Inputs;

/// Why a client cannot even try TLS.
#[derive(Debug)]
pub(crate) enum BadTls {
    File(BadFile),
    /// The relay's host is nothing that a certificate can name.
    Name,
    /// Whoever prepared it was cut off.
    Cut,
    Library(String),
}

/// The key of the relay is none of those that were expected.
#[derive(Debug)]
pub(super) struct WrongPin(pub(super) Pin);

/// Trusts a server without asking who has issued its certificate.
#[derive(Debug)]
pub(super) enum WithoutAuthority {
    /// For its key, which has to be one of these.
    Pinned(Vec<Pin>),
    /// Whoever it is.
    Anybody,
}

impl Inputs {
    pub(super) fn client_config(&self) -> Result<ClientConfig, BadTls> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(self.settings.min.versions())
            .map_err(BadTls::library)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier()?);
        let mut config = match self.chain()? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(BadTls::library)?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, BadTls> {
        if !self.settings.pins.is_empty() {
            return Ok(Arc::new(WithoutAuthority::Pinned(self.settings.pins.clone())));
        }
        let roots = match &self.ca {
            Some(_) => self.authorities()?,
            None => system_authorities(),
        };
        Ok(by_authority(roots).map_err(BadTls::library)?)
    }

    /// The authorities of the file.
    pub(super) fn authorities(&self) -> Result<RootCertStore, BadFile> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.ca {
            for certificate in pem::certificates(&file.path, &file.bytes)? {
                roots.add(certificate).map_err(|err| BadFile::new(&file.path, err))?;
            }
        }
        Ok(roots)
    }

    /// Whether the client's certificate, if it has one, goes with its key.
    pub(super) fn check_identity(&self) -> Result<(), BadFile> {
        let (Some((chain, key)), Some((certificate, key_file))) = (self.chain()?, &self.identity)
        else {
            return Ok(());
        };
        match CertifiedKey::from_der(chain, key, &provider()) {
            Ok(_) => Ok(()),
            Err(Error::InconsistentKeys(_)) => {
                let what = format!("is not the key of {}", certificate.path.display());
                Err(BadFile::new(&key_file.path, what))
            }
            Err(err) => Err(BadFile::new(&certificate.path, err)),
        }
    }

    fn chain(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, BadFile> {
        let Some((certificate, key)) = &self.identity else { return Ok(None) };
        let chain = pem::certificates(&certificate.path, &certificate.bytes)?;
        Ok(Some((chain, pem::key(&key.path, &key.bytes)?)))
    }
}

/// Trusts a server with a certificate of one of these authorities.
pub(super) fn by_authority(
    roots: RootCertStore,
) -> Result<Arc<WebPkiServerVerifier>, VerifierBuilderError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()
}

impl ServerCertVerifier for WithoutAuthority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Self::Pinned(pins) = self else { return Ok(ServerCertVerified::assertion()) };
        let seen = Pin::of(certificate)?;
        if pins.contains(&seen) {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = OtherError(Arc::new(WrongPin(seen)));
        Err(Error::InvalidCertificate(CertificateError::Other(wrong)))
    }

    // The server has to have the key, not only the certificate.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl BadTls {
    fn library(err: impl fmt::Display) -> Self {
        Self::Library(err.to_string())
    }
}

impl From<BadFile> for BadTls {
    fn from(err: BadFile) -> Self {
        Self::File(err)
    }
}

impl fmt::Display for BadTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(err) => err.fmt(f),
            Self::Name => f.write_str("its host is no name that TLS can check: use --tls-name"),
            Self::Cut => f.write_str("what TLS needs could not be read"),
            Self::Library(err) => write!(f, "TLS cannot be used: {err}"),
        }
    }
}

impl std::error::Error for BadTls {}

impl fmt::Display for WrongPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key has the pin {}", self.0)
    }
}

impl std::error::Error for WrongPin {}
