//! How visitors come by TLS.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use shared::carry::tls::pem;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::load::visitor::{connect, within};
use crate::protocol::web::HOST;

/// Where visitors come by TLS, and what they bring along. Copies remember the same sessions.
#[derive(Clone)]
pub(crate) struct Secure {
    public: SocketAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// What a visitor by TLS wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wish {
    /// HTTP/1.1, with all that belongs to a handshake.
    Full,
    /// HTTP/1.1, by what is remembered of the last time.
    Resumed,
    /// HTTP/2.
    Http2,
}

impl Secure {
    /// For whoever has a certificate of that authority there.
    pub(crate) fn new(public: SocketAddr, authority: &Path, wish: Wish) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for found in pem::certificates(authority, &pem::read(authority)?)? {
            roots.add(found).context("trusting the authority")?;
        }
        // What everybody knows: whoever knows better is not to compute more than the others.
        let provider = CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if wish != Wish::Resumed {
            config.resumption = Resumption::disabled();
        }
        if wish == Wish::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let name = ServerName::try_from(HOST).context("the visitors' host")?;
        Ok(Self { public, connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Connects and shakes hands.
    pub(super) async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = connect(self.public).await?;
        within(self.connector.connect(self.name.clone(), stream), "shaking hands").await
    }
}

/// Whether a connection came about by what was remembered.
pub(super) fn is_resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").field("public", &self.public).finish_non_exhaustive()
    }
}
