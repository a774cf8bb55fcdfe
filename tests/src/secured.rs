//! A certificate of a relay in files, and who trusts it.

use std::path::PathBuf;

use client::TlsSettings;
use relay::TlsSource;
use shared::carry::tls::Pin;

use crate::authority::{Authority, Identity};
use crate::files::Folder;

/// The certificate's file.
const CERTIFICATE: &str = "cert.pem";

/// The key's.
const KEY: &str = "key.pem";

/// A folder with the certificate of a relay on 127.0.0.1, of an authority of its own.
#[derive(Debug)]
pub struct Secured {
    /// Where everything is.
    pub folder: Folder,
    /// Whose the certificate is.
    pub authority: Authority,
    /// The authority's own certificate.
    pub ca: PathBuf,
}

impl Secured {
    /// A certificate for 127.0.0.1.
    pub fn new() -> Self {
        Self::of(|authority| authority.relay("127.0.0.1"))
    }

    /// Whatever the authority is made to issue.
    pub fn of(issue: impl FnOnce(&Authority) -> Identity) -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let ca = folder.write("ca.pem", &authority.pem());
        let this = Self { folder, authority, ca };
        this.replace(&issue(&this.authority));
        this
    }

    /// Puts another certificate into the place of the one that is there.
    pub fn replace(&self, identity: &Identity) {
        identity.write(&self.folder, CERTIFICATE, KEY);
    }

    /// What a relay shows.
    pub fn relay_tls(&self) -> relay::TlsSettings {
        let (certificate, key) = (self.folder.file(CERTIFICATE), self.folder.file(KEY));
        let source = Some(TlsSource::Files { certificate, key });
        relay::TlsSettings { source, ..relay::TlsSettings::default() }
    }

    /// A client that trusts the authority, and nobody else.
    pub fn client_tls(&self) -> TlsSettings {
        TlsSettings { on: true, ca: Some(self.ca.clone()), ..TlsSettings::default() }
    }

    /// A client with a certificate of its own, which `authority` has issued.
    pub fn client_with_identity(&self, authority: &Authority) -> TlsSettings {
        let (certificate, key) = ("client-cert.pem", "client-key.pem");
        authority.client().write(&self.folder, certificate, key);
        let identity = Some((self.folder.file(certificate), self.folder.file(key)));
        TlsSettings { identity, ..self.client_tls() }
    }
}

impl Default for Secured {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that trusts whoever has one of these keys.
pub fn pinned(pins: &[Pin]) -> TlsSettings {
    TlsSettings { on: true, pins: pins.to_vec(), ..TlsSettings::default() }
}
