//! `/sessions`: the clients that are connected.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Page, PageQuery, Paging, number};
use super::problem::{Problem, Problems};
use super::{Api, Params};
use crate::snapshot::{SessionNow, Snapshot};

/// A client's connection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    #[serde(flatten)]
    now: SessionNow,
    /// The ids of the tunnels that it claims.
    tunnel_ids: Vec<String>,
}

/// Which sessions somebody wants.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those of this owner.
    owner: Option<String>,
}

/// Those that are the caller's, in the order in which they came.
fn theirs(api: &Api, caller: &Caller) -> Vec<Session> {
    let Snapshot { tunnels, sessions } = api.registry.snapshot();
    let sessions = sessions.into_iter().filter(|session| caller.may_see(&session.owner));
    let claimed = |now: SessionNow| {
        let claims = tunnels
            .iter()
            .filter(|tunnel| tunnel.clients.iter().any(|client| client.sessions.contains(&now.id)));
        let ids = claims.map(|tunnel| format!("{}.{}", tunnel.owner, tunnel.name));
        Session { tunnel_ids: ids.collect(), now }
    };
    sessions.map(claimed).collect()
}

/// All sessions that are the caller's.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", operation_id = "list_sessions",
    params(Wanted, PageQuery),
    responses((status = 200, body = Page<Session>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
    paging: Paging,
) -> Json<Page<Session>> {
    let mut sessions = theirs(&api, &caller);
    sessions
        .retain(|session| wanted.owner.as_ref().is_none_or(|owner| *owner == session.now.owner));
    Json(paging.of(sessions, |session| number(session.now.id)))
}

/// One session.
#[utoipa::path(
    get, path = "/sessions/{session}", tag = "sessions", operation_id = "get_session",
    params(("session" = u64, Path, description = "Its number.")),
    responses((status = 200, body = Session), Problems)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<String>,
) -> Result<Json<Session>, Problem> {
    let mut sessions = theirs(&api, &caller).into_iter();
    let found = sessions.find(|session| session.now.id.to_string() == wanted);
    found.map(Json).ok_or_else(|| Problem::not_found("session"))
}

/// Ends a session. Its client may come back at once: whoever is not to has a token that can be revoked.
#[utoipa::path(
    delete, path = "/sessions/{session}", tag = "sessions", operation_id = "end_session",
    params(("session" = u64, Path, description = "Its number.")),
    responses((status = 204), Problems)
)]
pub(super) async fn end(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<String>,
) -> Result<StatusCode, Problem> {
    let mut sessions = theirs(&api, &caller).into_iter();
    let found = sessions.find(|session| session.now.id.to_string() == wanted);
    match found {
        Some(session) if api.registry.kick(session.now.id) => {
            info!("the session {wanted} is ended by {}", caller.name());
            Ok(StatusCode::NO_CONTENT)
        }
        _ => Err(Problem::not_found("session")),
    }
}
