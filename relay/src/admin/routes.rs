//! What the admin port answers without asking who asks.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use hyper::body::Frame;
use serde::Serialize;
use tracing::{error, info};

use super::api::{Api, Way};
use super::summary::{Health, Tunnels};
use crate::metrics::Scrape;

/// What is said to those who ask for something else.
pub(super) const HINT: &str = "try /metrics, /healthz, /readyz, /api/health, /api/tunnels, /api/v1/…, \
    /snapshot or /bans, or / with a browser\n";

/// All routes. What changes something is only for those on this machine.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(ready))
        .route("/api/health", get(health))
        .route("/api/tunnels", get(tunnels))
        .route("/snapshot", get(snapshot))
        .route("/bans", get(bans))
        .route(
            "/bans/{ip}",
            delete(lift_ban).fallback((StatusCode::METHOD_NOT_ALLOWED, "only DELETE\n")),
        )
        .fallback((StatusCode::NOT_FOUND, HINT))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
        })
        .with_state(api)
}

async fn scrape(State(api): State<Api>) -> Response {
    match api.metrics.scrape() {
        Ok(scrape) => {
            let format = [(CONTENT_TYPE, prometheus::TEXT_FORMAT)];
            (format, Body::new(Pieces(scrape))).into_response()
        }
        Err(err) => failed("the metrics cannot be encoded", &err),
    }
}

async fn ready(State(api): State<Api>) -> (StatusCode, &'static str) {
    if api.stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn health(State(api): State<Api>) -> Response {
    let health = Health::of(&api.about, &api.metrics, api.stopping.is_cancelled());
    json("the health", &health)
}

async fn tunnels(State(api): State<Api>) -> Response {
    json("the tunnels", &Tunnels::of(api.registry.snapshot().tunnels))
}

async fn snapshot(State(api): State<Api>) -> Response {
    json("the snapshot", &api.registry.snapshot())
}

async fn bans(State(api): State<Api>) -> Response {
    json("the bans", &api.limits.bans())
}

async fn lift_ban(
    State(api): State<Api>,
    Extension(way): Extension<Way>,
    Path(ip): Path<String>,
) -> (StatusCode, String) {
    if !way.is_local {
        return (StatusCode::FORBIDDEN, "bans are lifted on the relay's own machine\n".into());
    }
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return (StatusCode::BAD_REQUEST, "that is no IP address\n".into());
    };
    if api.limits.lift_ban(ip) {
        info!("the ban of {ip} is lifted");
        (StatusCode::OK, format!("the ban of {ip} is lifted\n"))
    } else {
        (StatusCode::NOT_FOUND, format!("{ip} is not banned\n"))
    }
}

fn json(what: &str, answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(err) => failed(&format!("{what} cannot be encoded"), &err),
    }
}

fn failed(what: &str, err: &dyn std::error::Error) -> Response {
    error!("{what}: {err}");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{what}\n")).into_response()
}

/// A scrape as a body: each piece is made when the one before is on its way.
struct Pieces(Scrape);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece.into()))))
    }
}
