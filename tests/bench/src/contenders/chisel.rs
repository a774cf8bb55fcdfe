//! How chisel is started. It always encrypts: its tunnel is SSH.

use anyhow::Result;

use super::{Contender, Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let mut server = programs.command(Contender::Chisel, "chisel")?;
    server
        .args(["server", "--reverse"])
        .args(["--host", &place.control.ip().to_string()])
        .args(["--port", &place.control.port().to_string()]);
    let mut client = programs.command(Contender::Chisel, "chisel")?;
    client
        .arg("client")
        .arg(format!("http://{}", place.reach))
        .arg(format!("R:{}:{}", place.public, place.local));
    Ok(Recipe { server, client })
}
