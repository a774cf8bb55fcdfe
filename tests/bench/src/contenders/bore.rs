//! How bore is started: without a secret, which it would only use for the handshake.

use anyhow::Result;

use super::{Contender, Place, Recipe};
use crate::programs::Programs;

/// bore has no flag for it. A line to it listens on another loopback address at the same port.
pub(super) const CONTROL_PORT: u16 = 7835;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let mut server = programs.command(Contender::Bore, "bore")?;
    server.arg("server").args(["--bind-addr", &place.control.ip().to_string()]);
    let mut client = programs.command(Contender::Bore, "bore")?;
    client
        .arg("local")
        .arg(place.local.port().to_string())
        .args(["--local-host", &place.local.ip().to_string()])
        .args(["--to", &place.reach.ip().to_string()])
        .args(["--port", &place.public.port().to_string()]);
    Ok(Recipe { server, client: Some(client) })
}
