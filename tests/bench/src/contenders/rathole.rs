//! How rathole is started: over plain TCP or TLS, everything else as it comes.
//!
//! Its server has to know every tunnel before a client asks for it.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::certificate::{Certificate, NAME};
use super::fleet::{FleetPlace, FleetTunnel};
use super::{Contender, Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(
    contender: Contender,
    programs: &Programs,
    place: &Place<'_>,
) -> Result<Recipe> {
    let Place { control, reach, public, local, directory, .. } = place;
    let tunnel = || [FleetTunnel { name: "bench".to_owned(), public: *public }].into_iter();
    let rathole = Rathole { contender, programs, directory };
    Ok(Recipe {
        server: rathole.server(*control, tunnel())?,
        client: Some(rathole.client("client.toml", *reach, *local, tunnel())?),
    })
}

pub(super) fn fleet_server(
    contender: Contender,
    programs: &Programs,
    place: &FleetPlace,
) -> Result<Command> {
    let rathole = Rathole { contender, programs, directory: &place.directory };
    rathole.server(place.control, place.tunnels())
}

pub(super) fn fleet_client(
    contender: Contender,
    programs: &Programs,
    place: &FleetPlace,
    number: usize,
) -> Result<Command> {
    let rathole = Rathole { contender, programs, directory: &place.directory };
    let file = format!("client-{number}.toml");
    rathole.client(&file, place.control, place.local, place.tunnels_of(number))
}

/// Which rathole, and where its files are.
struct Rathole<'a> {
    contender: Contender,
    programs: &'a Programs,
    directory: &'a Path,
}

impl Rathole<'_> {
    fn server(
        &self,
        control: SocketAddr,
        tunnels: impl Iterator<Item = FleetTunnel>,
    ) -> Result<Command> {
        let mut text = format!("[server]\nbind_addr = \"{control}\"\ndefault_token = \"bench\"\n");
        if self.contender.has_tls() {
            write!(
                text,
                "[server.transport]\ntype = \"tls\"\n[server.transport.tls]\n\
                 pkcs12 = {:?}\npkcs12_password = \"{PASSWORD}\"\n",
                self.identity()?,
            )?;
        }
        for FleetTunnel { name, public } in tunnels {
            write!(text, "[server.services.{name}]\nbind_addr = \"{public}\"\n")?;
        }
        self.command("--server", "server.toml", &text)
    }

    fn client(
        &self,
        file: &str,
        reach: SocketAddr,
        local: SocketAddr,
        tunnels: impl Iterator<Item = FleetTunnel>,
    ) -> Result<Command> {
        let mut text = format!("[client]\nremote_addr = \"{reach}\"\ndefault_token = \"bench\"\n");
        if self.contender.has_tls() {
            write!(
                text,
                "[client.transport]\ntype = \"tls\"\n[client.transport.tls]\n\
                 trusted_root = {:?}\nhostname = \"{NAME}\"\n",
                Certificate::kept_in(self.directory)?.authority,
            )?;
        }
        for FleetTunnel { name, .. } in tunnels {
            write!(text, "[client.services.{name}]\nlocal_addr = \"{local}\"\n")?;
        }
        self.command("--client", file, &text)
    }

    fn command(&self, side: &str, file: &str, text: &str) -> Result<Command> {
        let file = self.directory.join(file);
        fs::write(&file, text).context("writing a file of rathole's")?;
        let mut command = self.programs.command(self.contender, "rathole")?;
        command.arg(side).arg(file);
        Ok(command)
    }

    /// The certificate with its key as rathole wants it: PKCS #12, encrypted in a way that each of
    /// the libraries it can be built with reads.
    fn identity(&self) -> Result<PathBuf> {
        let made = Certificate::kept_in(self.directory)?;
        let file = self.directory.join("identity.p12");
        let packed = self
            .programs
            .command(self.contender, "openssl")?
            .args(["pkcs12", "-export", "-passout", &format!("pass:{PASSWORD}")])
            .args(["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"])
            .arg("-inkey")
            .arg(made.key)
            .arg("-in")
            .arg(made.certificate)
            .arg("-certfile")
            .arg(made.authority)
            .arg("-out")
            .arg(&file)
            .output()
            .context("starting openssl")?;
        let said = String::from_utf8_lossy(&packed.stderr);
        ensure!(packed.status.success(), "openssl: {}", said.trim());
        Ok(file)
    }
}

/// The file has to have one.
const PASSWORD: &str = "bench";
