//! How frp is started: its default multiplexing, without TLS.

use std::fs;

use anyhow::{Context, Result};

use super::{Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let server_file = place.directory.join("frps.toml");
    let client_file = place.directory.join("frpc.toml");
    let server_text = format!(
        "bindAddr = \"{}\"\nbindPort = {}\nproxyBindAddr = \"{}\"\n",
        place.control.ip(),
        place.control.port(),
        place.public.ip(),
    );
    let client_text = format!(
        "serverAddr = \"{}\"\nserverPort = {}\ntransport.tls.enable = false\n\
         [[proxies]]\nname = \"bench\"\ntype = \"tcp\"\n\
         localIP = \"{}\"\nlocalPort = {}\nremotePort = {}\n",
        place.reach.ip(),
        place.reach.port(),
        place.local.ip(),
        place.local.port(),
        place.public.port(),
    );
    fs::write(&server_file, server_text).context("writing frps.toml")?;
    fs::write(&client_file, client_text).context("writing frpc.toml")?;

    let mut server = programs.command("frps")?;
    server.arg("-c").arg(server_file);
    let mut client = programs.command("frpc")?;
    client.arg("-c").arg(client_file);
    Ok(Recipe { server, client })
}
