//! How the two plain hops are started: visitor, hop, hop, local service.
//!
//! Here the side that visitors meet connects to the other one, so the roles of who listens for whom
//! are the other way round than in a reverse tunnel.

use anyhow::Result;

use super::{Place, Recipe};
use crate::process::own_program;

pub(super) fn recipe(place: &Place<'_>) -> Result<Recipe> {
    let mut server = own_program()?;
    server
        .arg("hop")
        .args(["--listen", &place.control.to_string()])
        .args(["--to", &place.local.to_string()]);
    let mut client = own_program()?;
    client
        .arg("hop")
        .args(["--listen", &place.public.to_string()])
        .args(["--to", &place.reach.to_string()]);
    Ok(Recipe { server, client: Some(client) })
}
