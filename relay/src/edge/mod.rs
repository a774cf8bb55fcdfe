//! What visitors reach: a listener for each entrance.

mod admit;
mod http;
mod prefixed;
mod proxied;
mod tcp;
mod tls;
mod turned_away;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use rustls::ServerConfig;
use shared::kit::net::{Peers, listen_on};
use shared::kit::stop::Stop;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::error;

use self::http::Http;
use crate::certs::VisitorCerts;
use crate::config::CurrentConfig;
use crate::entrance::Entrance;
use crate::inspect::Inspector;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::registry::{Opened, Opening, Registry};
use crate::statistics::History;
use crate::web::{AccessLog, Board, ErrorPages};

/// The visitors' half of the relay.
#[derive(Debug)]
pub(crate) struct Edge {
    openings: mpsc::Receiver<Opening>,
    shared: Arc<EdgeShared>,
    http: Arc<Http>,
    inspector: Inspector,
    /// Listeners that wait for their tunnel.
    bound: JoinSet<Option<(Opened, TcpListener)>>,
    listeners: JoinSet<()>,
    /// The address of this machine that tunnels are reached at.
    ip: IpAddr,
    stop: Stop,
}

/// What requests of HTTP need beside what all visitors do.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    /// Where they are written down.
    pub(crate) access_log: AccessLog,
    /// What people see who get no answer.
    pub(crate) error_pages: ErrorPages,
    /// What those see who come by TLS.
    pub(crate) certs: VisitorCerts,
    /// Where what is for the relay itself is answered.
    pub(crate) board: Board,
    /// Where it is kept which there were.
    pub(crate) history: History,
    /// What those keep who look at what comes through their tunnels.
    pub(crate) inspector: Inspector,
}

/// What all listeners have in common.
#[derive(Debug)]
struct EdgeShared {
    config: CurrentConfig,
    registry: Registry,
    limits: Limits,
    metrics: Metrics,
    access_log: AccessLog,
    error_pages: ErrorPages,
    board: Board,
    history: History,
}

impl Edge {
    /// An edge at the address `ip` of this machine, which binds what the registry's openings bring.
    pub(crate) fn new(
        config: CurrentConfig,
        limits: Limits,
        metrics: Metrics,
        (registry, openings): (Registry, mpsc::Receiver<Opening>),
        ip: IpAddr,
        web: Web,
        stop: Stop,
    ) -> Self {
        let Web { access_log, error_pages, certs, board, history, inspector } = web;
        let shared = Arc::new(EdgeShared {
            config,
            registry,
            limits,
            metrics,
            access_log,
            error_pages,
            board,
            history,
        });
        let http = Arc::new(Http::new(Arc::clone(&shared), certs, &stop));
        let (bound, listeners) = (JoinSet::new(), JoinSet::new());
        Self { openings, shared, http, inspector, bound, listeners, ip, stop }
    }

    /// Serves an entrance that was bound before.
    pub(crate) fn serve(&mut self, opened: Opened, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        if let Some(listening) = tcp::listen(shared, opened, listener, self.stop.clone()) {
            self.listeners.spawn(listening);
        }
    }

    /// Serves requests of HTTP at a listener.
    pub(crate) fn serve_http(&mut self, listener: TcpListener) {
        self.listeners.spawn(http::listen(Arc::clone(&self.http), listener, self.stop.clone()));
    }

    /// The same by TLS, as `server` says.
    pub(crate) fn serve_https(&mut self, listener: TcpListener, server: Arc<ServerConfig>) {
        let http = Arc::clone(&self.http);
        self.listeners.spawn(tls::listen(http, server, listener, self.stop.clone()));
    }

    /// Serves visitors until asked to stop, then lets the open visits finish until asked to stop
    /// at once. None is left when it returns.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let stopping = self.stop.gracefully.clone();
        let registry = self.shared.registry.clone();
        let mut dispossessed = pin!(registry.close_dispossessed());
        let error_pages = self.shared.error_pages.clone();
        let mut following_pages = pin!(error_pages.follow());
        let inspector = self.inspector.clone();
        let mut sweeping = pin!(inspector.sweep());
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(ended) = self.listeners.join_next() => report(ended),
                Some(bound) = self.bound.join_next() => match bound {
                    Ok(Some((opened, listener))) => self.serve(opened, listener),
                    Ok(None) => (), // The session has gone.
                    Err(err) => report(Err(err)),
                },
                Some(opening) = self.openings.recv() => self.bind(opening),
                never = registry.close_abandoned() => match never {},
                never = dispossessed.as_mut() => match never {},
                never = &mut following_pages => match never {},
                never = &mut sweeping => match never {},
            }
        }
        // Entrances that nobody has taken up are closed like the others.
        drop((self.openings, self.bound));
        while let Some(ended) = self.listeners.join_next().await {
            report(ended);
        }
        self.http.finish().await;
        Ok(())
    }

    /// Binds an entrance, and serves it when its tunnel is there.
    fn bind(&mut self, opening: Opening) {
        let Opening { entrance, bound, opened } = opening;
        match self.listener(&entrance) {
            Ok((entrance, listener)) => {
                // Unless the session has gone.
                if bound.send(Ok(entrance)).is_ok() {
                    self.bound.spawn(async { Some((opened.await.ok()?, listener)) });
                }
            }
            // A session that has gone does not mind.
            Err(err) => drop(bound.send(Err(err))),
        }
    }

    fn listener(&self, entrance: &Entrance) -> io::Result<(Entrance, TcpListener)> {
        let Entrance::Port(port) = entrance else {
            return Err(io::Error::other("nobody listens at a host"));
        };
        let listener = listen_on(SocketAddr::new(self.ip, *port), Peers::Visitors)?;
        let port = listener.local_addr()?.port();
        Ok((Entrance::Port(port), listener))
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(err) = ended {
        error!("a listener's task failed: {err}");
    }
}
