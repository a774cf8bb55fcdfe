//! TLS with local services.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::client::danger::ServerCertVerifier;
use rustls::{CertificateError, ClientConfig};
use shared::carry::tls::{TlsMin, provider, system_authorities};
use shared::kit::logging::Foreign;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trust::{WithoutAuthority, by_authority};
use crate::tunnel::{Secured, Trust};

/// What the client says that it speaks over TLS (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// So many ways to trust are prepared at a time. More are there only when files of authorities have
/// changed often, or each of many tunnels has its own: then all are prepared anew.
const MOST_PREPARED: usize = 64;

/// TLS with all local services of a client. Cheap to clone. What its connections remember of a
/// service is shared, so that the next handshake costs less.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceTls(Arc<Prepared>);

#[derive(Debug, Default)]
struct Prepared {
    ready: RwLock<HashMap<Trust, Arc<ClientConfig>>>,
    /// Held while one is prepared, on a thread that may wait, so that the others have it then.
    preparing: Mutex<()>,
}

/// A connection to a local service after its handshake.
pub(crate) type ServiceStream = TlsStream<TcpStream>;

impl ServiceTls {
    /// Shakes hands over a connection to the server `at`. Callers set a deadline.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the connection is closed.
    ///
    /// # Errors
    ///
    /// What keeps the two from agreeing, for a person.
    pub(crate) async fn over(
        &self,
        socket: TcpStream,
        at: &Secured,
        trust: &Trust,
    ) -> io::Result<ServiceStream> {
        let connector = TlsConnector::from(self.config(trust).await?);
        connector.connect(at.server_name(), socket).await.map_err(explained)
    }

    async fn config(&self, trust: &Trust) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.0.ready(trust) {
            return Ok(config);
        }
        let (prepared, trust) = (Arc::clone(&self.0), trust.clone());
        // Not on the thread that moves data: a system has hundreds of authorities.
        let made = tokio::task::spawn_blocking(move || prepared.prepare(trust)).await;
        made.map_err(io::Error::other)?
    }
}

impl Prepared {
    fn ready(&self, trust: &Trust) -> Option<Arc<ClientConfig>> {
        self.ready.read().get(trust).cloned()
    }

    fn prepare(&self, trust: Trust) -> io::Result<Arc<ClientConfig>> {
        let _alone = self.preparing.lock();
        if let Some(config) = self.ready(&trust) {
            return Ok(config);
        }
        let config = Arc::new(client_config(&trust)?);
        let mut ready = self.ready.write();
        if ready.len() >= MOST_PREPARED {
            ready.clear();
        }
        ready.insert(trust, Arc::clone(&config));
        Ok(config)
    }
}

fn client_config(trust: &Trust) -> io::Result<ClientConfig> {
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(WithoutAuthority::Anybody),
        Trust::System => by_authority(system_authorities()).map_err(io::Error::other)?,
        Trust::Authorities(authorities) => {
            let roots = authorities.roots().map_err(io::Error::other)?;
            by_authority(roots).map_err(io::Error::other)?
        }
    };
    // Old versions too: a service on one's own machine is not always new.
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(TlsMin::Tls12.versions())
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The same error, with words for whoever runs the service.
fn explained(err: io::Error) -> io::Error {
    let by_tls = err.get_ref().and_then(|err| (err as &dyn Error).downcast_ref::<rustls::Error>());
    let what = match by_tls {
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS: use http://".to_owned(),
        Some(rustls::Error::InvalidCertificate(err)) => match err {
            CertificateError::UnknownIssuer => "its certificate is not of an authority that is \
                 trusted here: name that by ca=FILE, or switch this off by verify=off"
                .to_owned(),
            CertificateError::NotValidForNameContext { expected, .. } => format!(
                "its certificate is not for {}: use the name that it is for, or switch this off by \
                 verify=off",
                expected.to_str()
            ),
            err => format!("its certificate is not trusted: {}", Foreign(&err.to_string())),
        },
        Some(err) => format!("TLS with it has failed: {}", Foreign(&err.to_string())),
        None if err.kind() == io::ErrorKind::UnexpectedEof => {
            "it ended the connection when it was asked for TLS".to_owned()
        }
        None => return err,
    };
    io::Error::new(err.kind(), what)
}
