//! How our own relay and client are started.

use anyhow::Result;

use super::{Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let mut server = programs.command("relay")?;
    server
        .args(["--control", &place.control.to_string()])
        .args(["--public", &place.public.to_string()])
        .args(["--admin", &place.spare.to_string()]);
    let mut client = programs.command("client")?;
    client.args(["--server", &place.reach.to_string()]).args(["--local", &place.local.to_string()]);
    Ok(Recipe { server, client })
}
