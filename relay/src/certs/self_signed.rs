//! Certificates that the relay makes by itself. Clients know them by their pins.

use anyhow::Context;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use shared::kit::small_file;

use super::Identity;
use crate::data::DataFolder;

/// The certificate of the control port in the data folder.
const CERTIFICATE: &str = "control-cert.pem";

/// Its key.
const KEY: &str = "control-key.pem";

/// The longest file with a key that is read: some hundred bytes are written.
const LONGEST_KEY: u64 = 64 * 1024;

impl Identity {
    /// Makes a certificate for `names`, which is gone with the process.
    ///
    /// # Errors
    ///
    /// A name that cannot stand in a certificate.
    pub(crate) fn made(names: Vec<String>) -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = certificate(names, &key)?;
        let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        Ok(Self::new(vec![certificate.der().clone()], der)?)
    }

    /// The certificate that is kept in `data`. What is missing of it is made, for `names`.
    ///
    /// # Errors
    ///
    /// The files cannot be written, or what they hold is damaged.
    pub(crate) fn kept(data: &DataFolder, names: Vec<String>) -> anyhow::Result<Self> {
        let (certificate_file, key_file) = (data.file(CERTIFICATE), data.file(KEY));
        // The key first: its pin is what clients know.
        if !key_file.exists() {
            let key = KeyPair::generate().context("cannot make a key")?;
            data.write_private(KEY, key.serialize_pem().as_bytes())?;
            data.write_private(CERTIFICATE, certificate(names, &key)?.pem().as_bytes())?;
        } else if !certificate_file.exists() {
            let shown = key_file.display();
            let text = small_file::read_text(&key_file, LONGEST_KEY);
            let text = text.with_context(|| format!("cannot read {shown}"))?;
            let key = KeyPair::from_pem(&text).with_context(|| format!("{shown} holds no key"))?;
            data.write_private(CERTIFICATE, certificate(names, &key)?.pem().as_bytes())?;
        }
        Ok(Self::from_files(&certificate_file, &key_file)?)
    }
}

/// A certificate that practically never expires: nothing but its pin says that it is the right one.
fn certificate(names: Vec<String>, key: &KeyPair) -> anyhow::Result<rcgen::Certificate> {
    let mut params =
        CertificateParams::new(names).context("a name cannot stand in a certificate")?;
    params.distinguished_name.push(DnType::CommonName, "Sallyport relay");
    params.self_signed(key).context("cannot make a certificate")
}
