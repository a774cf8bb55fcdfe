//! Where certificates come from.
//!
//! - [`Identity`]: that of the control port, from files or made by the relay
//! - [`VisitorCerts`]: those that visitors see, from a folder ([`folder`]) or ordered from an
//!   authority ([`acme`])
//! - [`table`]: what is shown to whom; [`served`]: one of them; [`wanted`]: who needs one
//!
//! # Invariants
//!
//! - Nothing that a visitor sends makes the relay order anything: orders are for the hosts of tunnels
//!   that it has admitted, and for the operator's own wildcard.
//! - Orders stay within bounds of our own that are narrower than the authority's ([`acme::ration`]),
//!   counted in the store, so that neither a flood of names nor a relay that starts again and again
//!   uses up the account.

mod acme;
mod details;
mod folder;
mod name;
mod now;
mod self_signed;
mod served;
mod table;
mod visitors;
mod wanted;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::Error;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use shared::carry::tls::pem::{self, BadFile};
use shared::carry::tls::{Pin, provider};

use self::details::Details;
pub(crate) use self::name::CertName;
pub(crate) use self::now::CertificateNow;
pub(crate) use self::visitors::check_files;
pub use self::visitors::{VisitorCerts, Wanted};

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
        from_files(certificate, key, Self::new)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let own = chain.first().ok_or(Error::NoCertificatesPresented)?;
        let expires = Details::of(own).and_then(|details| {
            details.expires.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
        });
        let pin = Pin::of(own)?;
        let key = Arc::new(CertifiedKey::from_der(chain, key, &provider())?);
        Ok(Self { key, pin, expires })
    }
}

/// What `new` makes of the chain of certificates in one file and the key in another one.
fn from_files<T>(
    certificate: &Path,
    key: &Path,
    new: impl FnOnce(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) -> Result<T, Error>,
) -> Result<T, BadFile> {
    let chain = pem::certificates(certificate, &pem::read(certificate)?)?;
    let private = pem::key(key, &pem::read(key)?)?;
    new(chain, private).map_err(|err| match err {
        Error::InconsistentKeys(_) => {
            BadFile::new(key, format_args!("is not the key of {}", certificate.display()))
        }
        err => BadFile::new(certificate, format_args!("cannot be used: {err}")),
    })
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("pin", &self.pin).finish_non_exhaustive()
    }
}
