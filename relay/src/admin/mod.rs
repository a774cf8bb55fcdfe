//! The admin port: metrics for Prometheus, whether the relay is alive and ready, and what it is
//! doing.
//!
//! It has a thread and a runtime of its own, so that whatever is asked of it, and however slowly
//! the answer is read, delays no visitor.
//!
//! - `thread`: that thread, which lives as long as the relay runs
//! - `routes`: what there is to ask without saying who asks
//! - `summary`: what is told of the relay and its tunnels at a glance
//! - [`api`]: everything that can be seen and steered, for those whose it is
//! - `docs`: its document for people to read
//! - `board`: the same as pages
//! - `hosts`: by which names the port is asked
//! - `live`: what happens, for those who watch
//! - `errands`: what is asked at the host of the board

mod api;
mod board;
mod docs;
mod errands;
mod hosts;
mod live;
mod routes;
mod summary;
mod thread;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use shared::kit::serve::serve;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use self::api::{Parties, openapi};
pub(crate) use self::summary::{About, Listeners};

use self::api::{Api, Way};
use self::board::Board;
use self::hosts::Hosts;
use self::live::Live;
use self::thread::on_own_thread;
use crate::impatient::Impatient;
use crate::limits::Places;
use crate::registry::Registry;
use crate::web::Errands;

/// How long a request's header may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may wait for its reader without any of it being taken. Prometheus gives a
/// whole scrape 10 s unless told otherwise.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// So many connections at a time are plenty: a hundred people who look at the board have two each.
const MOST_CONNECTIONS: usize = 256;

/// They must not use up the descriptors of others.
fn most_connections(descriptors: u64) -> usize {
    let part = usize::try_from(descriptors / 32).unwrap_or(usize::MAX);
    part.clamp(32, MOST_CONNECTIONS)
}

/// What a connection holds of an answer that is not read, in bytes, beside one piece of a scrape.
const MOST_BUFFERED: usize = 64 * 1024;

/// What the admin port shows.
#[derive(Clone)]
pub(crate) struct Admin {
    /// What is answered at the port.
    router: Router,
    /// What is answered at the host of the board.
    board: Router,
    live: Live,
    registry: Registry,
    connections: Places,
}

impl Admin {
    /// An admin port that shows, and lets be steered, what these parties have.
    pub(crate) fn new(parties: Parties) -> Self {
        let hosts = Hosts::of(parties.about.config.clone());
        let live = Live::new(parties.stopping.clone());
        let registry = parties.registry.clone();
        let connections = Places::new(most_connections(parties.about.config.now().descriptors));
        let api = Api::new(parties, live.clone());
        let board = Router::new()
            .nest("/api/v1", api.clone().router())
            .merge(docs::router())
            .merge(Board::new().router());
        let router = routes::router(api)
            .merge(board.clone())
            .layer(middleware::from_fn_with_state(hosts, hosts::check));
        Self { router, board, live, registry, connections }
    }

    /// Answers requests until `stop` fires. Its thread is gone when this returns or is dropped.
    ///
    /// # Errors
    ///
    /// The thread cannot be started, or it panicked.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        errands: Errands,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let listener = listener.into_std().context("cannot move the admin port to its thread")?;
        on_own_thread("admin", stop, async move |stop| {
            let listener =
                TcpListener::from_std(listener).context("cannot move the admin port here")?;
            let mut board = pin!(errands::answer(self.board.clone(), errands));
            let port = serve(listener, stop.clone(), stop, |socket, peer| {
                self.clone().connection(socket, peer)
            });
            tokio::select! {
                () = port => (),
                never = &mut board => match never {},
                never = self.live.watch(&self.registry) => match never {},
            }
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
        let is_local = peer.ip().to_canonical().is_loopback();
        let way = Way { peer, is_local };
        let router = self.router.layer(Extension(way));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MOST_BUFFERED)
            .serve_connection(
                TokioIo::new(Impatient::new(socket, WRITE_TIMEOUT)),
                TowerToHyperService::new(router),
            )
            .with_upgrades();
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
