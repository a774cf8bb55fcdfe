//! How rathole is started: plain TCP, everything else as it comes.
//!
//! Its server has to know every tunnel before a client asks for it.

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
    let Place { control, reach, public, local, directory, .. } = place;
    let tunnel = || [FleetTunnel { name: "bench".to_owned(), public: *public }].into_iter();
    let server_file = directory.join("server.toml");
    let client_file = directory.join("client.toml");
    Ok(Recipe {
        server: server(programs, &server_file, *control, tunnel())?,
        client: client(programs, &client_file, *reach, *local, tunnel())?,
    })
}

pub(super) fn fleet_server(programs: &Programs, place: &FleetPlace) -> Result<Command> {
    let file = place.directory.join("server.toml");
    server(programs, &file, place.control, place.tunnels())
}

pub(super) fn fleet_client(
    programs: &Programs,
    place: &FleetPlace,
    number: usize,
) -> Result<Command> {
    let file = place.directory.join(format!("client-{number}.toml"));
    client(programs, &file, place.control, place.local, place.tunnels_of(number))
}

fn server(
    programs: &Programs,
    file: &Path,
    control: SocketAddr,
    tunnels: impl Iterator<Item = FleetTunnel>,
) -> Result<Command> {
    let mut text = format!("[server]\nbind_addr = \"{control}\"\ndefault_token = \"bench\"\n");
    for FleetTunnel { name, public } in tunnels {
        write!(text, "[server.services.{name}]\nbind_addr = \"{public}\"\n")?;
    }
    fs::write(file, text).context("writing rathole's server file")?;
    let mut command = programs.command(Contender::Rathole, "rathole")?;
    command.arg("--server").arg(file);
    Ok(command)
}

fn client(
    programs: &Programs,
    file: &Path,
    reach: SocketAddr,
    local: SocketAddr,
    tunnels: impl Iterator<Item = FleetTunnel>,
) -> Result<Command> {
    let mut text = format!("[client]\nremote_addr = \"{reach}\"\ndefault_token = \"bench\"\n");
    for FleetTunnel { name, .. } in tunnels {
        write!(text, "[client.services.{name}]\nlocal_addr = \"{local}\"\n")?;
    }
    fs::write(file, text).context("writing a client file of rathole's")?;
    let mut command = programs.command(Contender::Rathole, "rathole")?;
    command.arg("--client").arg(file);
    Ok(command)
}
