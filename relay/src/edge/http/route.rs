//! Where a request goes.

use std::sync::Arc;

use hyper::Uri;
use hyper::http::uri::PathAndQuery;

use super::host::RequestedHost;
use crate::entrance::{BY_PATH, WebFront};
use crate::routes::{Host, Routes};
use crate::tunnel::Tunnel;
use crate::web::Fault;

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Route {
    /// To this tunnel, with this path.
    To { tunnel: Arc<Tunnel>, target: PathAndQuery, prefix: Option<String> },
    /// To the same with a slash behind it, without which names relative to it would lead elsewhere.
    AddSlash(String),
}

/// Finds the tunnel of a request: by a host of its own, by the label in front of the relay's domain, or
/// by its path.
///
/// # Errors
///
/// Nobody has a tunnel there.
pub(super) fn route(
    host: &RequestedHost,
    uri: &Uri,
    routes: &Routes,
    front: &WebFront,
) -> Result<Route, Fault> {
    let target = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let name = host.name();
    let own = match front.label_in(name) {
        Some(label) => Some(Host::Subdomain(label)),
        None if routes.has(Host::Domain(name)) => Some(Host::Domain(name)),
        None => None,
    };
    if let Some(host) = own {
        let tunnel = routes.find(host, target.path()).ok_or(Fault::UnknownTunnel)?;
        return Ok(Route::To { tunnel, target, prefix: None });
    }
    let rest = target.path().strip_prefix(BY_PATH).ok_or(Fault::UnknownTunnel)?;
    let label = rest.split('/').next().unwrap_or_default();
    let prefix = format!("{BY_PATH}{label}");
    let rest = &target.as_str()[prefix.len()..];
    if !rest.starts_with('/') {
        if !routes.has(Host::Subdomain(label)) {
            return Err(Fault::UnknownTunnel);
        }
        return Ok(Route::AddSlash(format!("{prefix}/{rest}")));
    }
    let rest: PathAndQuery = rest.parse().map_err(|_| Fault::UnknownTunnel)?;
    let tunnel = routes.find(Host::Subdomain(label), rest.path()).ok_or(Fault::UnknownTunnel)?;
    Ok(Route::To { tunnel, target: rest, prefix: Some(prefix) })
}
