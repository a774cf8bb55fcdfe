//! The certificates that visitors see: what the rest of the relay has to do with.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::sign::CertifiedKey;
use shared::carry::tls::provider;
use shared::control::protocol::DomainName;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::CertName;
use super::Identity;
use super::acme::{Authority, Orders};
use super::folder::Folder;
use super::now::CertificateNow;
use super::table::{ACME_TLS, Resolver, Table};
use super::wanted::Hosts;
pub use super::wanted::Wanted;
use crate::access::Owner;
use crate::config::CertificateSettings;
use crate::domains::Domains;
use crate::metrics::Metrics;
use crate::store::Store;

/// The certificates that visitors see. Cheap to clone.
#[derive(Clone)]
pub struct VisitorCerts(Arc<Shared>);

struct Shared {
    table: Table,
    wanted: WantedNames,
    metrics: Metrics,
    authority: Option<Arc<Authority>>,
    /// The relay's own make, where there is nothing better.
    made: Option<Arc<CertifiedKey>>,
    /// Somebody wants the folder to be read again.
    look: Notify,
    /// Until somebody follows it.
    folder: Mutex<Option<Folder>>,
}

/// The names for which certificates are ordered.
#[derive(Clone)]
struct WantedNames {
    hosts: Hosts,
    /// What is ordered for all hosts below a domain.
    wildcard: Option<CertName>,
}

impl WantedNames {
    fn has(&self, name: &CertName) -> bool {
        match name {
            CertName::Host(host) => self.hosts.has(host),
            CertName::Below(_) => Some(name) == self.wildcard.as_ref(),
        }
    }
}

impl VisitorCerts {
    /// Those of `settings`, for a relay that serves HTTPS at the port `https`, for hosts such as
    /// `own` if there is nobody else to say that it does. All that is there already has been read.
    ///
    /// # Errors
    ///
    /// A folder, a file or a store that cannot be read, or that nothing can be ordered for want of
    /// a store.
    pub(crate) async fn new(
        settings: &CertificateSettings,
        https: Option<u16>,
        own: Vec<String>,
        store: Option<&Store>,
        domains: Domains,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let (table, hosts) = (Table::default(), Hosts::default());
        let folder = match &settings.folder {
            Some(path) => Some(Folder::new(path.clone(), table.clone()).await.context("--certs")?),
            None => None,
        };
        let authority = if settings.acme.on {
            let store = store.context("--acme needs --data or --database")?.clone();
            let authority = Authority::new(&settings.acme, https, store, domains)?;
            authority.show_kept(&table).await?;
            Some(Arc::new(authority))
        } else {
            None
        };
        let made = if https.is_some() && settings.folder.is_none() && !settings.acme.on {
            info!(
                "visitors see a certificate that no browser knows: give --certs DIR, or --acme for \
                 one from an authority"
            );
            Some(Identity::made(own).context("cannot make a certificate for --https")?.key)
        } else {
            None
        };
        let wildcard = settings.acme.wildcard.clone().map(CertName::Below);
        let wanted = WantedNames { hosts, wildcard };
        metrics.show_certificates({
            let (table, wanted) = (table.clone(), wanted.clone());
            move || table.expiries(&|name| wanted.has(name))
        })?;
        let (folder, look) = (Mutex::new(folder), Notify::new());
        Ok(Self(Arc::new(Shared { table, wanted, metrics, authority, made, look, folder })))
    }

    /// How HTTPS is spoken with visitors that want one of these protocols, the best first. Each is
    /// shown the certificate of the host that it asks for; for a host without one there is none,
    /// and the handshake fails: see [`has`](Self::has). Sessions are resumed by tickets, whose keys
    /// change every few hours and are gone with the process. An authority that asks for
    /// [`is_challenge`](Self::is_challenge) gets its answer.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn server_config(&self, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let resolver = Resolver { table: self.0.table.clone(), made: self.0.made.clone() };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        // Last: nobody but an authority wants it.
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.alpn_protocols.push(ACME_TLS.to_vec());
        config.ticketer = Ticketer::new()?;
        Ok(config)
    }

    /// Whether `protocol`, on which a handshake has agreed, is that of an authority which asks for
    /// an answer to its challenge. It has had it with the handshake, and the connection is to be
    /// closed.
    pub fn is_challenge(protocol: Option<&[u8]>) -> bool {
        protocol == Some(ACME_TLS)
    }

    /// Whether there is a certificate for `host`, which may have expired: a visitor that asks for
    /// another one can be told before the handshake that its name is not recognised.
    pub fn has(&self, host: &str) -> bool {
        self.0.table.find(&host.to_ascii_lowercase(), SystemTime::now()).is_some()
    }

    /// Says that visitors of `host` need a certificate, for as long as the answer lives. It is
    /// ordered if the relay orders any, and has none that is good for it.
    pub fn want(&self, host: DomainName) -> Wanted {
        self.0.wanted.hosts.want(host, None)
    }

    /// The same for a tunnel of `owner`, who gets no more than a share of what may be ordered.
    pub(crate) fn want_for(&self, host: DomainName, owner: &Owner) -> Wanted {
        let is_one = matches!(owner, Owner::User(_) | Owner::Subject(_));
        self.0.wanted.hosts.want(host, is_one.then(|| owner.clone()))
    }

    /// The certificates that there are, by name: the operator's own, and what was ordered and is still
    /// wanted.
    pub(crate) fn shown(&self) -> Vec<CertificateNow> {
        self.0.table.shown(&|name| self.0.wanted.has(name))
    }

    /// The answer to whoever asks for `/.well-known/acme-challenge/TOKEN` by plain HTTP, at any
    /// host, to be sent as `application/octet-stream`. `None`: it is none of ours.
    pub fn http01(&self, token: &str) -> Option<String> {
        self.0.table.token(token)
    }

    /// The files may be others: they are read again.
    pub fn look(&self) {
        self.0.look.notify_one();
        self.0.wanted.hosts.look();
    }

    /// Follows the folder, and orders what is wanted, until `stop`. To be called once. What is
    /// under way then is broken off, which may take a moment.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Shared { table, wanted, metrics, authority, made: _, look, folder } = &*self.0;
        let hosts = &wanted.hosts;
        let folder = folder.lock().take();
        let follow = async {
            match folder {
                Some(folder) => match folder.follow(look).await {},
                None => stop.cancelled().await,
            }
        };
        let order = async {
            if let Some(authority) = authority {
                let (authority, hosts) = (Arc::clone(authority), hosts.clone());
                let (table, metrics, stop) = (table.clone(), metrics.clone(), stop.clone());
                Orders::new(authority, hosts, table, metrics, stop).run().await;
            }
        };
        let follow = async {
            tokio::select! {
                () = follow => (),
                () = stop.cancelled() => (),
            }
        };
        tokio::join!(follow, order);
        Ok(())
    }
}

/// Whether there is what the settings name.
///
/// # Errors
///
/// The first that is not there, or not as it should be, with its flag.
pub(crate) fn check_files(settings: &CertificateSettings) -> Result<(), String> {
    let CertificateSettings { folder, acme } = settings;
    if let Some(folder) = folder {
        std::fs::read_dir(folder).map_err(|err| format!("certs: {}: {err}", folder.display()))?;
    }
    Authority::read(acme).map(drop)
}

impl Authority {
    /// Shows what is kept of what it has issued.
    async fn show_kept(&self, table: &Table) -> anyhow::Result<()> {
        let kept = self.store.certificates(self.directory()).await;
        let kept = kept.context("cannot read the certificates that are kept")?;
        let mut shown = 0;
        for certificate in kept.iter().filter(|kept| kept.expires > SystemTime::now()) {
            match certificate.show(table) {
                Ok(()) => shown += 1,
                Err(err) => {
                    let name = &certificate.name;
                    warn!("the certificate of {name} is damaged, and ordered again: {err:#}");
                }
            }
        }
        info!("certificates are ordered at {}, {shown} are there", self.directory());
        Ok(())
    }
}

/// Without keys.
impl fmt::Debug for VisitorCerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisitorCerts").field("table", &self.0.table).finish_non_exhaustive()
    }
}
