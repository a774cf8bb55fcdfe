//! TLS at the control port: what it shows to clients, and how that follows its files.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::RwLock;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};
use shared::carry::tls::pem::{self, BadFile};
use shared::carry::tls::{ALPN, provider};
use shared::kit::watch::{Watch, any_changed};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::certs::Identity;
use crate::config::{Config, CurrentConfig, TlsSettings, TlsSource};
use crate::data::DataFolder;
use crate::metrics::Metrics;

/// What clients that come with TLS are shown at the moment. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ControlTls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: CurrentConfig,
    metrics: Metrics,
    /// `None`: there is no TLS.
    current: RwLock<Option<Current>>,
    /// Somebody wants the files to be read again.
    look: Notify,
}

#[derive(Clone, Debug)]
struct Current {
    source: TlsSource,
    /// What it was made from: the settings, and the SHA-256 of what each of their files held.
    from: (TlsSettings, Vec<Vec<u8>>),
    identity: Identity,
    server: Arc<ServerConfig>,
}

impl ControlTls {
    /// TLS as `config` wants it, with everything read.
    ///
    /// # Errors
    ///
    /// A file that does not hold what it should.
    pub(crate) async fn new(config: CurrentConfig, metrics: Metrics) -> anyhow::Result<Self> {
        let shared = Shared { config, metrics, current: RwLock::new(None), look: Notify::new() };
        let this = Self(Arc::new(shared));
        this.load().await?;
        Ok(this)
    }

    /// What a client is shown that comes now; `None` if there is no TLS.
    pub(super) fn now(&self) -> Option<Arc<ServerConfig>> {
        let current = self.0.current.read();
        let Current { from: (settings, _), server, .. } = current.as_ref()?;
        // Whoever wants other certificates of clients from now on must not get in anybody without,
        // although what else is new may be no good.
        let client_ca = &self.0.config.now().tls.client_ca;
        let is_asked_for = client_ca.is_none() || *client_ca == settings.client_ca;
        is_asked_for.then(|| Arc::clone(server))
    }

    /// The settings may be others, or the files: they are read again.
    pub(crate) fn look(&self) {
        self.0.look.notify_one();
    }

    /// Tells an operator how clients connect, in words that can be pasted.
    pub(super) fn announce(&self, control: SocketAddr) {
        let Some(current) = self.0.current.read().clone() else { return };
        let (config, pin, port) = (self.0.config.now(), current.identity.pin, control.port());
        if current.source != TlsSource::SelfSigned {
            info!(%pin, "clients can use TLS: client --server tls://HOST:{port}");
            return;
        }
        let host = match &config.public_name {
            Some(name) => name.to_string(),
            None if control.ip().is_unspecified() => "HOST".to_owned(),
            None if control.is_ipv6() => format!("[{}]", control.ip()),
            None => control.ip().to_string(),
        };
        info!("clients can use TLS: client --server tls://{host}:{port} --tls-pin {pin}");
        if config.data.is_none() {
            info!("this pin is another one after each start: keep it with --data DIR");
        }
    }

    /// Follows the settings and the files. What is not good changes nothing.
    pub(super) async fn follow(self) -> Infallible {
        loop {
            let settings = self.0.config.now().tls.clone();
            let mut watches = watches(&settings).await;
            while self.0.config.now().tls == settings {
                // The first time for what has changed before anybody watched.
                if let Err(err) = self.load().await {
                    error!("TLS at the control port stays as it is: {err:#}");
                }
                tokio::select! {
                    () = any_changed(&mut watches) => (),
                    () = self.0.look.notified() => (),
                }
            }
        }
    }

    async fn load(&self) -> anyhow::Result<()> {
        let (config, before) = (self.0.config.now(), self.0.current.read().clone());
        // Not on a thread that moves data.
        let loading = tokio::task::spawn_blocking(move || load(&config, before.as_ref()));
        let current = loading.await.context("cannot read the certificate")??;
        self.0.metrics.certificate_expires(current.as_ref().and_then(|now| now.identity.expires));
        let before = std::mem::replace(&mut *self.0.current.write(), current.clone());
        if let (Some(before), Some(now)) = (before, current)
            && before.identity.key.cert != now.identity.key.cert
        {
            info!(pin = %now.identity.pin, "new clients see another certificate");
        }
        Ok(())
    }
}

/// Watches of the files of `settings`, which have been looked at.
async fn watches(settings: &TlsSettings) -> Vec<Watch> {
    let mut watches = Vec::new();
    for path in settings.files() {
        match Watch::new(path) {
            Ok(mut watch) => {
                watch.look().await;
                watches.push(watch);
            }
            Err(err) => {
                warn!("changes of {} are only noticed at SIGHUP: {err}", path.display());
            }
        }
    }
    watches
}

/// What TLS comes to with `config`. What has not changed stays, tickets included, and so does a
/// certificate that the relay has made by itself.
fn load(config: &Config, before: Option<&Current>) -> anyhow::Result<Option<Current>> {
    let Some(source) = config.tls.source.clone() else { return Ok(None) };
    let read = |path| Ok(digest(&SHA256, &pem::read(path)?).as_ref().to_vec());
    let files = config.tls.files().map(read).collect::<Result<_, BadFile>>()?;
    let from = (config.tls.clone(), files);
    if let Some(before) = before.filter(|before| before.from == from) {
        return Ok(Some(before.clone()));
    }
    let identity = match (&source, before) {
        (TlsSource::Files { certificate, key }, _) => Identity::from_files(certificate, key)?,
        (TlsSource::SelfSigned, Some(before)) if before.source == TlsSource::SelfSigned => {
            before.identity.clone()
        }
        (TlsSource::SelfSigned, _) => self_signed(config)?,
    };
    let server = Arc::new(server_config(&config.tls, &identity)?);
    Ok(Some(Current { source, from, identity, server }))
}

fn self_signed(config: &Config) -> anyhow::Result<Identity> {
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let public = config.public_name.iter().map(ToString::to_string);
    let names = public.chain(own).collect();
    match &config.data {
        Some(data) => Identity::kept(&DataFolder::open(data)?, names),
        None => Identity::made(names),
    }
}

/// What TLS of these settings does with a client. Tickets of an earlier one are not taken: whoever
/// comes after a change has to do with the new certificate, and is checked anew. Early data are off,
/// since they can be replayed.
fn server_config(settings: &TlsSettings, identity: &Identity) -> anyhow::Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.min.versions())?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let resolver = SingleCertAndKey::from(Arc::clone(&identity.key));
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

/// The authorities in a file.
fn authorities(path: &std::path::Path) -> Result<RootCertStore, BadFile> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path, &pem::read(path)?)? {
        roots.add(certificate).map_err(|err| BadFile::new(path, err))?;
    }
    Ok(roots)
}

/// Whether the files of `config` hold what they should.
///
/// # Errors
///
/// The first that does not, with its flag.
pub(crate) fn check_files(config: &Config) -> Result<(), String> {
    if let Some(TlsSource::Files { certificate, key }) = &config.tls.source {
        Identity::from_files(certificate, key).map_err(|err| {
            let flag = if err.is_at(certificate) { "tls-cert" } else { "tls-key" };
            format!("{flag}: {err}")
        })?;
    }
    if let Some(path) = &config.tls.client_ca {
        authorities(path).map_err(|err| format!("tls-client-ca: {err}"))?;
    }
    Ok(())
}
