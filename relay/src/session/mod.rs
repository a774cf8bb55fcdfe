//! The port that clients dial: accept, handshake, and the life of each session.

mod changes;
mod door;
mod handshake;
mod identity;
mod live;
mod talk;
mod tls;

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use shared::carry::Role;
use shared::carry::mux::Running;
use shared::control::protocol::MAX_STREAMS;
use shared::kit::logging::Rate;
use shared::kit::serve::serve;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span};

use crate::access::Access;
use crate::config::CurrentConfig;
use crate::limits::Limits;
use crate::metrics::{Handshake, Metrics};
use crate::registry::Registry;

use self::door::TlsBegun;
use self::handshake::Admission;

pub(crate) use self::tls::{ControlTls, check_files};

/// Sessions that begin and end.
static SESSIONS: Rate = Rate::generous(|more| {
    info!(left_out = more.count, "clients came and went: {more}");
});

/// The clients' half of the relay. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sessions(Arc<SessionsShared>);

/// What all sessions have in common.
#[derive(Debug)]
struct SessionsShared {
    config: CurrentConfig,
    tls: ControlTls,
    access: Access,
    registry: Registry,
    limits: Limits,
    metrics: Metrics,
    /// Fires when the relay stops: no new clients, and those that are here are told.
    stopping: CancellationToken,
    /// Fires when the last visit is over: sessions end.
    ending: CancellationToken,
}

/// The steps in which sessions end.
#[derive(Clone, Debug)]
pub(crate) struct Phases {
    /// Fires when the relay stops.
    pub(crate) stopping: CancellationToken,
    /// Fires when the last visit is over.
    pub(crate) ending: CancellationToken,
}

impl Sessions {
    /// Sessions of those whom `access` lets in, by `tls` or without, which claim tunnels in `registry`. They are told to
    /// drain and ended in `phases`.
    pub(crate) fn new(
        config: CurrentConfig,
        tls: ControlTls,
        access: Access,
        registry: Registry,
        limits: Limits,
        metrics: Metrics,
        phases: Phases,
    ) -> Self {
        let Phases { stopping, ending } = phases;
        let shared =
            SessionsShared { config, tls, access, registry, limits, metrics, stopping, ending };
        Self(Arc::new(shared))
    }

    /// Serves clients. After a request to stop no new ones are accepted; it returns when all have
    /// ended, or cuts them when `cut` fires.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        cut: CancellationToken,
    ) -> anyhow::Result<()> {
        let stop = self.0.stopping.clone();
        let tls = self.0.tls.clone();
        tls.announce(listener.local_addr()?);
        let serving =
            serve(listener, stop, cut, |socket, addr| self.clone().connection(socket, addr));
        tokio::select! {
            () = serving => Ok(()),
            never = tls.follow() => match never {},
        }
    }

    fn connection(
        self,
        socket: TcpStream,
        addr: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<> {
        if self.0.limits.is_banned(addr) {
            self.0.metrics.banned_connection();
            return Either::Left(ready(()));
        }
        if !self.0.limits.may_try(addr) {
            self.0.metrics.handshake(Handshake::Penalised);
            return Either::Left(ready(()));
        }
        // Taken here, so that the order is that of arrival.
        let place = self.0.limits.handshake(addr);
        let span = info_span!("session", client = %addr, id = tracing::field::Empty);
        let session = async move {
            debug!("connected to the control port");
            let tls_begun = TlsBegun::default();
            let (tls, metrics) = (self.0.tls.clone(), self.0.metrics.clone());
            let carrier = door::open(socket, tls, metrics, tls_begun.clone());
            let running = Running::start(carrier, Role::Relay, MAX_STREAMS as usize);
            let mux = running.mux.clone();
            // Apart, so that a session does not keep the memory of its handshake.
            let admission = Box::pin(self.0.admit(running, addr, place, tls_begun)).await;
            match admission {
                Admission::Admitted(mut live) => live.run(&self.0).await,
                Admission::Turned => (),
            }
            if let Some(breach) = mux.link().breach().filter(|breach| !breach.is_normal_end()) {
                self.0.metrics.breach(&breach);
                self.0.refused(addr);
            }
        };
        Either::Right(session.instrument(span))
    }
}

impl SessionsShared {
    /// Somebody at `addr` was no client, or not one that plays by the rules.
    fn refused(&self, addr: SocketAddr) {
        self.limits.refused(addr, self.config.now().ban_rule(addr.ip()));
    }
}
