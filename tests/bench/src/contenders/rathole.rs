//! How rathole is started: plain TCP, everything else as it comes.

use std::fs;

use anyhow::{Context, Result};

use super::{Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let Place { control, reach, public, local, directory, .. } = place;
    let server_file = directory.join("server.toml");
    let client_file = directory.join("client.toml");
    let server_text = format!(
        "[server]\nbind_addr = \"{control}\"\ndefault_token = \"bench\"\n\
         [server.services.bench]\nbind_addr = \"{public}\"\n"
    );
    let client_text = format!(
        "[client]\nremote_addr = \"{reach}\"\ndefault_token = \"bench\"\n\
         [client.services.bench]\nlocal_addr = \"{local}\"\n"
    );
    fs::write(&server_file, server_text).context("writing rathole's server.toml")?;
    fs::write(&client_file, client_text).context("writing rathole's client.toml")?;

    let mut server = programs.command("rathole")?;
    server.arg("--server").arg(server_file);
    let mut client = programs.command("rathole")?;
    client.arg("--client").arg(client_file);
    Ok(Recipe { server, client })
}
