//! A certificate for whoever wants one to be brought along.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::protocol::web::HOST;

/// A server's certificate on this machine, and the authority that has issued it, in files.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The authority's certificate, for those who are to trust it.
    pub(crate) authority: PathBuf,
    /// The server's certificate.
    pub(super) certificate: PathBuf,
    /// Its key.
    pub(super) key: PathBuf,
}

impl Certificate {
    /// The one in that directory. It is made unless it is there already: a server that is started
    /// again has to be known to its clients.
    pub(crate) fn kept_in(directory: &Path) -> Result<Self> {
        let kept = Self {
            authority: directory.join("authority.pem"),
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        };
        if !kept.key.exists() {
            kept.make().context("making a certificate")?;
        }
        Ok(kept)
    }

    fn make(&self) -> Result<()> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the benchmark's authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let names = [NAME, "127.0.0.1", HOST].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, NAME);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        fs::write(&self.authority, authority.pem())?;
        fs::write(&self.certificate, certificate.pem())?;
        Ok(fs::write(&self.key, key.serialize_pem())?)
    }
}

/// What the server is called, for clients that look for a name and not for an address.
pub(super) const NAME: &str = "localhost";

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn a_server_that_is_started_again_shows_what_its_clients_know() {
        let directory = env::temp_dir().join(format!("bench-certificate-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let read = || {
            let kept = Certificate::kept_in(&directory).unwrap();
            [kept.authority, kept.certificate, kept.key].map(|file| fs::read(file).unwrap())
        };
        let (first, again) = (read(), read());
        fs::remove_dir_all(&directory).unwrap();
        assert!(first.iter().all(|file| file.starts_with(b"-----BEGIN ")));
        assert!(first == again);
    }
}
