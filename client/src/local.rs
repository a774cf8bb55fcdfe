//! One visit: from the stream that the relay opened to the local service.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use shared::carry::mux::MuxStream;
use shared::control::protocol::TunnelName;
use shared::kit::logging::Rate;
use shared::kit::net::{dial_service, is_out_of_files};
use shared::visit::bridge::{Bridge, Ended, Observer};
use shared::visit::id::VisitId;
use shared::visit::open::Open;
use shared::visit::patience::Patience;
use shared::visit::record::{Failure, FailureReason};
use shared::visit::socket::ResetUnlessEnded;
use shared::visit::stream::{Broken, DataStream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::tunnel::{LocalService, ProxyVersion, TunnelConfig};

/// How long a stream's first record may take. An honest relay sends it with the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Local services that could not be reached: anybody can have them dialled as often as they like.
static UNREACHABLE: Rate =
    Rate::new(|more| warn!(left_out = more.count, "local services not reached: {more}"));

/// Beginnings of visits that may reach one. Those that are left out are logged later if they do,
/// else counted at their end.
static BEGUN: Rate = Rate::new(|_| ());

/// The ends of visits that never reached one.
static NOT_SERVED: Rate = Rate::new(|more| {
    info!(left_out = more.count, "visits over that were not served: {more}");
});

/// The local services of a client.
#[derive(Debug)]
pub(crate) struct Locals {
    services: RwLock<HashMap<TunnelName, Service>>,
    config: watch::Receiver<Arc<Config>>,
    /// The relay's number for the session.
    session: u64,
}

/// A local service, and how it learns who visits.
#[derive(Clone, Debug)]
struct Service {
    local: LocalService,
    proxy: Option<ProxyVersion>,
}

impl Locals {
    /// No local service yet, for visits of the session of this number.
    pub(crate) fn new(config: watch::Receiver<Arc<Config>>, session: u64) -> Self {
        Self { services: RwLock::default(), config, session }
    }

    /// New visits of `tunnel` go to its local service as it is now.
    pub(crate) fn set(&self, tunnel: &TunnelConfig) {
        let service = Service { local: tunnel.local.clone(), proxy: tunnel.proxy };
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
        let mut visit = Visit::begin(&open, self.session);
        let dialled = tokio::select! {
            dialled = self.dial(&open) => dialled,
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

    /// Connects to the local service of a tunnel, and says to it who visits if it wants to know.
    async fn dial(&self, open: &Open) -> Result<Local, Failure> {
        let connect_timeout = self.config.borrow().connect_timeout;
        let Some(service) = self.services.read().get(&open.tunnel).cloned() else {
            let explanation = open.tunnel.to_string();
            return Err(Failure { reason: FailureReason::UnknownTunnel, explanation });
        };
        let failure = |reason, why: &dyn fmt::Display| {
            Err(Failure { reason, explanation: format!("{}: {why}", service.local) })
        };
        let dialled = async {
            let mut local = dial(&service.local).await?;
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

/// A connection to a local service.
enum Local {
    Tcp(ResetUnlessEnded<TcpStream>),
    #[cfg(unix)]
    Unix(ResetUnlessEnded<UnixStream>),
}

impl Local {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.write_all(bytes).await,
            #[cfg(unix)]
            Self::Unix(socket) => socket.write_all(bytes).await,
        }
    }
}

async fn dial(service: &LocalService) -> io::Result<Local> {
    match service {
        LocalService::Tcp(address) => {
            let (host, port) = address.or_host("127.0.0.1");
            let socket = dial_service(host, port).await?;
            Ok(Local::Tcp(ResetUnlessEnded::new(socket)))
        }
        LocalService::Unix(path) => dial_unix(path).await,
    }
}

#[cfg(unix)]
async fn dial_unix(path: &Path) -> io::Result<Local> {
    UnixStream::connect(path).await.map(|socket| Local::Unix(ResetUnlessEnded::new(socket)))
}

/// Only Unix systems have such sockets.
#[cfg(not(unix))]
async fn dial_unix(_: &Path) -> io::Result<Local> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Why a local service cannot be reached, for the relay.
fn reason(err: &io::Error) -> FailureReason {
    match err.kind() {
        _ if is_out_of_files(err) => FailureReason::Limit,
        io::ErrorKind::TimedOut => FailureReason::TimedOut,
        _ => FailureReason::Refused,
    }
}

/// A visit that is going on. Logged when dropped, so none is forgotten.
struct Visit {
    id: VisitId,
    tunnel: TunnelName,
    visitor: SocketAddr,
    /// The relay's number for the session.
    session: u64,
    since: Instant,
    bytes_in: u64,
    bytes_out: u64,
    /// Its beginning has been logged.
    begun: bool,
    /// The local service was reached.
    served: bool,
    ended: Option<Ended>,
}

impl Visit {
    fn begin(open: &Open, session: u64) -> Self {
        let (id, tunnel, visitor) = (open.visit, open.tunnel.clone(), open.visitor);
        let since = Instant::now();
        let mut visit = Self {
            id,
            tunnel,
            visitor,
            session,
            since,
            bytes_in: 0,
            bytes_out: 0,
            begun: false,
            served: false,
            ended: None,
        };
        if BEGUN.allows() {
            visit.log_begun();
        }
        visit
    }

    fn log_begun(&mut self) {
        self.begun = true;
        let Self { id, tunnel, visitor, .. } = self;
        info!(visit = %id, %tunnel, addr = %visitor, session = self.session, "visitor arrived");
    }

    /// The local service was reached.
    fn served(&mut self) {
        self.served = true;
        if !self.begun {
            self.log_begun();
        }
    }

    /// There is no connection to the local service: tells the relay.
    async fn fail(self, mut stream: DataStream, failure: Failure) {
        if UNREACHABLE.allows() {
            let Self { id, tunnel, .. } = &self;
            warn!(visit = %id, %tunnel, session = self.session, "{failure}");
        }
        let told = stream.failed(failure.clone()).await;
        self.end(Ended::Stream(told.err().unwrap_or(Broken::Failed(failure))));
    }

    fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Observer for Visit {
    fn to_stream(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    fn to_socket(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.served && !NOT_SERVED.allows() {
            return;
        }
        let reason: Cow<'_, str> = match &self.ended {
            Some(ended) => ended.to_string().into(),
            None => "cut off with the session".into(),
        };
        let Self { id, tunnel, visitor, .. } = self;
        info!(
            visit = %id,
            %tunnel,
            addr = %visitor,
            session = self.session,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            seconds = self.since.elapsed().as_secs_f64(),
            "visit over: {reason}",
        );
    }
}
