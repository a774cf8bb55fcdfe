//! The way to a local service: a stream to a client is one connection of the service, which serves one
//! request after the other, of whoever comes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::control::protocol::{HttpVersion, TunnelName};
use shared::visit::id::VisitId;
use shared::visit::open::Open;
use shared::visit::record::FailureReason;
use shared::visit::stream::{Broken, DataStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::body::Stopped;
use super::http2::MOST_UNSENT;
use super::lent::Lent;
use super::options;
use super::running::Run;
use super::tasks::Tasks;
use super::windows::Windows;
use crate::limits::{Share, Source};
use crate::metrics::Metrics;
use crate::placement::{Miss, OPEN_TIMEOUT, open_on_client};
use crate::target::{OpenError, OpenStream, Target};
use crate::tunnel::Candidate;
use crate::web::{Connection, Fault, Interim, RequestBody, Turn};

/// How often a connection of HTTP/2 that is in use is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);

/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(10);

/// So often a request waits for a connection that somebody else makes for all, who leaves before it is
/// made, or whose connection leads elsewhere by then. Next it makes one of its own.
const MOST_WAITS: u32 = 4;

/// What hyper holds of a head that is not complete, and of a body that is not taken, in bytes.
const MOST_BUFFERED: usize = 128 * 1024;

/// Makes connections to local services, and uses those that are there.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    tasks: Tasks,
    /// Fires when no more requests are to come.
    closing: CancellationToken,
    metrics: Metrics,
}

/// What a request needs of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// What the client is told of the stream, if there has to be a new one: for whom it is opened, of
    /// which tunnel.
    pub(super) visit: VisitId,
    pub(super) tunnel: &'a TunnelName,
    pub(super) visitor: SocketAddr,
    /// Where the request comes from, as far as is believed. `None`: from anywhere.
    pub(super) source: Option<Source>,
    /// None that was there at that moment.
    pub(super) newer_than: Option<Instant>,
    /// It has to be known that the local service is there before the request is sent.
    pub(super) is_sure: bool,
}

/// A connection, for one request.
#[derive(Debug)]
pub(super) struct Lease {
    /// `None`: it is for the next request.
    connection: Option<Connection>,
    target: Target,
    /// That of the connection.
    era: u64,
    tunnel: TunnelName,
    /// It has served others before.
    pub(super) is_used: bool,
    /// What the request takes of what its source may have of the client's streams. `None`: it shares
    /// one with others, or has no source.
    _share: Option<Share>,
}

/// A lease whose request has been sent, until its answer is over.
#[derive(Debug)]
pub(super) struct Kept(Option<Lease>);

impl Upstream {
    /// Connections that are cut off when `cut` fires.
    pub(super) fn new(cut: CancellationToken, metrics: Metrics) -> Self {
        Self { tasks: Tasks::new(cut), closing: CancellationToken::new(), metrics }
    }

    /// Closes all connections, which nobody uses any more, and waits until none is left.
    pub(super) async fn finish(&self) {
        self.closing.cancel();
        self.tasks.finish().await;
    }

    /// A connection to the local service of a client.
    pub(super) async fn lease(
        &self,
        candidate: &Candidate,
        wanted: Wanted<'_>,
    ) -> Result<Lease, Miss<Fault>> {
        let version = version(candidate);
        if let Some(lease) = waiting(&candidate.sessions, version, wanted) {
            return Ok(lease);
        }
        // Boxed: most requests find a connection, and carry no room for this.
        match version {
            HttpVersion::Http1 => Box::pin(self.lease_new(candidate, wanted)).await,
            HttpVersion::Http2 => Box::pin(self.lease_shared(candidate, wanted)).await,
        }
    }

    /// One that serves all who come at once: the first one makes it, and the others wait for that.
    /// They do not wait for longer than it takes to make one.
    async fn lease_shared(
        &self,
        candidate: &Candidate,
        wanted: Wanted<'_>,
    ) -> Result<Lease, Miss<Fault>> {
        let Some(session) = candidate.sessions.first() else { return Err(Miss::Gone) };
        // Many depend on it.
        let wanted = Wanted { is_sure: true, ..wanted };
        let tunnel = wanted.tunnel;
        let found = || waiting(&candidate.sessions, HttpVersion::Http2, wanted);
        for _ in 0..MOST_WAITS {
            let waiter = match session.pool().connecting().turn(tunnel) {
                Turn::Own(maker) => {
                    // Somebody else may have made it in this moment.
                    let lease = match found() {
                        Some(lease) => Ok(lease),
                        None => self.lease_new(candidate, wanted).await,
                    };
                    maker.tell(match &lease {
                        Ok(_) => Ok(()),
                        Err(Miss::Gone) => Err(None),
                        Err(Miss::Elsewhere(fault) | Miss::Nowhere(fault)) => Err(Some(*fault)),
                    });
                    return lease;
                }
                Turn::Others(waiter) => waiter,
            };
            match waiter.made().await {
                Some(Ok(())) => {
                    if let Some(mut lease) = found() {
                        lease.is_used = false;
                        return Ok(lease);
                    }
                }
                Some(Err(Some(fault))) => return Err(Miss::Elsewhere(fault)),
                Some(Err(None)) => return Err(Miss::Gone),
                // Whoever connected has left.
                None => (),
            }
        }
        self.lease_new(candidate, wanted).await
    }

    /// A new one.
    async fn lease_new(
        &self,
        candidate: &Candidate,
        wanted: Wanted<'_>,
    ) -> Result<Lease, Miss<Fault>> {
        let mut open = Open::new(wanted.visit, wanted.tunnel.clone(), wanted.visitor);
        open.pooled = true;
        let version = version(candidate);
        let opened = open_on_client(&candidate.sessions, &open, wanted.counted(version)).await;
        let (OpenStream { mut stream, permit, share, era }, target) =
            opened.map_err(|err| match err {
                OpenError::Gone => Miss::Gone,
                OpenError::FullForSource => Miss::Elsewhere(Fault::TooManyAtOnce),
                OpenError::Full | OpenError::Unresponsive => Miss::Elsewhere(Fault::ClientBusy),
            })?;
        if wanted.is_sure {
            connected(&mut stream).await.map_err(|broken| match broken {
                Broken::Lost => Miss::Gone,
                broken => Miss::Elsewhere(of_stream(&broken)),
            })?;
        }
        let connection =
            self.connect(stream, permit, (target, era), (version, wanted.tunnel)).await;
        let connection = connection.map_err(|err| Miss::Elsewhere(of_error(&err)))?;
        Ok(Lease::new(connection, (target, era), wanted.tunnel, false, share))
    }

    /// A connection over a new stream, which a task of its own runs.
    async fn connect(
        &self,
        stream: DataStream,
        permit: OwnedSemaphorePermit,
        (target, era): (&Target, u64),
        (version, tunnel): (HttpVersion, &TunnelName),
    ) -> hyper::Result<Connection> {
        let (lent, lender) = Lent::new(stream);
        let mut run = Run {
            lender,
            permit,
            target: target.clone(),
            tunnel: tunnel.clone(),
            closing: self.closing.clone(),
            cut: CancellationToken::new(),
            windows: None,
        };
        match version {
            HttpVersion::Http1 => {
                let head = Arc::default();
                let io = TokioIo::new(Interim::http1(lent, Arc::clone(&head)));
                let (sender, connection) =
                    http1::Builder::new().max_buf_size(MOST_BUFFERED).handshake(io).await?;
                let connected = Connection::Http1(sender, run.cut.clone(), head);
                self.tasks.spawn(run.until_over(connection.with_upgrades()));
                Ok(connected)
            }
            HttpVersion::Http2 => {
                let io = TokioIo::new(Interim::http2(lent));
                let windows = Windows::of_service(target.pool().windows(), &self.metrics);
                let (sender, connection) = http2::Builder::new(self.tasks.clone())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(PING)
                    .keep_alive_timeout(PONG)
                    .initial_stream_window_size(windows.stream)
                    .initial_connection_window_size(windows.connection)
                    .max_header_list_size(MOST_BUFFERED as u32)
                    .max_send_buf_size(MOST_UNSENT)
                    .handshake(io)
                    .await?;
                run.windows = Some(windows);
                let kept = Connection::Http2(sender.clone());
                run.target.pool().put(&run.tunnel, era, kept);
                self.tasks.spawn(run.until_over(connection));
                Ok(Connection::Http2(sender))
            }
        }
    }
}

/// What the local service behind a client speaks.
fn version(candidate: &Candidate) -> HttpVersion {
    options::version(candidate.conditions().map(|conditions| &**conditions))
}

/// A connection that waits, of the least busy session that has one and room for the request.
fn waiting(sessions: &[Target], version: HttpVersion, wanted: Wanted<'_>) -> Option<Lease> {
    let of = |session: &Target| {
        let share = wanted.counted(version).map(|source| session.share(source));
        let share = share.transpose().ok()?;
        let (connection, era) = session.pool().take(wanted.tunnel, wanted.newer_than)?;
        Some(Lease::new(connection, (session, era), wanted.tunnel, true, share))
    };
    if let [session] = sessions {
        return of(session);
    }
    let mut sessions: Vec<_> = sessions.iter().collect();
    sessions.sort_by_cached_key(|session| session.load());
    sessions.into_iter().find_map(of)
}

/// Waits until the local service has taken the connection.
async fn connected(stream: &mut DataStream) -> Result<(), Broken> {
    // The client has its own limit for this, and tells when it is over. This is for one that does not.
    let patience = 4 * OPEN_TIMEOUT;
    timeout(patience, stream.wait_connected()).await.unwrap_or(Err(Broken::Lost))
}

impl Wanted<'_> {
    /// Where the request is counted among those that have a stream of the client to themselves, if
    /// they do.
    fn counted(&self, version: HttpVersion) -> Option<Source> {
        self.source.filter(|_| version == HttpVersion::Http1)
    }
}

impl Lease {
    fn new(
        connection: Connection,
        (target, era): (&Target, u64),
        tunnel: &TunnelName,
        is_used: bool,
        share: Option<Share>,
    ) -> Self {
        target.pool().count(true);
        Self {
            connection: Some(connection),
            target: target.clone(),
            era,
            tunnel: tunnel.clone(),
            is_used,
            _share: share,
        }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// What went wrong, with the request if nothing of it was sent.
    pub(super) async fn send(
        mut self,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Kept), TrySendError<Request<RequestBody>>> {
        let answer = match &mut self.connection {
            Some(Connection::Http1(sender, cut, head)) => {
                head.begins();
                let mut answer = std::pin::pin!(sender.try_send_request(request));
                // Behind it, and so dropped before it: the connection is cut off before hyper ends it.
                let cut = cut.clone().drop_guard();
                let answer = answer.as_mut().await;
                head.is_here();
                cut.disarm();
                answer
            }
            Some(Connection::Http2(sender)) => sender.try_send_request(request).await,
            None => unreachable!("it is given back after the answer"),
        };
        Ok((answer?, Kept(Some(self))))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.target.pool().count(false);
        if let Some(connection) = self.connection.take() {
            connection.abandon();
        }
    }
}

impl Kept {
    /// The number of the session that its connection leads by.
    pub(super) fn session(&self) -> Option<u64> {
        Some(self.0.as_ref()?.target.session())
    }

    /// The whole answer has come: the connection is for the next request.
    pub(super) fn give_back(&mut self) {
        let Some(mut lease) = self.0.take() else { return };
        if let Some(connection) = lease.connection.take().and_then(Connection::again) {
            lease.target.pool().put(&lease.tunnel, lease.era, connection);
        }
    }
}

/// What a request that was not answered says to its visitor.
pub(super) fn of_error(err: &hyper::Error) -> Fault {
    match broken(err) {
        Some(broken) => of_stream(broken),
        None => Fault::LocalBroken,
    }
}

/// Whether the way to the local service is gone, rather than the service.
pub(super) fn is_lost(err: &hyper::Error) -> bool {
    matches!(broken(err), Some(Broken::Lost))
}

/// Whether the client has not reached the service: nothing of the request has.
pub(super) fn is_refused(err: &hyper::Error) -> bool {
    matches!(broken(err), Some(Broken::Failed(_)))
}

fn of_stream(broken: &Broken) -> Fault {
    match broken {
        Broken::Failed(failure) => match failure.reason {
            FailureReason::Refused | FailureReason::UnknownTunnel => Fault::LocalRefused,
            FailureReason::TimedOut => Fault::LocalTimeout,
            FailureReason::Limit => Fault::ClientBusy,
        },
        Broken::Lost => Fault::NoClient,
        _ => Fault::LocalBroken,
    }
}

/// Why the stream below broke off, if it did.
fn broken(err: &hyper::Error) -> Option<&Broken> {
    let mut source = std::error::Error::source(err);
    while let Some(err) = source {
        if let Some(err) = err.downcast_ref::<io::Error>() {
            return err.get_ref()?.downcast_ref();
        }
        source = err.source();
    }
    None
}

/// What an error of hyper says to the visitor.
pub(super) fn fault_of(err: &hyper::Error) -> Fault {
    let mut source = std::error::Error::source(err);
    while let Some(err) = source {
        match err.downcast_ref::<Stopped>() {
            Some(Stopped::TooLarge) => return Fault::BodyTooLarge,
            Some(Stopped::OverLimit) => return Fault::OverLimit,
            None => source = err.source(),
        }
    }
    of_error(err)
}
