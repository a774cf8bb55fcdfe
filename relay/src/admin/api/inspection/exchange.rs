//! `/tunnels/{tunnel}/exchanges/{exchange}`: one request and its answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;

use super::view::ExchangeWhole;
use super::{raw, theirs};
use crate::admin::api::Api;
use crate::admin::api::caller::Caller;
use crate::admin::api::problem::{Problem, Problems};
use crate::inspect::{Exchange, Record};

/// One that is the caller's.
pub(super) fn find(
    api: &Api,
    caller: &Caller,
    (tunnel, exchange): &(String, String),
) -> Result<Arc<Exchange>, Problem> {
    let (_, whose) = theirs(api, caller, tunnel)?;
    let number = exchange.parse().ok();
    let found = number.and_then(|number| api.inspector.exchange(&whose, number));
    found.ok_or_else(not_there)
}

/// It is not there, or not any more.
pub(super) fn not_there() -> Problem {
    Problem::not_found("exchange")
}

/// One exchange.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/exchanges/{exchange}", tag = "inspector",
    operation_id = "get_exchange",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        ("exchange" = u64, Path, description = "Its id."),
    ),
    responses((status = 200, body = ExchangeWhole), Problems)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Json<ExchangeWhole>, Problem> {
    let exchange = find(&api, &caller, &wanted)?;
    exchange.look(|record| Json(ExchangeWhole::of(&exchange, record))).ok_or_else(not_there)
}

/// What is kept of the body of a request, as a file.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/exchanges/{exchange}/request-body", tag = "inspector",
    operation_id = "get_request_body",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        ("exchange" = u64, Path, description = "Its id."),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems
    )
)]
pub(super) async fn request_body(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Response, Problem> {
    body(&api, &caller, &wanted, "request", |record| Some(record.request_body.kept.clone()))
}

/// What is kept of the body of an answer, as a file.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/exchanges/{exchange}/response-body", tag = "inspector",
    operation_id = "get_response_body",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        ("exchange" = u64, Path, description = "Its id."),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems
    )
)]
pub(super) async fn response_body(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Response, Problem> {
    body(&api, &caller, &wanted, "response", |record| {
        record.answer.as_ref().map(|answer| answer.body.kept.clone())
    })
}

fn body(
    api: &Api,
    caller: &Caller,
    wanted: &(String, String),
    what: &str,
    pick: impl FnOnce(&Record) -> Option<Vec<u8>>,
) -> Result<Response, Problem> {
    let exchange = find(api, caller, wanted)?;
    let body = exchange.look(pick).ok_or_else(not_there)?;
    let body = body.ok_or_else(|| Problem::not_found("answer"))?;
    let name = format!("{}-{what}.bin", exchange.number);
    Ok(raw::file(&name, raw::OCTETS, body))
}
