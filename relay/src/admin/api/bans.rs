//! `/bans`: sources that are kept out for a while.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use tracing::info;

use super::Api;
use super::caller::Caller;
use super::page::{Page, PageQuery, Paging};
use super::problem::{Problem, Problems};
use crate::limits::BanNow;

/// All bans.
#[utoipa::path(
    get, path = "/bans", tag = "bans", operation_id = "list_bans", params(PageQuery),
    responses((status = 200, body = Page<BanNow>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<BanNow>>, Problem> {
    caller.must_be_admin()?;
    let mut bans = api.limits.bans();
    bans.sort_unstable_by(|a, b| a.source.cmp(&b.source));
    Ok(Json(paging.of(bans, |ban| ban.source.clone())))
}

/// Lifts the ban of an address, and of the network that counts as one source with it.
#[utoipa::path(
    delete, path = "/bans/{address}", tag = "bans", operation_id = "lift_ban",
    params(("address" = String, Path, description = "An IP address.", example = "192.0.2.7")),
    responses((status = 204), Problems)
)]
pub(super) async fn lift(
    State(api): State<Api>,
    caller: Caller,
    Path(address): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.must_be_admin()?;
    // A network is shown as it is banned: its first address stands for it.
    let first = address.split_once('/').map_or(&*address, |(first, _)| first);
    let ip: IpAddr = first.parse().map_err(|_| Problem::not_found("ban"))?;
    if !api.limits.lift_ban(ip) {
        return Err(Problem::not_found("ban"));
    }
    info!("the ban of {ip} is lifted by {}", caller.name());
    Ok(StatusCode::NO_CONTENT)
}
