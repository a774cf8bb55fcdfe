//! Looks after the local services that are to be watched.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use shared::control::protocol::TunnelName;
use shared::kit::net::{HostPort, dial_service};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::config::Config;
use crate::tls::ServiceTls;
use crate::tunnel::{HealthCheck, LocalService, Probe, ProxyVersion, TunnelConfig};

/// The tunnels whose local service is not healthy.
pub(crate) type Unhealthy = Arc<HashSet<TunnelName>>;

/// The state of all local services of a client. One that nobody watches counts as healthy, and so
/// does one until its first probe, which decides alone.
#[derive(Debug)]
pub(crate) struct Health(watch::Sender<Unhealthy>);

impl Health {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Unhealthy::default()))
    }

    /// Follows the state.
    pub(crate) fn watch(&self) -> watch::Receiver<Unhealthy> {
        self.0.subscribe()
    }

    /// Watches what `config` says is to be watched, also when that changes. Never returns: whoever
    /// polls it drops it in the end, and with it all probes.
    pub(crate) async fn look_after(
        &self,
        mut config: watch::Receiver<Arc<Config>>,
        tls: &ServiceTls,
    ) -> Infallible {
        let mut watched = HashMap::<TunnelName, Watched>::new();
        loop {
            let wanted = Arc::clone(&config.borrow_and_update());
            let wanted: HashMap<_, _> = wanted
                .tunnels
                .iter()
                .filter_map(|tunnel| Some((&tunnel.name, (tunnel, tunnel.check.as_ref()?))))
                .collect();
            watched.retain(|name, watched| {
                let goes_on =
                    wanted.get(name).is_some_and(|(tunnel, check)| watched.goes_on(tunnel, check));
                if !goes_on {
                    set(&self.0, name, true);
                }
                goes_on
            });
            for (name, (tunnel, check)) in wanted {
                let begin = || Watched::new(&self.0, tls, tunnel, check);
                watched.entry(name.clone()).or_insert_with(begin);
            }
            if config.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// A local service, and what it expects in front of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    local: LocalService,
    proxy: Option<ProxyVersion>,
}

/// A local service with the task that watches it.
struct Watched {
    service: Service,
    check: watch::Sender<HealthCheck>,
    _task: JoinSet<()>,
}

impl Service {
    fn of(tunnel: &TunnelConfig) -> Self {
        Self { local: tunnel.local.clone(), proxy: tunnel.proxy() }
    }

    /// What comes in front of a connection to `address`, if that is the service itself: a page of
    /// health may be served elsewhere.
    fn own_header(&self, address: &HostPort) -> Option<Vec<u8>> {
        let LocalService::Tcp(local) = &self.local else { return None };
        let same = local.or_host("127.0.0.1") == address.or_host("127.0.0.1");
        self.proxy.filter(|_| same).map(ProxyVersion::own_header)
    }
}

impl Watched {
    fn new(
        state: &watch::Sender<Unhealthy>,
        tls: &ServiceTls,
        tunnel: &TunnelConfig,
        check: &HealthCheck,
    ) -> Self {
        let (check, follow) = watch::channel(check.clone());
        let service = Service::of(tunnel);
        let mut task = JoinSet::new();
        let watch = Watch::new(state.clone(), tls.clone(), tunnel.name.clone(), service.clone());
        task.spawn(watch.run(follow));
        Self { service, check, _task: task }
    }

    /// Whether the same is watched and looked at. If so it is as well as it was, whatever else
    /// becomes different; if not, nothing is known of it.
    fn goes_on(&self, tunnel: &TunnelConfig, check: &HealthCheck) -> bool {
        let same = self.service == Service::of(tunnel) && self.check.borrow().probe == check.probe;
        if same {
            self.check.send_if_modified(|current| {
                let changes = current != check;
                current.clone_from(check);
                changes
            });
        }
        same
    }
}

/// Takes down that a local service is healthy or not.
fn set(state: &watch::Sender<Unhealthy>, tunnel: &TunnelName, healthy: bool) {
    state.send_if_modified(|unhealthy| {
        if unhealthy.contains(tunnel) != healthy {
            return false;
        }
        // Nobody holds it but for a moment: thousands that change one by one copy nothing.
        let unhealthy = Arc::make_mut(unhealthy);
        if healthy { unhealthy.remove(tunnel) } else { unhealthy.insert(tunnel.clone()) }
    });
}

/// The watch over one local service.
struct Watch {
    state: watch::Sender<Unhealthy>,
    tls: ServiceTls,
    tunnel: TunnelName,
    service: Service,
    healthy: bool,
    /// It has been probed: until then it is only taken for healthy.
    probed: bool,
    /// So many probes in a row have come to the opposite of what counts.
    against: u32,
}

impl Watch {
    fn new(
        state: watch::Sender<Unhealthy>,
        tls: ServiceTls,
        tunnel: TunnelName,
        service: Service,
    ) -> Self {
        Self { state, tls, tunnel, service, healthy: true, probed: false, against: 0 }
    }

    /// Probes as `follow` says, until nobody says anything any more.
    async fn run(mut self, mut follow: watch::Receiver<HealthCheck>) {
        loop {
            let check = follow.borrow_and_update().clone();
            tokio::select! {
                never = self.keep_probing(&check) => match never {},
                changed = follow.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    async fn keep_probing(&mut self, check: &HealthCheck) -> Infallible {
        let mut ticks = interval(check.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let probing = probe(&self.service, &check.probe, &self.tls);
            let failed = match timeout(check.timeout, probing).await {
                Ok(Ok(())) => None,
                Ok(Err(err)) => Some(err.to_string()),
                Err(_) => Some(format!("no answer within {:?}", check.timeout)),
            };
            let failed = failed.map(|reason| match &check.probe {
                Probe::Connect => format!("{}: {reason}", self.service.local),
                url @ (Probe::Http { .. } | Probe::Https { .. }) => format!("{url}: {reason}"),
            });
            self.took(check, failed);
        }
    }

    /// A probe has succeeded, or failed for a reason.
    fn took(&mut self, check: &HealthCheck, failed: Option<String>) {
        let is_first = !std::mem::replace(&mut self.probed, true);
        if failed.is_none() == self.healthy {
            self.against = 0;
            return;
        }
        self.against += 1;
        let needed = if self.healthy { check.failures } else { check.successes };
        if self.against < needed.get() && !is_first {
            return;
        }
        (self.healthy, self.against) = (!self.healthy, 0);
        set(&self.state, &self.tunnel, self.healthy);
        match failed {
            Some(reason) => {
                warn!(tunnel = %self.tunnel, "the local service is not healthy: {reason}")
            }
            None => info!(tunnel = %self.tunnel, "the local service is healthy again"),
        }
    }
}

/// One look at a local service. Only a URL that says so makes it a look through TLS.
async fn probe(service: &Service, probe: &Probe, tls: &ServiceTls) -> io::Result<()> {
    match (probe, &service.local) {
        (Probe::Connect, LocalService::Tcp(address)) => {
            let (host, port) = address.or_host("127.0.0.1");
            say(dial_service(host, port).await?, service.proxy).await
        }
        (Probe::Connect, LocalService::Tls(at, _)) => {
            let (host, port) = at.address();
            dial_service(&host, port).await.map(drop)
        }
        #[cfg(unix)]
        (Probe::Connect, LocalService::Unix(path)) => {
            say(tokio::net::UnixStream::connect(path).await?, service.proxy).await
        }
        #[cfg(not(unix))]
        (Probe::Connect, LocalService::Unix(_)) => Err(io::ErrorKind::Unsupported.into()),
        (Probe::Http { address, path }, _) => {
            let (host, port) = address.or_host("127.0.0.1");
            let mut socket = dial_service(host, port).await?;
            if let Some(header) = service.own_header(address) {
                socket.write_all(&header).await?;
            }
            get(socket, &address.to_string(), path).await
        }
        (Probe::Https { at, path }, local) => {
            let (host, port) = at.address();
            let socket = dial_service(&host, port).await?;
            get(tls.over(socket, at, local.trust()).await?, &at.to_string(), path).await
        }
    }
}

/// Says to a service that expects to be told who visits that nobody does: it might take the end of a
/// connection without a word for a mistake.
async fn say(mut socket: impl AsyncWrite + Unpin, proxy: Option<ProxyVersion>) -> io::Result<()> {
    match proxy {
        Some(proxy) => socket.write_all(&proxy.own_header()).await,
        None => Ok(()),
    }
}

/// Asks for `path` of `host`. Any status from 200 to 399 is a good answer.
async fn get(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> io::Result<()> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let request = Request::builder()
        .uri(path.parse::<Uri>().map_err(io::Error::other)?)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let mut response = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut response => response,
        // It may have brought the answer with it.
        _ = connection => response.await,
    };
    let status = response.map_err(io::Error::other)?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the answer is {status}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::TunnelConfig;

    /// Whether a service counts as healthy after each of these probes, of which `+` are good.
    fn states(probes: &str) -> String {
        let tunnel: TunnelConfig =
            "web=80?check=tcp&check-failures=3&check-successes=2".parse().unwrap();
        let check = tunnel.check.clone().unwrap();
        let health = Health::new();
        let (state, tls) = (health.0.clone(), ServiceTls::default());
        let mut watch = Watch::new(state, tls, tunnel.name.clone(), Service::of(&tunnel));
        let state = |probe| {
            watch.took(&check, (probe == '-').then(|| "refused".to_owned()));
            if health.watch().borrow().contains(&tunnel.name) { '-' } else { '+' }
        };
        probes.chars().map(state).collect()
    }

    #[test]
    fn a_service_changes_its_state_after_enough_probes_in_a_row() {
        assert_eq!(states("+--+---+-++"), "++++++----+");
    }

    #[test]
    fn the_first_probe_decides_alone() {
        assert_eq!(states("-+-++"), "----+");
        assert_eq!(states("+-+"), "+++");
    }
}
