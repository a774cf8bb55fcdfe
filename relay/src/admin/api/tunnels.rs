//! `/tunnels`: those that there are.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Page, PageQuery, Paging};
use super::problem::{Problem, Problems};
use super::{Api, Params};
use crate::admin::summary::TunnelSummary;
use crate::snapshot::{Standing, TunnelNow};

/// A tunnel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tunnel {
    /// What it is called over the API: its owner and its name, with a dot between them.
    #[schema(example = "ann.app")]
    id: String,
    state: TunnelState,
    #[serde(flatten)]
    summary: TunnelSummary,
}

/// Whether visitors of a tunnel reach its local service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TunnelState {
    /// They do.
    Live,
    /// No client is there that serves it.
    Waiting,
}

/// Which tunnels somebody wants.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those of this owner.
    owner: Option<String>,
    /// Only those in this state.
    state: Option<TunnelState>,
    /// Only those with this text in their name or in an address.
    q: Option<String>,
}

impl From<TunnelNow> for Tunnel {
    fn from(now: TunnelNow) -> Self {
        let is_live = now.clients.iter().any(|client| client.standing == Standing::Live);
        Self {
            id: id(&now),
            state: if is_live { TunnelState::Live } else { TunnelState::Waiting },
            summary: now.into(),
        }
    }
}

impl Wanted {
    fn fits(&self, tunnel: &Tunnel) -> bool {
        let TunnelSummary { name, owner, public, .. } = &tunnel.summary;
        self.owner.as_ref().is_none_or(|wanted| wanted == owner)
            && self.state.is_none_or(|state| state == tunnel.state)
            && self.q.as_ref().is_none_or(|text| {
                name.as_str().contains(text) || public.iter().any(|address| address.contains(text))
            })
    }
}

/// No tunnel's name has a dot, so the last one is in front of it.
fn id(now: &TunnelNow) -> String {
    format!("{}.{}", now.owner, now.name)
}

/// All tunnels that are the caller's.
#[utoipa::path(
    get, path = "/tunnels", tag = "tunnels", operation_id = "list_tunnels",
    params(Wanted, PageQuery),
    responses((status = 200, body = Page<Tunnel>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
    paging: Paging,
) -> Json<Page<Tunnel>> {
    let tunnels = api.registry.snapshot().tunnels.into_iter();
    let theirs = tunnels.filter(|tunnel| caller.may_see(&tunnel.owner)).map(Tunnel::from);
    let mut wanted: Vec<_> = theirs.filter(|tunnel| wanted.fits(tunnel)).collect();
    wanted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Json(paging.of(wanted, |tunnel| tunnel.id.clone()))
}

/// One tunnel.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}", tag = "tunnels", operation_id = "get_tunnel",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough.")),
    responses((status = 200, body = Tunnel), Problems)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<String>,
) -> Result<Json<Tunnel>, Problem> {
    find(&api, &caller, wanted).map(Json)
}

/// The tunnel of the caller's with this id, or of their own with this name.
///
/// # Errors
///
/// There is none, or it is somebody else's.
pub(super) fn find(api: &Api, caller: &Caller, wanted: String) -> Result<Tunnel, Problem> {
    let wanted = match (wanted.contains('.'), caller.owner()) {
        (false, Some(owner)) => format!("{owner}.{wanted}"),
        _ => wanted,
    };
    let tunnels = api.registry.snapshot().tunnels.into_iter();
    let mut theirs = tunnels.filter(|tunnel| caller.may_see(&tunnel.owner));
    let found = theirs.find(|tunnel| id(tunnel) == wanted);
    found.map(Tunnel::from).ok_or_else(|| Problem::not_found("tunnel"))
}

impl Tunnel {
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}
