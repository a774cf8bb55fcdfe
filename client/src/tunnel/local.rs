//! The local service behind a tunnel: where the bytes go.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use shared::carry::tls::pem::{self, BadFile};
use shared::kit::net::HostPort;

use super::target::{Place, Secured};

/// Where the bytes of a tunnel go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalService {
    /// To a TCP port. Without a host it is on loopback.
    Tcp(HostPort),
    /// To a Unix socket.
    Unix(PathBuf),
    /// Over TLS to a TCP port.
    Tls(Secured, Trust),
}

/// Who is believed to be a local service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Who has a certificate of an authority that the system trusts.
    System,
    /// Who has one of these authorities.
    Authorities(Authorities),
    /// Whoever is there.
    Anybody,
}

/// The authorities in a file, of which there is one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    file: PathBuf,
    certificates: Arc<[CertificateDer<'static>]>,
}

impl LocalService {
    /// Where it is.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Tcp(address) => Place::Tcp(address.clone()),
            Self::Unix(path) => Place::Unix(path.clone()),
            Self::Tls(at, _) => Place::Secured(at.clone()),
        }
    }

    /// Whom to believe when this service, or one beside it, shows a certificate.
    pub(crate) fn trust(&self) -> &Trust {
        match self {
            Self::Tls(_, trust) => trust,
            Self::Tcp(_) | Self::Unix(_) => &Trust::System,
        }
    }
}

impl Authorities {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// It holds no authorities.
    pub(super) fn read(path: &Path) -> Result<Self, BadFile> {
        let certificates = pem::certificates(path, &pem::read(path)?)?;
        let authorities = Self { file: path.to_owned(), certificates: certificates.into() };
        authorities.roots().map(|_| authorities)
    }

    /// The authorities, for whoever checks certificates.
    ///
    /// # Errors
    ///
    /// One of them is damaged.
    pub(crate) fn roots(&self) -> Result<RootCertStore, BadFile> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates.iter() {
            roots.add(certificate.clone()).map_err(|err| BadFile::new(&self.file, err))?;
        }
        Ok(roots)
    }

    /// Where they were read.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// By the file: whoever looks for it does so for each visit, and certificates are long.
impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::System => 0.hash(state),
            Self::Anybody => 1.hash(state),
            Self::Authorities(authorities) => authorities.file.hash(state),
        }
    }
}

impl fmt::Display for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().fmt(f)
    }
}
