//! Certificates and keys in files.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::kit::small_file;

/// The largest file that is read: all authorities of a system are a quarter of it.
const LARGEST: u64 = 1024 * 1024;

/// A file does not hold what it should, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    path: PathBuf,
    what: String,
}

impl BadFile {
    /// What is wrong with the file at `path`.
    pub fn new(path: &Path, what: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }

    /// Whether it is the file at `path`.
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }
}

/// Reads a file of certificates and keys.
///
/// # Errors
///
/// It cannot be read, or is far larger than such a file is.
pub fn read(path: &Path) -> Result<Vec<u8>, BadFile> {
    small_file::read(path, LARGEST).map_err(|err| match err.kind() {
        ErrorKind::FileTooLarge => BadFile::new(path, "is too large for certificates"),
        ErrorKind::NotFound => BadFile::new(path, "is not there"),
        _ => BadFile::new(path, format_args!("cannot be read: {err}")),
    })
}

/// The certificates in a file, of which there is one at least.
///
/// # Errors
///
/// There is none, or one is damaged.
pub fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(BadFile::new(
            path,
            "holds no certificate: a PEM file begins with -----BEGIN CERTIFICATE-----",
        )),
        Ok(certificates) => Ok(certificates),
        Err(err) => Err(BadFile::new(path, format_args!("is no good PEM file: {err}"))),
    }
}

/// The first private key in a file.
///
/// # Errors
///
/// There is none, or it is damaged or locked with a passphrase.
pub fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, BadFile> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|err| {
        BadFile::new(path, format_args!("holds no private key without a passphrase: {err}"))
    })
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for BadFile {}
