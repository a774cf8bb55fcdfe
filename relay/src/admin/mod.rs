//! The admin port: metrics for Prometheus, and whether the relay is alive and ready.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::kit::serve::serve;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::limits::Places;
use crate::metrics::Metrics;

/// How long a request's header may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// So many connections at a time are plenty; they must not use up the descriptors of others.
const MOST_CONNECTIONS: usize = 32;

/// What the admin port shows.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    metrics: Metrics,
    stopping: CancellationToken,
    connections: Places,
}

impl Admin {
    /// An admin port that shows `metrics`. `stopping` fires when the relay takes no new visitors
    /// any more.
    pub(crate) fn new(metrics: Metrics, stopping: CancellationToken) -> Self {
        Self { metrics, stopping, connections: Places::new(MOST_CONNECTIONS) }
    }

    /// Answers requests until `stop` fires.
    pub(crate) async fn run(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        serve(listener, stop.clone(), stop, move |socket, peer| {
            self.clone().connection(socket, peer)
        })
        .await;
        Ok(())
    }

    fn connection(self, socket: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send {
        let place = self.connections.take(peer);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = self.respond(request.method(), request.uri().path());
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(socket), service);
        async move {
            tokio::select! {
                result = connection => if let Err(err) = result {
                    debug!("an admin connection failed: {err}");
                },
                () = place.evicted() => debug!("an admin connection made room for newer ones"),
            }
        }
    }

    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n");
        }
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(),
            "/readyz" if self.stopping.is_cancelled() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            }
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.metrics.scrape().map(String::from_iter) {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let format = HeaderValue::from_static(prometheus::TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            Err(err) => {
                error!("the metrics cannot be encoded: {err}");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n")
            }
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let format = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}
