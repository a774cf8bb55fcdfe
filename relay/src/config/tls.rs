//! TLS at the control port.

use std::path::{Path, PathBuf};

use shared::carry::tls::TlsMin;
use shared::kit::settings::Row;

use super::{BadSetting, check};

/// How clients can reach the control port by TLS. As by default they cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Where the certificate comes from. `None`: there is no TLS.
    pub source: Option<TlsSource>,
    /// Whether clients without TLS are refused, whatever else.
    pub require: bool,
    /// The oldest version that is spoken.
    pub min: TlsMin,
    /// Clients need a certificate of one of the authorities in this file, and so they need TLS.
    pub client_ca: Option<PathBuf>,
}

/// Where the certificate of the control port comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSource {
    /// The relay makes it, once for each data folder.
    SelfSigned,
    /// From files in PEM, which are read again when they change.
    Files {
        /// The chain, the relay's own certificate first.
        certificate: PathBuf,
        /// The key of that one.
        key: PathBuf,
    },
}

/// What is said of something that means nothing without TLS.
const NEEDS_TLS: &str = "needs TLS: tls-cert with tls-key, or tls self-signed";

impl TlsSettings {
    /// Whether clients without TLS are refused.
    pub(crate) fn is_required(&self) -> bool {
        self.require || self.client_ca.is_some()
    }

    /// The files that it is read from.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let pair = match &self.source {
            Some(TlsSource::Files { certificate, key }) => vec![certificate, key],
            Some(TlsSource::SelfSigned) | None => Vec::new(),
        };
        pair.into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }

    pub(super) fn check(&self) -> Result<(), BadSetting> {
        let is_on = self.source.is_some();
        check("require-tls", is_on || !self.require, NEEDS_TLS)?;
        check("tls-client-ca", is_on || self.client_ca.is_none(), NEEDS_TLS)
    }

    /// Every setting with its key, in the order of the documentation.
    pub(super) fn rows(&self) -> Vec<Row> {
        // All are named, so that a new one is not forgotten.
        let Self { source, require, min, client_ca } = self;
        let (kind, certificate, key) = match source {
            None => (None, None, None),
            Some(TlsSource::SelfSigned) => (Some("self-signed"), None, None),
            Some(TlsSource::Files { certificate, key }) => (None, Some(certificate), Some(key)),
        };
        let path = |key, path: Option<&PathBuf>| {
            let shown = path.map(|path| path.display().to_string());
            Row::optional(key, shown.as_deref())
        };
        vec![
            Row::optional("tls", kind),
            path("tls-cert", certificate),
            path("tls-key", key),
            Row::new("require-tls", require),
            Row::new("tls-min", min),
            path("tls-client-ca", client_ca.as_ref()),
        ]
    }
}
