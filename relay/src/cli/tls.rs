//! The flags of TLS at the control port.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use shared::carry::tls::TlsMin;

use crate::config::{BadSetting, TlsSettings, TlsSource};

/// What clients can reach the control port by.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// TLS with a certificate that the relay makes by itself; the log shows its pin for clients
    #[arg(long, env = "RELAY_TLS", value_name = "KIND")]
    tls: Option<TlsKind>,

    /// TLS with the certificate in this file, in PEM, with those above it behind
    #[arg(long, env = "RELAY_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, in PEM
    #[arg(long, env = "RELAY_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Refuse clients that come without TLS
    #[arg(long, env = "RELAY_REQUIRE_TLS", value_parser = BoolishValueParser::new())]
    require_tls: bool,

    /// The oldest version of TLS that is spoken
    #[arg(long, env = "RELAY_TLS_MIN", value_name = "VERSION", default_value = "1.3")]
    tls_min: TlsMin,

    /// Let in only clients with a certificate of one of the authorities in this file, and so only
    /// by TLS
    #[arg(long, env = "RELAY_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
}

/// The values of `--tls`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TlsKind {
    /// Made once and kept in --data; without that anew at each start
    SelfSigned,
}

impl TlsArgs {
    /// The settings that the arguments describe.
    ///
    /// # Errors
    ///
    /// Half a pair, or two kinds at once.
    pub(super) fn into_settings(self) -> Result<TlsSettings, BadSetting> {
        let bad = |key, must| Err(BadSetting { key, must });
        let source = match (self.tls, self.tls_cert, self.tls_key) {
            (None, None, None) => None,
            (Some(TlsKind::SelfSigned), None, None) => Some(TlsSource::SelfSigned),
            (None, Some(certificate), Some(key)) => Some(TlsSource::Files { certificate, key }),
            (None, Some(_), None) => return bad("tls-cert", "needs tls-key as well"),
            (None, None, Some(_)) => return bad("tls-key", "needs tls-cert as well"),
            (Some(TlsKind::SelfSigned), _, _) => {
                return bad("tls", "self-signed does not go with tls-cert and tls-key");
            }
        };
        Ok(TlsSettings {
            source,
            require: self.require_tls,
            min: self.tls_min,
            client_ca: self.tls_client_ca,
        })
    }
}
