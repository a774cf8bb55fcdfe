//! How frp is started: its default multiplexing, without TLS or with it; and its proxies of the type
//! http.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::certificate::{Certificate, NAME};
use super::fleet::{FleetPlace, FleetTunnel};
use super::{Contender, Place, Recipe};
use crate::programs::Programs;
use crate::protocol::web::HOST;

pub(super) fn recipe(
    contender: Contender,
    programs: &Programs,
    place: &Place<'_>,
) -> Result<Recipe> {
    let tunnel = FleetTunnel { name: "bench".to_owned(), public: place.public };
    let frp = Frp { contender, programs, directory: place.directory };
    let more = match contender.is_web() {
        true => format!("vhostHTTPPort = {}\n", place.public.port()),
        false => String::new(),
    };
    Ok(Recipe {
        server: frp.server(place.control, &more)?,
        client: Some(frp.client("frpc.toml", place.reach, place.local, [tunnel].into_iter())?),
    })
}

/// As alone, but with metrics, which come with the dashboard.
pub(super) fn fleet_server(
    contender: Contender,
    programs: &Programs,
    place: &FleetPlace,
) -> Result<Command> {
    let metrics = format!(
        "enablePrometheus = true\nwebServer.addr = \"{}\"\nwebServer.port = {}\n",
        place.admin.ip(),
        place.admin.port(),
    );
    Frp { contender, programs, directory: &place.directory }.server(place.control, &metrics)
}

pub(super) fn fleet_client(
    contender: Contender,
    programs: &Programs,
    place: &FleetPlace,
    number: usize,
) -> Result<Command> {
    let frp = Frp { contender, programs, directory: &place.directory };
    let file = format!("frpc-{number}.toml");
    frp.client(&file, place.control, place.local, place.tunnels_of(number))
}

/// Which frp, and where its files are.
struct Frp<'a> {
    contender: Contender,
    programs: &'a Programs,
    directory: &'a Path,
}

impl Frp<'_> {
    fn server(&self, control: SocketAddr, more: &str) -> Result<Command> {
        let (host, port) = (control.ip(), control.port());
        let mut text =
            format!("bindAddr = \"{host}\"\nbindPort = {port}\nproxyBindAddr = \"{host}\"\n{more}");
        if self.contender.has_tls() {
            let Certificate { certificate, key, .. } = Certificate::kept_in(self.directory)?;
            write!(
                text,
                "transport.tls.force = true\ntransport.tls.certFile = {certificate:?}\n\
                 transport.tls.keyFile = {key:?}\n",
            )?;
        }
        self.command("frps", "frps.toml", &text)
    }

    fn client(
        &self,
        file: &str,
        reach: SocketAddr,
        local: SocketAddr,
        tunnels: impl Iterator<Item = FleetTunnel>,
    ) -> Result<Command> {
        let mut text = format!(
            "serverAddr = \"{}\"\nserverPort = {}\nloginFailExit = false\n\
             transport.tls.enable = {}\n",
            reach.ip(),
            reach.port(),
            self.contender.has_tls(),
        );
        if self.contender.has_tls() {
            let Certificate { authority, .. } = Certificate::kept_in(self.directory)?;
            write!(
                text,
                "transport.tls.trustedCaFile = {authority:?}\n\
                 transport.tls.serverName = \"{NAME}\"\n",
            )?;
        }
        for FleetTunnel { name, public } in tunnels {
            write!(
                text,
                "[[proxies]]\nname = \"{name}\"\nlocalIP = \"{}\"\nlocalPort = {}\n",
                local.ip(),
                local.port(),
            )?;
            match self.contender.is_web() {
                true => writeln!(text, "type = \"http\"\ncustomDomains = [\"{HOST}\"]")?,
                false => writeln!(text, "type = \"tcp\"\nremotePort = {}", public.port())?,
            }
        }
        self.command("frpc", file, &text)
    }

    fn command(&self, program: &'static str, file: &str, text: &str) -> Result<Command> {
        let file = self.directory.join(file);
        fs::write(&file, text).context("writing a file of frp's")?;
        let mut command = self.programs.command(self.contender, program)?;
        command.arg("-c").arg(file);
        Ok(command)
    }
}
