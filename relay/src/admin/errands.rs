//! What is asked at the host of the board: it comes by the edge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tracing::error;

use super::api::Way;
use crate::web::{Errand, Errands};

/// So many requests are answered at a time: those who look at the board have one each that does not
/// end.
const MOST_AT_ONCE: usize = 1024;

/// Answers what comes, for as long as it is polled.
pub(super) async fn answer(router: Router, mut errands: Errands) -> Infallible {
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut running = JoinSet::new();
    loop {
        let errand = tokio::select! {
            Some(errand) = errands.next() => errand,
            Some(ended) = running.join_next() => {
                if let Err(err) = ended {
                    error!("what was asked at the board failed: {err}");
                }
                continue;
            }
            else => std::future::pending().await,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            // The visitor may have gone.
            drop(errand.answer.send(StatusCode::SERVICE_UNAVAILABLE.into_response()));
            continue;
        };
        let router = router.clone();
        running.spawn(async move {
            carry_out(router, errand).await;
            drop(place);
        });
    }
}

async fn carry_out(router: Router, errand: Errand) {
    let Errand { mut request, visitor, mut answer } = errand;
    let peer = SocketAddr::new(visitor, 0);
    request.extensions_mut().insert(Way { peer, is_local: false });
    let response = tokio::select! {
        response = router.oneshot(request) => response,
        () = answer.closed() => return,
    };
    match response {
        // The visitor may have gone.
        Ok(response) => drop(answer.send(response)),
        Err(never) => match never {},
    }
}
