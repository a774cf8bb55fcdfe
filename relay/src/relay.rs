//! The relay as a whole: binds everything, runs the parts, stops them in order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use shared::kit::logging;
use shared::kit::net::{HostPort, Peers, listen};
use shared::kit::stop::Stop;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::Access;
use crate::admin::{About, Admin, Listeners, Parties};
use crate::certs::VisitorCerts;
use crate::config::{Config, CurrentConfig, WebSettings};
use crate::data::{DataFolder, DataLock};
use crate::domains::Domains;
use crate::edge::{Edge, Web};
use crate::entrance::{Entrance, WebFront};
use crate::inspect::{Amount, Inspector};
use crate::limits::Limits;
use crate::metrics::{Metrics, Reload};
use crate::registry::{Hosting, Registry};
use crate::session::{ControlTls, Phases, Sessions};
use crate::statistics::{History, Statistics};
use crate::store::{Place, Store};
use crate::web::{AccessLog, Board, Errands, ErrorPages};

/// How long it may take to part from all clients.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(3);

/// A relay that has bound its ports and can run.
#[derive(Debug)]
pub struct Relay {
    addrs: Addrs,
    config: CurrentConfig,
    access: Access,
    domains: Domains,
    limits: Limits,
    metrics: Metrics,
    store: Option<Store>,
    tls: ControlTls,
    control: TcpListener,
    public: TcpListener,
    admin: TcpListener,
    http: Option<TcpListener>,
    https: Option<TcpListener>,
    web: Web,
    /// What comes to its board.
    errands: Errands,
    statistics: Statistics,
    lock: Option<DataLock>,
}

/// Where a relay listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addrs {
    /// For clients.
    pub control: SocketAddr,
    /// For visitors of the tunnel `default`.
    pub public: SocketAddr,
    /// For metrics and health.
    pub admin: SocketAddr,
    /// For requests of HTTP.
    pub http: Option<SocketAddr>,
    /// For requests of HTTP by TLS.
    pub https: Option<SocketAddr>,
}

/// Changes the configuration of a relay that runs.
#[derive(Clone, Debug)]
pub struct Reconfigure {
    config: CurrentConfig,
    access: Access,
    limits: Limits,
    metrics: Metrics,
    tls: ControlTls,
    web: Web,
}

impl Reconfigure {
    /// The configuration from now on.
    pub fn apply(&self, config: Config) {
        self.access.set_rules(&config.access);
        self.limits.set_rules(config.limits.clone());
        self.web.history.set(&config.statistics);
        self.config.set(config);
        self.tls.look();
        self.web.error_pages.look();
        self.metrics.reload(Reload::Applied);
    }

    /// Reads again what the configuration refers to: certificates and their keys, and pages.
    pub fn look_at_files(&self) {
        self.tls.look();
        self.web.certs.look();
        self.web.error_pages.look();
    }

    /// Goes on with the access log in the file that has its name now. May wait for the disk.
    pub fn reopen_logs(&self) {
        self.web.access_log.reopen();
    }

    /// Counts a configuration that is not good. Everything stays as it is.
    pub fn failed(&self) {
        self.metrics.reload(Reload::Refused);
    }
}

impl Relay {
    /// Binds all ports that are known beforehand, and reads or makes the certificate of the control
    /// port.
    ///
    /// # Errors
    ///
    /// A port that cannot be had, with the flag that asked for it; a certificate that is not good; a
    /// file or folder that is none.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let control = bind("--control", &config.control, Peers::Clients).await?;
        let public = bind("--public", &config.public, Peers::Visitors).await?;
        let admin = bind("--admin", &config.admin, Peers::Visitors).await?;
        let http = match &config.web.http {
            Some(addr) => Some(bind("--http", addr, Peers::Visitors).await?),
            None => None,
        };
        let https = match &config.web.https {
            Some(addr) => Some(bind("--https", addr, Peers::Visitors).await?),
            None => None,
        };
        let addrs = Addrs {
            http: http.as_ref().map(TcpListener::local_addr).transpose()?,
            https: https.as_ref().map(TcpListener::local_addr).transpose()?,
            control: control.local_addr()?,
            public: public.local_addr()?,
            admin: admin.local_addr()?,
        };
        let metrics = Metrics::new(logging::dropped).context("cannot set up the metrics")?;
        let config = CurrentConfig::new(config);
        let tls = ControlTls::new(config.clone(), metrics.clone()).await;
        let tls = tls.context("cannot offer TLS at the control port")?;
        let limits = Limits::new(config.now().descriptors);
        limits.set_rules(config.now().limits.clone());
        let (lock, store) = store(&config.now()).await?;
        let domains = Domains::new(config.clone(), store.clone(), metrics.clone()).await?;
        let certificates = &config.now().certificates;
        let certs = VisitorCerts::new(
            certificates,
            addrs.https.map(|addr| addr.port()),
            hosts_of(&config.now().web),
            store.as_ref(),
            domains.clone(),
            metrics.clone(),
        );
        let certs = certs.await?;
        let history = History::new(store.clone(), metrics.clone(), &config.now().statistics);
        let statistics =
            Statistics::new(config.clone(), store.clone(), metrics.clone(), history.clone());
        let access =
            Access::new(&config.now().access, limits.clone(), metrics.clone(), store.clone())
                .await?;
        let (board, errands) = Board::at(config.now().web.board.clone());
        let web = Web {
            access_log: AccessLog::new(&config.now().web)?,
            error_pages: ErrorPages::new(config.clone()).await?,
            certs,
            board,
            history,
            inspector: Inspector::new(config.clone(), false),
        };
        Ok(Self {
            addrs,
            config,
            access,
            limits,
            metrics,
            store,
            tls,
            control,
            public,
            admin,
            http,
            https,
            domains,
            web,
            errands,
            statistics,
            lock,
        })
    }

    /// Where the relay listens.
    pub fn addrs(&self) -> &Addrs {
        &self.addrs
    }

    /// Changes the configuration while the relay runs: limits, times, TLS and the range of
    /// ports, for whatever begins afterwards. Addresses, the data folder, threads and the limit of
    /// open files need a new relay.
    pub fn reconfigure(&self) -> Reconfigure {
        Reconfigure {
            config: self.config.clone(),
            access: self.access.clone(),
            limits: self.limits.clone(),
            metrics: self.metrics.clone(),
            tls: self.tls.clone(),
            web: self.web.clone(),
        }
    }

    /// What has moved at tunnels.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Which requests and visits there were.
    pub fn history(&self) -> &History {
        &self.web.history
    }

    /// The certificates that visitors see.
    pub fn certs(&self) -> &VisitorCerts {
        &self.web.certs
    }

    /// Runs until asked to stop, or until a part cannot go on: half a relay that still looks
    /// healthy is worse than one that its supervisor restarts.
    ///
    /// Stopping goes in this order:
    ///
    /// 1. `/readyz` says no, so that a load balancer looks elsewhere;
    /// 2. the public ports and the control port are closed, and clients are told `Draining`;
    /// 3. open visits may finish, for as long as the grace period lasts, then they are reset;
    /// 4. clients are told `Goodbye` and their sessions end;
    /// 5. the admin port is closed.
    ///
    /// # Errors
    ///
    /// What kept a part from going on.
    pub async fn run(self, stop: Stop) -> anyhow::Result<()> {
        let Self {
            addrs,
            config,
            access,
            domains,
            limits,
            metrics,
            store,
            tls,
            web,
            lock,
            statistics,
            ..
        } = self;
        let (certs, history) = (web.certs.clone(), web.history.clone());
        // For as long as the relay runs.
        let _shown = config.now().web.board.clone().map(|host| certs.want(host));
        // Fired by us as well when a part fails.
        let stop =
            Stop { gracefully: stop.gracefully.child_token(), at_once: stop.at_once.child_token() };
        let [ending, cut_sessions, stop_ordering, stop_writing, closing] =
            [(); 5].map(|()| CancellationToken::new());

        metrics.show_bans({
            let limits = limits.clone();
            move || limits.count_bans()
        })?;
        let (registry, openings) = Registry::new(
            config.clone(),
            limits.clone(),
            metrics.clone(),
            stop.gracefully.clone(),
            Hosting {
                front: front(&config.now().web, &addrs),
                domains: domains.clone(),
                certs: certs.clone(),
            },
        );
        let phases = Phases { stopping: stop.gracefully.clone(), ending: ending.clone() };
        let sessions = Sessions::new(
            config.clone(),
            tls,
            access.clone(),
            registry.clone(),
            limits.clone(),
            metrics.clone(),
            phases,
        );
        let inspector = web.inspector.clone();
        let amounts: [fn(Amount) -> u64; 3] =
            [|now| now.bytes as u64, |now| now.entries as u64, |now| now.pushed_out];
        metrics.show_inspected(amounts.map(|of| {
            let inspector = inspector.clone();
            move || of(inspector.amount())
        }))?;
        let default = registry.open_default(Entrance::Port(addrs.public.port()));
        let mut edge = Edge::new(
            config.clone(),
            limits.clone(),
            metrics.clone(),
            (registry.clone(), openings),
            addrs.public.ip(),
            web,
            stop.clone(),
        );
        edge.serve(default, self.public);
        if let Some(listener) = self.http {
            edge.serve_http(listener);
        }
        if let Some(listener) = self.https {
            let server = certs.server_config(&[b"h2", b"http/1.1"]);
            edge.serve_https(listener, server.context("cannot offer TLS to visitors")?.into());
        }
        let Addrs { control, public, http, https, .. } = addrs;
        let listeners = Listeners { control, public, http, https };
        let about = About { config: config.clone(), listeners, started: Instant::now() };
        let admin = Admin::new(Parties {
            registry: registry.clone(),
            access: access.clone(),
            inspector,
            limits,
            metrics,
            store,
            certs: certs.clone(),
            statistics: statistics.clone(),
            history,
            about,
            stopping: stop.gracefully.clone(),
        });

        let mut parts = Parts::default();
        parts.edge.spawn(edge.run());
        parts.sessions.spawn(sessions.run(self.control, cut_sessions.clone()));
        parts.access.spawn({
            let (access, stop) = (access.clone(), stop_writing.clone());
            async move { access.follow(stop).await }
        });
        parts.statistics.spawn({
            let stop = stop_writing.clone();
            async move { statistics.follow(stop).await }
        });
        parts.certs.spawn(certs.run(stop_ordering.clone()));
        parts.domains.spawn({
            let stop = ending.clone();
            async move { domains.follow(stop).await }
        });
        parts.admin.spawn(admin.run(self.admin, self.errands, closing.clone()));

        let failed = tokio::select! {
            () = stop.gracefully.cancelled() => None,
            Some(part) = parts.edge.join_next() => Some(settle(part)),
            Some(part) = parts.sessions.join_next() => Some(settle(part)),
            Some(part) = parts.admin.join_next() => Some(settle(part)),
            Some(part) = parts.access.join_next() => Some(settle(part)),
            Some(part) = parts.certs.join_next() => Some(settle(part)),
            Some(part) = parts.domains.join_next() => Some(settle(part)),
            Some(part) = parts.statistics.join_next() => Some(settle(part)),
        };

        stop.gracefully.cancel();
        let grace = config.now().grace;
        info!(?grace, "stopping: open visits may finish");
        if timeout(grace, finish(&mut parts.edge)).await.is_err() {
            warn!("the grace period is over: open visits are cut off");
            stop.at_once.cancel();
            finish(&mut parts.edge).await;
        }
        ending.cancel();
        if timeout(GOODBYE_TIMEOUT, finish(&mut parts.sessions)).await.is_err() {
            cut_sessions.cancel();
            finish(&mut parts.sessions).await;
        }
        stop_ordering.cancel();
        if timeout(GOODBYE_TIMEOUT, finish(&mut parts.certs)).await.is_err() {
            warn!("orders of certificates are cut off: records may stay in the DNS");
        }
        finish(&mut parts.domains).await;
        stop_writing.cancel();
        if timeout(GOODBYE_TIMEOUT, finish(&mut parts.access)).await.is_err() {
            warn!("the store does not answer: the last traffic is not written down");
        }
        if timeout(GOODBYE_TIMEOUT, finish(&mut parts.statistics)).await.is_err() {
            warn!("the store does not answer: the last statistics are not written down");
        }
        drop(lock);
        closing.cancel();
        finish(&mut parts.admin).await;
        info!("stopped");
        failed.unwrap_or(Ok(()))
    }
}

/// The parts of a running relay, each in a set of its own: dropping the set ends the part.
#[derive(Default)]
struct Parts {
    edge: JoinSet<anyhow::Result<()>>,
    sessions: JoinSet<anyhow::Result<()>>,
    admin: JoinSet<anyhow::Result<()>>,
    access: JoinSet<anyhow::Result<()>>,
    certs: JoinSet<anyhow::Result<()>>,
    domains: JoinSet<anyhow::Result<()>>,
    statistics: JoinSet<anyhow::Result<()>>,
}

/// What has to last, where the configuration says it is, if it says so.
async fn store(config: &Config) -> anyhow::Result<(Option<DataLock>, Option<Store>)> {
    let folder = config.data.as_deref().map(DataFolder::open).transpose()?;
    let lock = folder.as_ref().map(DataFolder::lock).transpose()?;
    let Some(place) = Place::of(config.database.as_ref(), folder) else { return Ok((lock, None)) };
    let store = Store::open(&place).await.with_context(|| format!("cannot open {place}"))?;
    Ok((lock, Some(store)))
}

/// The hosts of a relay that nobody has claimed.
fn hosts_of(web: &WebSettings) -> Vec<String> {
    let domain = web.domain.iter().map(|domain| &domain.name);
    let hosts = domain.flat_map(|domain| [domain.to_string(), format!("*.{domain}")]);
    let board = web.board.iter().map(ToString::to_string);
    let mut hosts: Vec<_> = hosts.chain(board).chain(["localhost".to_owned()]).collect();
    hosts.dedup();
    hosts
}

/// How visitors see where the web reaches the relay.
fn front(web: &WebSettings, addrs: &Addrs) -> WebFront {
    let [http, https] = [addrs.http, addrs.https].map(|addr| addr.map(|addr| addr.port()));
    let own = https.map(|port| (true, port)).or_else(|| http.map(|port| (false, port)));
    let front = web.domain.as_ref().and_then(|domain| domain.front).or(own);
    WebFront {
        domain: web.domain.as_ref().map(|domain| domain.name.clone()),
        tls: front.is_some_and(|(tls, _)| tls),
        port: front.map(|(_, port)| port),
        tls_port: https,
    }
}

async fn bind(flag: &str, addr: &HostPort, peers: Peers) -> anyhow::Result<TcpListener> {
    listen(addr, peers).await.map_err(|err| {
        let question = if err.kind() == ErrorKind::AddrInUse { "is it in use? " } else { "" };
        let what = format!("cannot listen on {addr}: {question}choose another with {flag}");
        anyhow::Error::new(err).context(what)
    })
}

/// Waits for a part that has been told to stop.
async fn finish(part: &mut JoinSet<anyhow::Result<()>>) {
    while let Some(ended) = part.join_next().await {
        if let Err(err) = settle(ended) {
            warn!("while stopping: {err:#}");
        }
    }
}

fn settle(part: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    part.context("a part of the relay panicked")?
}
