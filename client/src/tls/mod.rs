//! TLS with the relay and with local services: whom the client trusts, and what went wrong, in words.

mod explain;
mod service;
mod trust;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shared::carry::Carrier;
use shared::carry::tls::Tls;
use shared::carry::tls::pem::{self, BadFile};
use tokio::net::TcpStream;

use crate::config::{Config, TlsSettings};

pub(crate) use self::explain::{Trouble, explain};
pub(crate) use self::service::{ServiceStream, ServiceTls};
pub(crate) use self::trust::BadTls;

/// TLS of all connections of a client. Cheap to clone. What its connections remember of the relay
/// is shared, so that the next handshake costs less.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientTls(Arc<Mutex<Option<Prepared>>>);

/// What was made of settings and files.
#[derive(Debug)]
struct Prepared {
    from: Inputs,
    config: Arc<ClientConfig>,
}

/// The settings, and what their files hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inputs {
    settings: TlsSettings,
    ca: Option<File>,
    identity: Option<(File, File)>,
}

#[derive(Clone, PartialEq, Eq)]
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// How the next connection goes on after TCP.
pub(crate) struct Dial(Option<(Arc<ClientConfig>, ServerName<'static>)>);

impl ClientTls {
    /// What the next connection to the relay at `host` does. Files that have changed are read again.
    ///
    /// # Errors
    ///
    /// A file that does not hold what it should.
    pub(crate) async fn dial(&self, config: &Config, host: &str) -> Result<Dial, BadTls> {
        let settings = &config.tls;
        if !settings.is_on() {
            return Ok(Dial(None));
        }
        let name = match &settings.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host).map_err(|_| BadTls::Name)?.to_owned(),
        };
        let (this, settings) = (self.clone(), settings.clone());
        // Not on the thread that moves data: a system has hundreds of authorities.
        let prepared = tokio::task::spawn_blocking(move || this.prepared(settings)).await;
        Ok(Dial(Some((prepared.map_err(|_| BadTls::Cut)??, name))))
    }

    fn prepared(&self, settings: TlsSettings) -> Result<Arc<ClientConfig>, BadTls> {
        let inputs = Inputs::read(settings)?;
        let mut kept = self.0.lock();
        if let Some(prepared) = kept.as_ref().filter(|prepared| prepared.from == inputs) {
            return Ok(Arc::clone(&prepared.config));
        }
        let config = Arc::new(inputs.client_config()?);
        *kept = Some(Prepared { from: inputs, config: Arc::clone(&config) });
        Ok(config)
    }
}

impl Dial {
    /// Lays a carrier over a connection to the relay.
    ///
    /// # Errors
    ///
    /// What [`explain`] explains.
    pub(crate) async fn over(self, socket: TcpStream) -> io::Result<Carrier> {
        match self.0 {
            None => Ok(Carrier::Tcp(socket)),
            // Sessions without TLS never need it: it is not a part of their tasks.
            Some((config, name)) => {
                Box::pin(Tls::connect(config, name, socket)).await.map(Carrier::from)
            }
        }
    }
}

impl Inputs {
    fn read(settings: TlsSettings) -> Result<Self, BadFile> {
        let ca = settings.ca.as_deref().map(File::read).transpose()?;
        let identity = match &settings.identity {
            Some((certificate, key)) => Some((File::read(certificate)?, File::read(key)?)),
            None => None,
        };
        Ok(Self { settings, ca, identity })
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, BadFile> {
        Ok(Self { path: path.to_owned(), bytes: pem::read(path)? })
    }
}

/// Without what it holds, which may be a key.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whether the files of `config` hold what they should.
///
/// # Errors
///
/// The first that does not, with its flag.
pub(crate) fn check_files(config: &Config) -> Result<(), String> {
    let TlsSettings { ca, identity, .. } = &config.tls;
    let only = |ca: Option<PathBuf>, identity| {
        Inputs::read(TlsSettings { ca, identity, ..TlsSettings::default() })
    };
    if ca.is_some() {
        let checked = only(ca.clone(), None).and_then(|inputs| inputs.authorities());
        checked.map_err(|err| format!("--tls-ca: {err}"))?;
    }
    let checked = only(None, identity.clone()).and_then(|inputs| inputs.check_identity());
    checked.map_err(|err| {
        let is_key = identity.as_ref().is_some_and(|(certificate, _)| !err.is_at(certificate));
        let flag = if is_key { "--tls-client-key" } else { "--tls-client-cert" };
        format!("{flag}: {err}")
    })
}
