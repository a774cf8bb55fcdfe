//! What both ends of a TLS connection agree on.

use std::fmt;
use std::sync::{Arc, LazyLock};

use clap::ValueEnum;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedProtocolVersion};

/// The name of our protocol within TLS (RFC 7301).
pub const ALPN: &[u8] = b"sallyport/1";

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TlsMin {
    /// TLS 1.2, for the sake of something in between. It has no channel binding
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3, which every client and relay speaks
    #[default]
    #[value(name = "1.3")]
    Tls13,
}

impl TlsMin {
    /// This version and those after it.
    pub fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        /// The newest first.
        static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::Tls12 => &VERSIONS,
            Self::Tls13 => &VERSIONS[..1],
        }
    }
}

impl fmt::Display for TlsMin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

/// The one provider of cryptography. A key exchange that quantum computers do not break comes first.
/// So does the faster one of the two strengths of AES: it is faster by half, and neither is the weak
/// point of anything.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

/// Makes it the provider of everything in this process. Called first in every program: libraries
/// that ask for a provider find this one.
pub fn install_provider() {
    // An error means that it has been done before.
    drop(CryptoProvider::clone(&provider()).install_default());
}
