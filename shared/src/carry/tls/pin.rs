//! A key that is known beforehand.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

/// What stands in front of a pin.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a public key, as it stands in a certificate (its SubjectPublicKeyInfo). It stays
/// the same when a certificate is renewed with the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

/// The text is no pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPin;

impl Pin {
    /// The pin of a certificate's key.
    ///
    /// # Errors
    ///
    /// It is no certificate that TLS can use.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, &key).as_ref());
        Ok(Self(pin))
    }
}

impl FromStr for Pin {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Self, BadPin> {
        let text = text.strip_prefix(PREFIX).ok_or(BadPin)?.as_bytes();
        let encodings =
            [&HEXLOWER_PERMISSIVE, &BASE64, &BASE64_NOPAD, &BASE64URL, &BASE64URL_NOPAD];
        let decoded = encodings.into_iter().filter_map(|encoding| encoding.decode(text).ok());
        decoded.filter_map(|bytes| bytes.try_into().ok()).next().map(Self).ok_or(BadPin)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BadPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a pin is {PREFIX} and 32 bytes in base64 or hex, as the relay's log shows it")
    }
}

impl std::error::Error for BadPin {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_taken_in_base64_and_in_hex() {
        let pin = Pin([0xfb; 32]);
        let hex = format!("sha256:{}", "fb".repeat(32));
        let base64 = pin.to_string();
        let url = base64.replace('+', "-").replace('/', "_");
        for text in [&hex, &hex.replace("fb", "FB"), &base64, &url] {
            assert_eq!(text.parse(), Ok(pin), "{text}");
            assert_eq!(text.trim_end_matches('=').parse(), Ok(pin), "{text}");
        }
        for bad in ["", "sha256:", &hex[7..], &hex[..70], "sha1:aaaa", &format!("{base64}=")] {
            assert_eq!(bad.parse::<Pin>(), Err(BadPin), "{bad}");
        }
    }
}
