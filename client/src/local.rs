//! One visit: from the stream that the relay opened to the local service.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::bridge::{Ended, Observer, bridge};
use shared::net::dial_service;
use shared::protocol::TunnelName;
use shared::record::{Failure, FailureReason, Open};
use shared::socket::{ResetOnDrop, Socket};
use shared::stream::{Broken, DataStream};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::config::Config;
use crate::tunnel::LocalService;

/// How long a stream's first record may take. An honest relay sends it with the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Linux's numbers for "too many open files", of the process and of the system.
const OUT_OF_FILES: [i32; 2] = [24, 23];

/// The local services of a client.
#[derive(Debug)]
pub(crate) struct Locals {
    services: HashMap<TunnelName, LocalService>,
    connect_timeout: Duration,
    stall_timeout: Duration,
}

impl Locals {
    pub(crate) fn new(config: &Config) -> Self {
        let services = config.tunnels.iter();
        Self {
            services: services.map(|t| (t.name.clone(), t.local.clone())).collect(),
            connect_timeout: config.connect_timeout,
            stall_timeout: config.stall_timeout,
        }
    }

    /// Serves one stream until it ends.
    pub(crate) async fn visit(self: Arc<Self>, stream: yamux::Stream) {
        let (stream, open) = match timeout(OPEN_TIMEOUT, DataStream::accept(stream)).await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(broken)) => return debug!("a stream without a visit: {broken}"),
            Err(_) => return debug!("a stream without a visit: nothing came"),
        };
        let span = info_span!("visitor", visit = open.visit, addr = %open.visitor);
        async {
            let tunnel = open.tunnel.clone();
            let visit = Visit::begin(open);
            match self.services.get(&tunnel) {
                None => {
                    visit.fail(stream, FailureReason::UnknownTunnel, tunnel.to_string()).await;
                }
                Some(LocalService::Tcp(address)) => {
                    let (host, port) = address.or_host("127.0.0.1");
                    self.serve(visit, stream, dial_service(host, port)).await;
                }
                Some(LocalService::Unix(path)) => {
                    self.serve(visit, stream, UnixStream::connect(path)).await;
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// Connects by `dial` and bridges.
    async fn serve<S: Socket>(
        &self,
        mut visit: Visit,
        mut stream: DataStream,
        dial: impl Future<Output = io::Result<S>>,
    ) {
        let dialled = tokio::select! {
            dialled = timeout(self.connect_timeout, dial) => dialled,
            broken = stream.broken() => return visit.end(Ended::Stream(broken)),
        };
        let socket = match dialled {
            Ok(Ok(socket)) => ResetOnDrop::new(socket),
            Ok(Err(err)) => return visit.fail(stream, reason(&err), err.to_string()).await,
            Err(_) => {
                let explanation = format!("no answer within {:?}", self.connect_timeout);
                return visit.fail(stream, FailureReason::TimedOut, explanation).await;
            }
        };
        if let Err(broken) = stream.connected().await {
            return visit.end(Ended::Stream(broken));
        }
        let ended = bridge(socket, stream, self.stall_timeout, &mut visit).await;
        visit.end(ended);
    }
}

/// Why a local service cannot be reached, for the relay.
fn reason(err: &io::Error) -> FailureReason {
    match err.raw_os_error() {
        Some(code) if OUT_OF_FILES.contains(&code) => FailureReason::Limit,
        _ if err.kind() == io::ErrorKind::TimedOut => FailureReason::TimedOut,
        _ => FailureReason::Refused,
    }
}

/// A visit that is going on. Logged when dropped, so none is forgotten.
#[derive(Debug)]
struct Visit {
    tunnel: TunnelName,
    since: Instant,
    bytes_in: u64,
    bytes_out: u64,
    ended: Option<Ended>,
}

impl Visit {
    fn begin(open: Open) -> Self {
        let visitor: SocketAddr = open.visitor;
        debug!(tunnel = %open.tunnel, %visitor, "visitor arrived");
        Self { tunnel: open.tunnel, since: Instant::now(), bytes_in: 0, bytes_out: 0, ended: None }
    }

    /// There is no connection to the local service: tells the relay.
    async fn fail(self, stream: DataStream, reason: FailureReason, explanation: String) {
        let failure = Failure { reason, explanation };
        warn!(tunnel = %self.tunnel, "{failure}");
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
        let reason = match &self.ended {
            Some(ended) => ended.to_string(),
            None => "cut off with the session".to_owned(),
        };
        info!(
            tunnel = %self.tunnel,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            seconds = self.since.elapsed().as_secs_f64(),
            "visit over: {reason}",
        );
    }
}
