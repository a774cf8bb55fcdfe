//! `/tunnels/{tunnel}/inspection` and what is below `/tunnels/{tunnel}`: what came through a tunnel
//! that is inspected.
//!
//! - `exchanges`: requests and their answers, found again; `exchange`: one of them
//! - `export`: the same for other programs
//! - `captures`: raw visits
//! - `view`: what is shown of them
//! - `raw`: bytes that others sent, so that nothing of them ever runs

mod captures;
mod exchange;
mod exchanges;
mod export;
mod raw;
mod view;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{Code, Problem, Problems};
use super::{Api, Content};
use crate::access::Owner;
use crate::entrance::Entrance;
use crate::inspect::{Options, Whose};
use crate::tunnel::Tunnel;

/// Everything there is to call.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get, put, delete))
        .routes(routes!(exchanges::list, exchanges::forget))
        .routes(routes!(exchange::get))
        .routes(routes!(exchange::request_body))
        .routes(routes!(exchange::response_body))
        .routes(routes!(export::har))
        .routes(routes!(export::exchange_har))
        .routes(routes!(export::curl))
        .routes(routes!(captures::list))
        .routes(routes!(captures::get))
        .routes(routes!(export::pcapng))
}

/// Whether a tunnel is inspected.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Inspected {
    on: bool,
    /// When it goes off by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    /// Bodies, messages and events are kept, and not heads alone.
    bodies: bool,
    /// The bytes of raw visits are kept, in which nothing is masked.
    raw: bool,
}

/// How a tunnel is to be inspected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InspectionWanted {
    /// For so long: an hour unless it is said, a day at most.
    #[schema(minimum = 1, maximum = 86400)]
    for_seconds: Option<u32>,
    /// Whether bodies, messages and events are kept, and not heads alone.
    #[serde(default = "yes")]
    bodies: bool,
    /// Whether the bytes of raw visits are kept. Nothing in them can be masked: passwords and keys
    /// that pass are kept as they are. Only for tunnels without HTTP, and only for their owner.
    #[serde(default)]
    raw: bool,
}

fn yes() -> bool {
    true
}

/// A tunnel that is the caller's.
fn theirs(api: &Api, caller: &Caller, wanted: &str) -> Result<(Arc<Tunnel>, Whose), Problem> {
    // No tunnel's name has a dot, so the last one is in front of it.
    let (owner, name) = match (wanted.rsplit_once('.'), caller.owner()) {
        (Some((owner, name)), _) => (owner.to_owned(), name),
        (None, Some(owner)) => (owner.to_string(), wanted),
        (None, None) => (Owner::Anybody.to_string(), wanted),
    };
    let tunnel = Some(owner).filter(|owner| caller.may_see(owner));
    let tunnel = tunnel.and_then(|owner| api.registry.named(&owner, name));
    let tunnel = tunnel.ok_or_else(|| Problem::not_found("tunnel"))?;
    let id = tunnel.id();
    let whose = Whose { owner: id.owner.clone(), tunnel: id.name.clone() };
    Ok((tunnel, whose))
}

fn inspected(tunnel: &Tunnel) -> Json<Inspected> {
    let on = tunnel.inspection().now();
    let options = on.as_ref().map(|on| on.options());
    let since_1970 = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    };
    Json(Inspected {
        on: on.is_some(),
        until: on.map(|on| since_1970(on.until())),
        bodies: options.is_some_and(|options| options.bodies),
        raw: options.is_some_and(|options| options.raw),
    })
}

/// Whether a tunnel is inspected.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/inspection", tag = "inspector", operation_id = "get_inspection",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough.")),
    responses((status = 200, body = Inspected), Problems)
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(tunnel): Path<String>,
) -> Result<Json<Inspected>, Problem> {
    let (tunnel, _) = theirs(&api, &caller, &tunnel)?;
    Ok(inspected(&tunnel))
}

/// Has a tunnel inspected for a while, from the next request or visit on.
#[utoipa::path(
    put, path = "/tunnels/{tunnel}/inspection", tag = "inspector", operation_id = "put_inspection",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough.")),
    request_body = InspectionWanted,
    responses((status = 200, body = Inspected), Problems)
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Content(wanted): Content<InspectionWanted>,
) -> Result<Json<Inspected>, Problem> {
    let (tunnel, whose) = theirs(&api, &caller, &tunnel)?;
    let InspectionWanted { for_seconds, bodies, raw } = wanted;
    if !api.inspector.is_possible() {
        return Err(Problem::new(
            Code::Conflict,
            "nothing can be inspected at this relay: it was started with --inspect-memory 0",
        ));
    }
    if !for_seconds.is_none_or(|seconds| (1..=86_400).contains(&seconds)) {
        return Err(Problem::invalid("`for_seconds` is from 1 to 86400"));
    }
    let is_http = matches!(tunnel.entrances().first(), Some(Entrance::Web(_)));
    match (is_http, raw) {
        (true, true) => {
            return Err(Problem::invalid("`raw` is for tunnels without HTTP"));
        }
        (false, false) => {
            return Err(Problem::invalid(
                "the tunnel has no HTTP: of its visits only the raw bytes can be kept, in which \
                 nothing is masked; if that is what you want, say `raw`",
            ));
        }
        (false, true) if caller.owner().is_some_and(|owner| *owner != whose.owner) => {
            return Err(Problem::forbidden("raw bytes are kept for the tunnel's owner alone"));
        }
        _ => (),
    }
    let length = for_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let on = api.inspector.on(whose, length, Options { bodies, raw });
    tunnel.inspection().turn_on(on);
    info!(tunnel = %tunnel.name(), raw, "the tunnel is inspected for {}", caller.name());
    Ok(inspected(&tunnel))
}

/// Has a tunnel inspected no longer. What is kept stays for its time.
#[utoipa::path(
    delete, path = "/tunnels/{tunnel}/inspection", tag = "inspector",
    operation_id = "delete_inspection",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough.")),
    responses((status = 204), Problems)
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(tunnel): Path<String>,
) -> Result<StatusCode, Problem> {
    let (tunnel, _) = theirs(&api, &caller, &tunnel)?;
    tunnel.inspection().turn_off();
    info!(tunnel = %tunnel.name(), "the tunnel is inspected no longer, says {}", caller.name());
    Ok(StatusCode::NO_CONTENT)
}
