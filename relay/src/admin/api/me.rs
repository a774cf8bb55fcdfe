//! `/me`: who asks, and `/health`: how the relay is.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::problem::Problems;
use crate::admin::summary::Health;

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// The owner of whatever is theirs. `(operator)`: somebody at the relay's own machine.
    name: String,
    /// What they may do: `own`, `admin`, `metrics`.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<shared::token::Scope>,
}

/// Who the caller is, and what they may do.
#[utoipa::path(
    get, path = "/me", tag = "relay", operation_id = "get_me",
    responses((status = 200, body = Me), Problems)
)]
pub(super) async fn get(caller: Caller) -> Json<Me> {
    Json(Me { name: caller.name(), scopes: caller.scopes() })
}

/// How the relay is.
#[utoipa::path(
    get, path = "/health", tag = "relay", operation_id = "get_health",
    responses((status = 200, body = Health), Problems)
)]
pub(super) async fn health(State(api): State<Api>, _: Caller) -> Json<Health> {
    Json(Health::of(&api.about, &api.metrics, api.stopping.is_cancelled()))
}
