//! How frp is started: its default multiplexing, without TLS.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::fleet::{FleetPlace, FleetTunnel};
use super::{Contender, Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let tunnel = FleetTunnel { name: "bench".to_owned(), public: place.public };
    let server_file = place.directory.join("frps.toml");
    let client_file = place.directory.join("frpc.toml");
    Ok(Recipe {
        server: server(programs, &server_file, &server_text(place.control))?,
        client: client(programs, &client_file, place.reach, place.local, [tunnel].into_iter())?,
    })
}

/// As alone, but with metrics, which come with the dashboard.
pub(super) fn fleet_server(programs: &Programs, place: &FleetPlace) -> Result<Command> {
    let text = format!(
        "{}enablePrometheus = true\nwebServer.addr = \"{}\"\nwebServer.port = {}\n",
        server_text(place.control),
        place.admin.ip(),
        place.admin.port(),
    );
    server(programs, &place.directory.join("frps.toml"), &text)
}

pub(super) fn fleet_client(
    programs: &Programs,
    place: &FleetPlace,
    number: usize,
) -> Result<Command> {
    let file = place.directory.join(format!("frpc-{number}.toml"));
    client(programs, &file, place.control, place.local, place.tunnels_of(number))
}

fn server_text(control: SocketAddr) -> String {
    let (host, port) = (control.ip(), control.port());
    format!("bindAddr = \"{host}\"\nbindPort = {port}\nproxyBindAddr = \"{host}\"\n")
}

fn server(programs: &Programs, file: &Path, text: &str) -> Result<Command> {
    fs::write(file, text).context("writing frps.toml")?;
    let mut command = programs.command(Contender::Frp, "frps")?;
    command.arg("-c").arg(file);
    Ok(command)
}

fn client(
    programs: &Programs,
    file: &Path,
    reach: SocketAddr,
    local: SocketAddr,
    tunnels: impl Iterator<Item = FleetTunnel>,
) -> Result<Command> {
    let mut text = format!(
        "serverAddr = \"{}\"\nserverPort = {}\ntransport.tls.enable = false\nloginFailExit = false\n",
        reach.ip(),
        reach.port(),
    );
    for FleetTunnel { name, public } in tunnels {
        write!(
            text,
            "[[proxies]]\nname = \"{name}\"\ntype = \"tcp\"\n\
             localIP = \"{}\"\nlocalPort = {}\nremotePort = {}\n",
            local.ip(),
            local.port(),
            public.port(),
        )?;
    }
    fs::write(file, text).context("writing a client file of frp's")?;
    let mut command = programs.command(Contender::Frp, "frpc")?;
    command.arg("-c").arg(file);
    Ok(command)
}
