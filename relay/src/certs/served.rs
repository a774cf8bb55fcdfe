//! A certificate that visitors see.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::Error;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use shared::carry::tls::provider;

use super::CertName;
use super::details::Details;

/// A certificate with its key, ready for use.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) key: Arc<CertifiedKey>,
    /// What it is for.
    pub(super) names: Vec<CertName>,
    pub(super) begins: SystemTime,
    pub(super) expires: SystemTime,
}

impl Served {
    /// A chain of certificates, the relay's own first, and the key of that one.
    ///
    /// # Errors
    ///
    /// They do not go together, or the certificate cannot be read or is for no host.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let own = chain.first().ok_or(Error::NoCertificatesPresented)?;
        let details = Details::of(own).filter(|details| !details.names.is_empty());
        let details = details.ok_or_else(|| {
            Error::General("the certificate is not for the name of a host".into())
        })?;
        let Details { names, begins, expires } = details;
        let key = Arc::new(CertifiedKey::from_der(chain, key, &provider())?);
        Ok(Self { key, names, begins, expires })
    }

    /// The same from PEM.
    ///
    /// # Errors
    ///
    /// Also what is no PEM.
    pub(super) fn from_pem(chain: &str, key: &str) -> Result<Self, Error> {
        let bad = |err| Error::General(format!("it is no good PEM: {err}"));
        let chain: Result<_, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(bad)?;
        Self::new(chain.map_err(bad)?, key)
    }

    /// Whether it is good at that time.
    pub(super) fn is_good(&self, now: SystemTime) -> bool {
        (self.begins..self.expires).contains(&now)
    }
}

/// Without the key.
impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("names", &self.names).finish_non_exhaustive()
    }
}
