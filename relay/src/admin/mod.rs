//! The admin port: metrics for Prometheus, whether the relay is alive and ready, and what it is
//! doing.
//!
//! It has a thread and a runtime of its own, so that whatever is asked of it, and however slowly
//! the answer is read, delays no visitor.
//!
//! - `thread`: that thread, which lives as long as the relay runs
//! - `routes`: what there is to ask
//! - `api`: what programs are told

mod api;
mod routes;
mod thread;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use shared::kit::serve::serve;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use self::api::{About, Listeners};
use self::thread::on_own_thread;
use crate::impatient::Impatient;
use crate::limits::{Limits, Places};
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// How long a request's header may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may wait for its reader without any of it being taken. Prometheus gives a
/// whole scrape 10 s unless told otherwise.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// So many connections at a time are plenty; they must not use up the descriptors of others.
const MOST_CONNECTIONS: usize = 32;

/// What a connection holds of an answer that is not read, in bytes, beside one piece of a scrape.
const MOST_BUFFERED: usize = 64 * 1024;

/// Takes a look at the relay. Called on the admin port's thread.
pub(crate) type Look = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Whether a connection to the admin port comes from this machine.
#[derive(Clone, Copy, Debug)]
struct OnThisMachine(bool);

/// What the admin port shows.
#[derive(Clone)]
pub(crate) struct Admin {
    router: Router,
    connections: Places,
}

impl Admin {
    /// An admin port that shows `metrics`, what `look` sees and what is known `about` the relay. `stopping` fires when the relay
    /// takes no new visitors any more.
    pub(crate) fn new(
        metrics: Metrics,
        limits: Limits,
        look: Look,
        about: About,
        stopping: CancellationToken,
    ) -> Self {
        let router = routes::router(metrics, limits, look, about, stopping);
        Self { router, connections: Places::new(MOST_CONNECTIONS) }
    }

    /// Answers requests until `stop` fires. Its thread is gone when this returns or is dropped.
    ///
    /// # Errors
    ///
    /// The thread cannot be started, or it panicked.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let listener = listener.into_std().context("cannot move the admin port to its thread")?;
        on_own_thread("admin", stop, async move |stop| {
            let listener =
                TcpListener::from_std(listener).context("cannot move the admin port here")?;
            serve(listener, stop.clone(), stop, |socket, peer| {
                self.clone().connection(socket, peer)
            })
            .await;
            Ok(())
        })
        .await
    }

    fn connection(
        self,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<> {
        let place = self.connections.take(peer);
        let router = self.router.layer(Extension(OnThisMachine(peer.ip().is_loopback())));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MOST_BUFFERED)
            .serve_connection(
                TokioIo::new(Impatient::new(socket, WRITE_TIMEOUT)),
                TowerToHyperService::new(router),
            );
        async move {
            tokio::select! {
                result = connection => if let Err(err) = result {
                    debug!("an admin connection failed: {err}");
                },
                () = place.evicted() => debug!("an admin connection made room for newer ones"),
            }
        }
    }
}
