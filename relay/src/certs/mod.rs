//! Where certificates come from.

mod self_signed;
mod visitors;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};
use shared::carry::tls::pem::{self, BadFile};
use shared::carry::tls::{Pin, provider};

pub(crate) use self::visitors::visitors_server;

/// A certificate with its key, ready for use.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    /// The pin of the key.
    pub(crate) pin: Pin,
    /// When it expires, in seconds since 1970, as far as that can be told.
    pub(crate) expires: Option<u64>,
}

impl Identity {
    /// A chain of certificates, the relay's own first, and the key of that one.
    ///
    /// # Errors
    ///
    /// A file that does not hold what it should, or a key that does not fit.
    pub(crate) fn from_files(certificate: &Path, key: &Path) -> Result<Self, BadFile> {
        let chain = pem::certificates(certificate, &pem::read(certificate)?)?;
        let private = pem::key(key, &pem::read(key)?)?;
        Self::new(chain, private).map_err(|err| match err {
            Error::InconsistentKeys(_) => {
                BadFile::new(key, format_args!("is not the key of {}", certificate.display()))
            }
            err => BadFile::new(certificate, format_args!("cannot be used: {err}")),
        })
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let own = chain.first().ok_or(Error::NoCertificatesPresented)?;
        let (pin, expires) = (Pin::of(own)?, expires(own));
        let key = Arc::new(CertifiedKey::from_der(chain, key, &provider())?);
        Ok(Self { key, pin, expires })
    }
}

/// When a certificate expires. What reads certificates does not tell; asked about a time far in the
/// future, it says since when it has been too late.
fn expires(certificate: &CertificateDer<'static>) -> Option<u64> {
    /// After every time that a certificate can name.
    const FAR: Duration = Duration::from_secs(400_000_000_000);
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let far = UnixTime::since_unix_epoch(FAR);
    match verifier.verify_server_cert(certificate, &[], &name, &[], far) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        _ => None,
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("pin", &self.pin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn it_is_known_when_a_certificate_expires() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2040, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(expires(certificate.der()), Some(2_208_988_800));
    }
}
