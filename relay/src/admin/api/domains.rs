//! `/domains`: whose host names are.

use axum::Json;
use axum::extract::State;

use super::caller::Caller;
use super::page::{Page, PageQuery, Paging};
use super::problem::{Problem, Problems};
use super::{Api, Params};
use crate::store::DomainRecord;

/// Which host names somebody wants.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those of this owner.
    owner: Option<String>,
}

/// All host names that are the caller's, or that they have asked for.
#[utoipa::path(
    get, path = "/domains", tag = "domains", operation_id = "list_domains",
    params(Wanted, PageQuery),
    responses((status = 200, body = Page<DomainRecord>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
    paging: Paging,
) -> Result<Json<Page<DomainRecord>>, Problem> {
    let mut domains = api.store()?.domains().await?;
    domains.retain(|domain| {
        caller.may_see(domain.owner.as_str())
            && wanted.owner.as_ref().is_none_or(|owner| owner == domain.owner.as_str())
    });
    // No name has a blank in it, so none of two is taken for the other.
    let key = |domain: &DomainRecord| format!("{} {}", domain.host.as_str(), domain.owner);
    domains.sort_by_cached_key(key);
    Ok(Json(paging.of(domains, key)))
}
