//! `/visits`: those that have reached a client.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use tracing::info;

use super::caller::Caller;
use super::page::{Page, PageQuery, Paging};
use super::problem::{Problem, Problems};
use super::{Api, Params};
use crate::snapshot::VisitNow;

/// Which visits somebody wants.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those of this owner's tunnels.
    owner: Option<String>,
    /// Only those of the tunnel with this id.
    tunnel: Option<String>,
    /// Only those that this session serves.
    session: Option<u64>,
}

impl Wanted {
    fn fits(&self, visit: &VisitNow) -> bool {
        let is_of = |id: &String| *id == format!("{}.{}", visit.owner, visit.tunnel);
        self.owner.as_ref().is_none_or(|owner| *owner == visit.owner)
            && self.tunnel.as_ref().is_none_or(is_of)
            && self.session.is_none_or(|session| session == visit.session)
    }
}

/// Those that are the caller's, by their numbers.
fn theirs(api: &Api, caller: &Caller) -> Vec<VisitNow> {
    let mut visits = api.registry.visits().look();
    visits.retain(|visit| caller.may_see(&visit.owner));
    visits
}

/// All visits at the caller's tunnels that have reached a client: connections of TCP, and of HTTP those
/// that have changed to another protocol.
#[utoipa::path(
    get, path = "/visits", tag = "visits", operation_id = "list_visits",
    params(Wanted, PageQuery),
    responses((status = 200, body = Page<VisitNow>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
    paging: Paging,
) -> Json<Page<VisitNow>> {
    let mut visits = theirs(&api, &caller);
    visits.retain(|visit| wanted.fits(visit));
    visits.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Json(paging.of(visits, |visit| visit.id.clone()))
}

/// Cuts a visit off: both of its ends are reset.
#[utoipa::path(
    delete, path = "/visits/{visit}", tag = "visits", operation_id = "cut_visit",
    params(("visit" = String, Path, description = "Its number, as in the logs of both ends.")),
    responses((status = 204), Problems)
)]
pub(super) async fn cut(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<String>,
) -> Result<StatusCode, Problem> {
    let not_there = || Problem::not_found("visit");
    let id = wanted.parse().map_err(|_| not_there())?;
    if !theirs(&api, &caller).iter().any(|visit| visit.id == wanted) {
        return Err(not_there());
    }
    if !api.registry.visits().cut(id) {
        return Err(not_there());
    }
    info!("the visit {wanted} is cut by {}", caller.name());
    Ok(StatusCode::NO_CONTENT)
}
