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
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::config::Config;
use crate::tunnel::{HealthCheck, LocalService, Probe, TunnelConfig};

/// The tunnels whose local service is not healthy.
pub(crate) type Unhealthy = Arc<HashSet<TunnelName>>;

/// The state of all local services of a client. One that nobody watches counts as healthy, and so
/// does one until it has failed often enough.
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
    pub(crate) async fn look_after(&self, mut config: watch::Receiver<Arc<Config>>) -> Infallible {
        let mut watched: HashMap<TunnelName, (TunnelConfig, JoinSet<()>)> = HashMap::new();
        loop {
            let wanted = Arc::clone(&config.borrow_and_update());
            let wanted: HashMap<_, _> =
                wanted.tunnels.iter().map(|tunnel| (&tunnel.name, tunnel)).collect();
            watched.retain(|name, (current, _)| {
                let stays = wanted.get(name).is_some_and(|tunnel| *tunnel == current);
                if !stays {
                    self.set(name, true);
                }
                stays
            });
            for (name, tunnel) in wanted {
                let Some(check) = &tunnel.check else { continue };
                watched.entry(name.clone()).or_insert_with(|| {
                    let mut task = JoinSet::new();
                    task.spawn(Watch::new(self.0.clone(), tunnel, check).run());
                    (tunnel.clone(), task)
                });
            }
            if config.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn set(&self, tunnel: &TunnelName, healthy: bool) {
        set(&self.0, tunnel, healthy);
    }
}

/// Takes down that a local service is healthy or not. Returns whether that is news.
fn set(state: &watch::Sender<Unhealthy>, tunnel: &TunnelName, healthy: bool) -> bool {
    state.send_if_modified(|unhealthy| {
        if unhealthy.contains(tunnel) != healthy {
            return false;
        }
        let mut changed = HashSet::clone(unhealthy);
        if healthy {
            changed.remove(tunnel)
        } else {
            changed.insert(tunnel.clone())
        };
        *unhealthy = Arc::new(changed);
        true
    })
}

/// The watch over one local service.
struct Watch {
    state: watch::Sender<Unhealthy>,
    tunnel: TunnelName,
    local: LocalService,
    check: HealthCheck,
    /// So many probes in a row have come to the opposite of what counts.
    against: u32,
    healthy: bool,
}

impl Watch {
    fn new(state: watch::Sender<Unhealthy>, tunnel: &TunnelConfig, check: &HealthCheck) -> Self {
        let (name, local) = (tunnel.name.clone(), tunnel.local.clone());
        Self { state, tunnel: name, local, check: check.clone(), against: 0, healthy: true }
    }

    async fn run(mut self) {
        let mut ticks = interval(self.check.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let probed = timeout(self.check.timeout, probe(&self.local, &self.check.probe)).await;
            let failed = match probed {
                Ok(Ok(())) => None,
                Ok(Err(err)) => Some(err.to_string()),
                Err(_) => Some(format!("no answer within {:?}", self.check.timeout)),
            };
            self.took(failed);
        }
    }

    /// A probe has succeeded, or failed for a reason.
    fn took(&mut self, failed: Option<String>) {
        if failed.is_none() == self.healthy {
            self.against = 0;
            return;
        }
        self.against += 1;
        let needed = if self.healthy { self.check.failures } else { self.check.successes };
        if self.against < needed.get() {
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

/// One look at a local service.
async fn probe(local: &LocalService, probe: &Probe) -> io::Result<()> {
    match (probe, local) {
        (Probe::Connect, LocalService::Tcp(address)) => {
            let (host, port) = address.or_host("127.0.0.1");
            dial_service(host, port).await.map(drop)
        }
        #[cfg(unix)]
        (Probe::Connect, LocalService::Unix(path)) => {
            tokio::net::UnixStream::connect(path).await.map(drop)
        }
        #[cfg(not(unix))]
        (Probe::Connect, LocalService::Unix(_)) => Err(io::ErrorKind::Unsupported.into()),
        (Probe::Http { address, path }, _) => get(address, path).await,
    }
}

/// Asks for `path`. Any status from 200 to 399 is a good answer.
async fn get(address: &HostPort, path: &str) -> io::Result<()> {
    let (host, port) = address.or_host("127.0.0.1");
    let socket = dial_service(host, port).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let request = Request::builder()
        .uri(path.parse::<Uri>().map_err(io::Error::other)?)
        .header(HOST, address.to_string())
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

    #[test]
    fn a_service_changes_its_state_after_enough_probes_in_a_row() {
        let tunnel: TunnelConfig =
            "web=80?check=tcp&check-failures=3&check-successes=2".parse().unwrap();
        let health = Health::new();
        let check = tunnel.check.clone().unwrap();
        let mut watch = Watch::new(health.0.clone(), &tunnel, &check);
        let mut states = Vec::new();
        for good in [true, false, false, true, false, false, false, true, false, true, true] {
            watch.took((!good).then(|| "refused".to_owned()));
            states.push(!health.watch().borrow().contains(&tunnel.name));
        }
        let expected = [true, true, true, true, true, true, false, false, false, false, true];
        assert_eq!(states, expected);
    }
}
