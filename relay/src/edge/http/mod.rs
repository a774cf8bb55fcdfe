//! Requests of HTTP: each is routed by itself, whichever connection it comes by.
//!
//! - `visitor`, `http1`, `http2`, `activity`, `socket`: a visitor's connection
//! - `windows`: how much comes by HTTP/2 before anybody takes it
//! - `given`, `ends`, `turns`, `sent`: answers by HTTP/2 that a visitor does not take
//! - `parting`: the last words of a connection
//! - `proxy`: one request, from the visitor to a local service and back
//! - `host`, `route`: where it goes
//! - `admit`: whether it may
//! - `board`: what is for the relay itself
//! - `options`: what its tunnel's clients say
//! - `heads`: what their heads take up
//! - `head`, `hops`, `forwarded`, `nodes`: what its headers say, and what the local service
//!   sees of it
//! - `leasing`, `upstream`, `running`, `lent`: the connections to local services
//! - `body`, `expect`, `signed`, `shrink`, `upgrade`, `carry`: what moves
//! - `answers`, `accept`: what the relay says itself
//! - `account`: what became of it
//! - `tasks`: who owns what runs beside connections

mod accept;
mod account;
mod activity;
mod admit;
mod answers;
mod board;
mod body;
mod carry;
mod ends;
mod expect;
mod forwarded;
mod given;
mod head;
mod heads;
mod hops;
mod host;
mod http1;
mod http2;
mod leasing;
mod lent;
mod nodes;
mod options;
mod parting;
mod proxy;
mod route;
mod running;
mod sent;
mod shrink;
mod signed;
mod socket;
mod tasks;
mod trailers;
mod turns;
mod upgrade;
mod upstream;
mod visitor;
mod windows;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use shared::carry::tls::Tls;
use shared::kit::serve::serve;
use shared::kit::stop::Stop;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::body::ToVisitor;
use self::shrink::Room;
use self::signed::Unsigned;
use self::tasks::Tasks;
use self::upstream::Upstream;
use super::EdgeShared;
use crate::certs::VisitorCerts;
use crate::limits::{self, Supply};
use crate::metrics::WebVersion;

/// What all visitors of the web have in common.
#[derive(Debug)]
pub(super) struct Http {
    edge: Arc<EdgeShared>,
    certs: VisitorCerts,
    upstream: Upstream,
    /// Each connection of HTTP/1 that does not rest has a copy.
    awake: Arc<()>,
    /// For answers that are compressed.
    room: Room,
    /// For what comes from visitors by HTTP/2.
    windows: Supply,
    /// For the heads of requests.
    heads: Supply,
    /// For bodies that have to be signed.
    unsigned: Unsigned,
    /// What goes on when the connection that began it is over.
    tasks: Tasks,
    /// Fires when no more requests are to come.
    stopping: CancellationToken,
}

/// Serves requests until asked to stop, then lets those that are open finish until asked to stop at
/// once.
pub(super) async fn listen(http: Arc<Http>, listener: TcpListener, stop: Stop) {
    let handle = move |socket, peer| visitor::serve(Arc::clone(&http), socket, peer);
    serve(listener, stop.gracefully, stop.at_once, handle).await;
}

impl Http {
    pub(super) fn new(edge: Arc<EdgeShared>, certs: VisitorCerts, stop: &Stop) -> Self {
        let tasks = Tasks::new(stop.at_once.clone());
        let upstream = Upstream::new(stop.at_once.clone(), edge.metrics.clone());
        Self {
            edge,
            certs,
            upstream,
            awake: Arc::default(),
            room: Room::new(),
            windows: windows::supply(),
            heads: heads::supply(),
            unsigned: Unsigned::new(),
            tasks,
            stopping: stop.gracefully.clone(),
        }
    }

    pub(super) fn edge(&self) -> &EdgeShared {
        &self.edge
    }

    /// Serves a visitor who has come by TLS, for this host if it has named one, and who takes its
    /// `place` among all.
    pub(super) async fn serve_tls(
        self: &Arc<Self>,
        tls: Box<Tls>,
        peer: SocketAddr,
        server_name: Option<Box<str>>,
        protocol: Option<WebVersion>,
        place: limits::Visitor,
    ) {
        visitor::serve_tls(Arc::clone(self), tls, peer, server_name, protocol, place).await;
    }

    /// The answer for an authority that looks whether a host is the relay's (RFC 8555, section 8.3).
    fn challenge(&self, request: &Parts, is_tls: bool) -> Option<Response<ToVisitor>> {
        let token = request.uri.path().strip_prefix("/.well-known/acme-challenge/")?;
        let answer = self.certs.http01(token).filter(|_| !is_tls)?;
        let mut response = Response::new(ToVisitor::Own(Some(answer.into())));
        let octets = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(CONTENT_TYPE, octets);
        Some(response)
    }

    /// Waits until nothing is left of what requests have begun.
    pub(super) async fn finish(&self) {
        self.tasks.finish().await;
        self.upstream.finish().await;
    }

    /// Room for one more connection, from there. `None`: whoever is there gets no answer.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<limits::Visitor> {
        let (limits, config) = (&self.edge.limits, self.edge.config.now());
        let from_balancer = config.trust_proxy.contain(peer.ip());
        if !from_balancer && limits.is_banned(peer) {
            self.edge.metrics.banned_connection();
            return None;
        }
        let strike = || limits.refused(peer, config.ban_rule(peer.ip()));
        if !from_balancer && !config.rules.permit(peer.ip()) {
            strike();
            return None;
        }
        let room = limits.visitor().and_then(|mut place| {
            if !from_balancer {
                limits.comes_from(&mut place, peer)?;
            }
            Ok(place)
        });
        match room {
            Ok(place) => Some(place),
            Err(limit) => {
                self.edge.metrics.limit(limit);
                if limit.is_of_a_source() {
                    strike();
                }
                None
            }
        }
    }
}
