//! What visitors who come by TLS are shown.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ResolvesServerCert;
use shared::carry::tls::{TlsMin, provider};

/// TLS for visitors, with the certificates that `resolver` has. Browsers choose HTTP/2, and so does
/// whoever else can; early data are off, since they can be replayed.
///
/// # Errors
///
/// The system gives no random numbers.
pub(crate) fn visitors_server(
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(TlsMin::Tls12.versions())?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"acme-tls/1".to_vec()];
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
