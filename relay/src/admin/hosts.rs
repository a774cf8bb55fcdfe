//! By which names the admin port is asked.
//!
//! A page of somebody else can have its own name lead to this machine, and then asks the admin port
//! from a browser that is on it (DNS rebinding). Such a name is one of the public DNS, with a dot in
//! it, and it stands in the `Host` of the request: what is no name of the relay is not answered.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::control::protocol::HostName;

use crate::config::CurrentConfig;

/// What whoever comes by another name is told.
const MISDIRECTED: &str = "the admin port is not known by this name: ask it by its address, or name \
    the host with --admin-host\n";

/// What is answered by any name: probes and scrapes have a name for the relay that it does not know,
/// and nothing in them is anybody's secret.
const BY_ANY_NAME: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The names of the admin port.
#[derive(Clone, Debug)]
pub(super) struct Hosts(CurrentConfig);

impl Hosts {
    pub(super) fn of(config: CurrentConfig) -> Self {
        Self(config)
    }

    fn know(&self, host: &str) -> bool {
        let name = name(host);
        let config = self.0.now();
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let is_address = name.parse::<IpAddr>().is_ok();
        is_address
            // No name of the public DNS that anybody could have lead here.
            || !name.contains('.')
            || name.to_ascii_lowercase().ends_with(".localhost")
            || config.public_name.as_ref().is_some_and(|known| is(known.as_str()))
            || config.admin.host.as_deref().is_some_and(is)
            || config.admin_hosts.iter().map(HostName::as_str).any(is)
    }
}

/// Goes on with a request that has come by a name of the admin port.
pub(super) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    // Whoever speaks HTTP/1.0 is no browser.
    let is_known = host.is_none_or(|host| hosts.know(host));
    if is_known || BY_ANY_NAME.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, MISDIRECTED).into_response()
}

/// A host without its port and its brackets.
fn name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(ip, _)| ip);
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_without_its_port() {
        for (host, expected) in [
            ("127.0.0.1:4445", "127.0.0.1"),
            ("[::1]:4445", "::1"),
            ("[::1]", "::1"),
            ("localhost", "localhost"),
            ("relay.example.:4445", "relay.example"),
        ] {
            assert_eq!(name(host), expected, "{host}");
        }
    }
}
