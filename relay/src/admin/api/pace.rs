//! How often the API is asked.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::kit::amounts::Frequency;

use super::caller::Way;
use super::problem::Problem;
use crate::limits::Paces;

/// So often may one source ask: a hundred times a second on average, which a program that looks at
/// everything does not need, and a minute's worth of it at once.
const OFTEN: Frequency =
    Frequency { count: NonZeroU32::new(6000).expect("not zero"), time: Duration::from_secs(60) };

/// How often each source has asked. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Paces>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Arc::new(Paces::new(OFTEN)))
    }
}

/// Goes on with a request that does not come too often.
pub(super) async fn check(State(pace): State<Pace>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Way>().map(|way| way.peer);
    match peer.map_or(Ok(()), |peer| pace.0.allow(peer.into(), Instant::now())) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            Problem::too_many_requests("too many requests come from there", wait).into_response()
        }
    }
}
