//! Requests for the relay itself at a host name of the edge: they are answered elsewhere, and go there
//! by this way.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use hyper::{Request, Response};
use shared::control::protocol::DomainName;
use tokio::sync::{mpsc, oneshot};

use super::Fault;

/// So many requests wait for whoever answers them. It does so one by one, and none takes long to be
/// taken up.
const MOST_WAITING: usize = 64;

/// The edge's end of the way. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Board(Option<Arc<Way>>);

#[derive(Debug)]
struct Way {
    host: DomainName,
    errands: mpsc::Sender<Errand>,
}

/// The other end: what is to be answered.
#[derive(Debug)]
pub(crate) struct Errands(mpsc::Receiver<Errand>);

/// A request that is to be answered.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) request: Request<Body>,
    /// Where it comes from.
    pub(crate) visitor: IpAddr,
    /// Closed if the visitor does not wait any more.
    pub(crate) answer: oneshot::Sender<Response<Body>>,
}

impl Board {
    /// The way to the board at this host, if there is one.
    pub(crate) fn at(host: Option<DomainName>) -> (Self, Errands) {
        let (errands, receiver) = mpsc::channel(MOST_WAITING);
        let way = host.map(|host| Arc::new(Way { host, errands }));
        (Self(way), Errands(receiver))
    }

    /// Whether a host, in lower case, is the board's.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        self.0.as_ref().is_some_and(|way| way.host.as_str() == host)
    }

    /// The answer to a request.
    ///
    /// # Errors
    ///
    /// Too many wait, or nobody answers any more.
    ///
    /// # Cancel safety
    ///
    /// Whoever answers is told that nobody waits.
    pub(crate) async fn ask(
        &self,
        request: Request<Body>,
        visitor: IpAddr,
    ) -> Result<Response<Body>, Fault> {
        let way = self.0.as_ref().ok_or(Fault::UnknownTunnel)?;
        let (answer, answered) = oneshot::channel();
        let errand = Errand { request, visitor, answer };
        way.errands.try_send(errand).map_err(|_| Fault::TooManyAtOnce)?;
        answered.await.map_err(|_| Fault::Stopping)
    }
}

impl Errands {
    /// The next one. `None`: none comes any more, or there is no board.
    pub(crate) async fn next(&mut self) -> Option<Errand> {
        self.0.recv().await
    }
}
