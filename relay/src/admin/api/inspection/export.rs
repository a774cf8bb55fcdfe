//! Exchanges and captures for other programs.

use axum::extract::{Path, State};
use axum::response::Response;

use super::exchanges::Wanted;
use super::{captures, exchange, raw, theirs};
use crate::admin::api::caller::Caller;
use crate::admin::api::problem::{Problem, Problems};
use crate::admin::api::{Api, Params};
use crate::entrance::Entrance;
use crate::inspect;

/// The exchanges of a tunnel that are kept, the first one first, as HAR 1.2.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/exchanges.har", tag = "inspector",
    operation_id = "export_exchanges",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough."), Wanted),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems)
)]
pub(super) async fn har(
    State(api): State<Api>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let (_, whose) = theirs(&api, &caller, &tunnel)?;
    let mut kept = api.inspector.exchanges(&whose);
    kept.retain(|exchange| exchange.look(|record| wanted.fits(record)).unwrap_or(false));
    kept.reverse();
    let name = format!("{}.har", whose.tunnel);
    Ok(raw::file(&name, raw::OCTETS, inspect::har(&kept).to_string()))
}

/// One exchange as HAR 1.2.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/exchanges/{exchange}/har", tag = "inspector",
    operation_id = "export_exchange",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        ("exchange" = u64, Path, description = "Its id."),
    ),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems)
)]
pub(super) async fn exchange_har(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Response, Problem> {
    let exchange = exchange::find(&api, &caller, &wanted)?;
    let name = format!("{}.har", exchange.number);
    Ok(raw::file(&name, raw::OCTETS, inspect::har(&[exchange]).to_string()))
}

/// The request of an exchange as a command for a shell. What is masked stays so.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/exchanges/{exchange}/curl", tag = "inspector",
    operation_id = "get_curl",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        ("exchange" = u64, Path, description = "Its id."),
    ),
    responses((status = 200, body = String, content_type = "text/plain"), Problems)
)]
pub(super) async fn curl(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Response, Problem> {
    let exchange = exchange::find(&api, &caller, &wanted)?;
    let command = exchange.look(inspect::curl).ok_or_else(exchange::not_there)?;
    Ok(raw::file("curl.sh", "text/plain; charset=utf-8", command))
}

/// A raw visit for Wireshark.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/captures/{capture}/pcapng", tag = "inspector",
    operation_id = "export_capture",
    params(
        ("tunnel" = String, Path, description = "Its id; of your own the name is enough."),
        ("capture" = u64, Path, description = "Its id."),
    ),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems)
)]
pub(super) async fn pcapng(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (tunnel, _) = theirs(&api, &caller, &wanted.0)?;
    let capture = captures::find(&api, &caller, &wanted)?;
    let port = tunnel.entrances().iter().find_map(|entrance| match entrance {
        Entrance::Port(port) => Some(*port),
        Entrance::Web(_) | Entrance::ServerName(_) => None,
    });
    let file = capture.look(|captured| inspect::pcapng(&capture, captured, port));
    let name = format!("{}.pcapng", capture.number);
    Ok(raw::file(&name, raw::OCTETS, file.ok_or_else(captures::not_there)?))
}
