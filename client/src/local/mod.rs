//! One visit: from the stream that the relay opened to the local service.

mod dial;
mod secured;
mod visit;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use shared::carry::mux::MuxStream;
use shared::control::protocol::TunnelName;
use shared::visit::bridge::{Bridge, Ended};
use shared::visit::open::Open;
use shared::visit::patience::Patience;
use shared::visit::record::{Failure, FailureReason};
use shared::visit::stream::DataStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use crate::config::Config;
use crate::tally::{OfTunnel, Tally};
use crate::tls::ServiceTls;
use crate::tunnel::{LocalService, ProxyVersion, TunnelConfig};

use self::dial::{Local, dial, reason};
use self::visit::Visit;

/// How long a stream's first record may take. An honest relay sends it with the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The local services of a client.
#[derive(Debug)]
pub(crate) struct Locals {
    services: RwLock<HashMap<TunnelName, Service>>,
    config: watch::Receiver<Arc<Config>>,
    tls: ServiceTls,
    tally: Tally,
    /// The relay's number for the session.
    session: u64,
}

/// A local service, and how it learns who visits.
#[derive(Clone, Debug)]
struct Service {
    local: LocalService,
    proxy: Option<ProxyVersion>,
    numbers: Arc<OfTunnel>,
}

impl Locals {
    /// No local service yet, for visits of the session of this number.
    pub(crate) fn new(
        config: watch::Receiver<Arc<Config>>,
        tls: ServiceTls,
        tally: Tally,
        session: u64,
    ) -> Self {
        Self { services: RwLock::default(), config, tls, tally, session }
    }

    /// New visits of `tunnel` go to its local service as it is now.
    pub(crate) fn set(&self, tunnel: &TunnelConfig) {
        let numbers = self.tally.of(&tunnel.name);
        let service = Service { local: tunnel.local.clone(), proxy: tunnel.proxy(), numbers };
        self.services.write().insert(tunnel.name.clone(), service);
    }

    /// No more visits of the tunnel come.
    pub(crate) fn remove(&self, tunnel: &TunnelName) {
        self.services.write().remove(tunnel);
    }

    /// Serves one stream until it ends.
    pub(crate) fn visit(
        self: Arc<Self>,
        stream: MuxStream,
    ) -> impl Future<Output = ()> + Send + use<> {
        let patience = {
            let config = self.config.borrow();
            Patience { stall: config.stall_timeout, half_closed: config.half_closed_timeout }
        };
        // Boxed: thousands of visits wait in a bridge, and what it took to get there is over.
        let connected = Box::pin(self.connect(stream));
        async move {
            let Some(Connected { mut visit, stream, local }) = connected.await else { return };
            let ended = match local {
                Local::Tcp(socket) => Bridge::new(socket, stream, patience, &mut visit).await,
                #[cfg(unix)]
                Local::Unix(socket) => Bridge::new(socket, stream, patience, &mut visit).await,
                Local::Tls(socket) => Bridge::new(socket, stream, patience, &mut visit).await,
            };
            visit.end(ended);
        }
    }

    /// From a stream to a local service, if there is a way.
    async fn connect(self: Arc<Self>, stream: MuxStream) -> Option<Connected> {
        let (mut stream, open) = match timeout(OPEN_TIMEOUT, DataStream::accept(stream)).await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(broken)) => {
                debug!("a stream without a visit: {broken}");
                return None;
            }
            Err(_) => {
                debug!("a stream without a visit: nothing came");
                return None;
            }
        };
        let service = self.services.read().get(&open.tunnel).cloned();
        let counted = service.as_ref().map(|service| service.numbers.begin(open.pooled));
        let mut visit = Visit::begin(&open, self.session, counted);
        let dialled = tokio::select! {
            dialled = self.dial(service, &open) => dialled,
            broken = stream.broken() => {
                visit.end(Ended::Stream(broken));
                return None;
            }
        };
        let local = match dialled {
            Ok(local) => local,
            Err(failure) => {
                visit.fail(stream, failure).await;
                return None;
            }
        };
        visit.served();
        if let Err(broken) = stream.connected().await {
            visit.end(Ended::Stream(broken));
            return None;
        }
        Some(Connected { visit, stream, local })
    }

    /// Connects to the local service of a tunnel, if there is one, and says to it who visits if it wants to know.
    async fn dial(&self, service: Option<Service>, open: &Open) -> Result<Local, Failure> {
        let connect_timeout = self.config.borrow().connect_timeout;
        let Some(service) = service else {
            let explanation = open.tunnel.to_string();
            return Err(Failure { reason: FailureReason::UnknownTunnel, explanation });
        };
        let failure = |reason, why: &dyn fmt::Display| {
            Err(Failure { reason, explanation: format!("{}: {why}", service.local) })
        };
        let dialled = async {
            let mut local = dial(&service.local, &self.tls).await?;
            if let Some(proxy) = service.proxy {
                local.write_all(&proxy.header(open)).await?;
            }
            Ok(local)
        };
        match timeout(connect_timeout, dialled).await {
            Ok(Ok(local)) => Ok(local),
            Ok(Err(err)) => failure(reason(&err), &err),
            Err(_) => {
                let why = format!("no answer within {connect_timeout:?}");
                failure(FailureReason::TimedOut, &why)
            }
        }
    }
}

/// A visit that has reached its local service.
struct Connected {
    visit: Visit,
    stream: DataStream,
    local: Local,
}
