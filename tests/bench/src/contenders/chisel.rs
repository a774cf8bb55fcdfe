//! How chisel is started. It always encrypts: its tunnel is SSH in a websocket. Its form with TLS has
//! that websocket over HTTPS.

use anyhow::Result;

use super::certificate::Certificate;
use super::{Contender, Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(
    contender: Contender,
    programs: &Programs,
    place: &Place<'_>,
) -> Result<Recipe> {
    let mut server = programs.command(contender, "chisel")?;
    server
        .args(["server", "--reverse"])
        .args(["--host", &place.control.ip().to_string()])
        .args(["--port", &place.control.port().to_string()]);
    let mut client = programs.command(contender, "chisel")?;
    client.arg("client");
    let scheme = if contender.has_tls() {
        let made = Certificate::kept_in(place.directory)?;
        server.arg("--tls-cert").arg(made.certificate).arg("--tls-key").arg(made.key);
        client.arg("--tls-ca").arg(made.authority);
        "https"
    } else {
        "http"
    };
    client
        .arg(format!("{scheme}://{}", place.reach))
        .arg(format!("R:{}:{}", place.public, place.local));
    Ok(Recipe { server, client: Some(client) })
}
