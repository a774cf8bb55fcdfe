//! `/tunnels/{tunnel}/captures`: raw visits.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::theirs;
use super::view::{CaptureLine, CaptureWhole};
use crate::admin::api::Api;
use crate::admin::api::caller::Caller;
use crate::admin::api::page::{Page, PageQuery, Paging, number};
use crate::admin::api::problem::{Problem, Problems};
use crate::inspect::Capture;

/// One that is the caller's.
pub(super) fn find(
    api: &Api,
    caller: &Caller,
    (tunnel, capture): &(String, String),
) -> Result<Arc<Capture>, Problem> {
    let (_, whose) = theirs(api, caller, tunnel)?;
    let number = capture.parse().ok();
    let found = number.and_then(|number| api.inspector.capture(&whose, number));
    found.ok_or_else(not_there)
}

/// It is not there, or not any more.
pub(super) fn not_there() -> Problem {
    Problem::not_found("capture")
}

/// The raw visits of a tunnel that are kept, the last one first.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/captures", tag = "inspector", operation_id = "list_captures",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        PageQuery,
    ),
    responses((status = 200, body = Page<CaptureLine>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(tunnel): Path<String>,
    paging: Paging,
) -> Result<Json<Page<CaptureLine>>, Problem> {
    let (_, whose) = theirs(&api, &caller, &tunnel)?;
    let kept = api.inspector.captures(&whose);
    let lines = kept
        .iter()
        .filter_map(|capture| capture.look(|captured| CaptureLine::of(capture, captured)));
    Ok(Json(paging.of(lines, |line| number(u64::MAX - line.id))))
}

/// One raw visit.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/captures/{capture}", tag = "inspector",
    operation_id = "get_capture",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        ("capture" = u64, Path, description = "Its id."),
    ),
    responses((status = 200, body = CaptureWhole), Problems)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Json<CaptureWhole>, Problem> {
    let capture = find(&api, &caller, &wanted)?;
    capture.look(|captured| Json(CaptureWhole::of(&capture, captured))).ok_or_else(not_there)
}
