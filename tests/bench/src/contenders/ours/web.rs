//! How our own relay and client are started for the web.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::contenders::certificate::Certificate;
use crate::contenders::{Contender, Place, Recipe};
use crate::ports::loopback;
use crate::programs::Programs;
use crate::protocol::web::{DOMAIN, TUNNEL};

/// Where a relay of the web shall listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WebPlace<'a> {
    pub(crate) control: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// Where it tells its metrics.
    pub(crate) admin: SocketAddr,
    /// An address that nothing else uses.
    pub(crate) spare: SocketAddr,
    /// A directory for certificates.
    pub(crate) directory: &'a Path,
}

pub(in crate::contenders) fn recipe(
    contender: Contender,
    programs: &Programs,
    place: &Place<'_>,
) -> Result<Recipe> {
    let &Place { control, public, secure, spare, directory, .. } = place;
    // Nobody asks for its metrics: any port will do that the kernel has.
    let admin = loopback(0);
    let web = WebPlace { control, http: public, https: secure, admin, spare, directory };
    let server = relay(contender, programs, web)?;
    let mut client = programs.command(contender, "client")?;
    client
        .args(["http", &place.local.to_string()])
        .args(["--subdomain", TUNNEL])
        .args(["--server", &place.reach.to_string()]);
    Ok(Recipe { server, client: Some(client) })
}

/// A relay for requests of the hosts below [`DOMAIN`].
pub(crate) fn relay(
    contender: Contender,
    programs: &Programs,
    place: WebPlace<'_>,
) -> Result<Command> {
    let mut relay = programs.command(contender, "relay")?;
    relay
        .args(["--control", &place.control.to_string()])
        .args(["--public", &place.spare.to_string()])
        .args(["--http", &place.http.to_string()])
        .args(["--https", &place.https.to_string()])
        .args(["--admin", &place.admin.to_string()])
        .args(["--domain", DOMAIN, "--certs"])
        .arg(folder_of_certificates(place.directory)?);
    if contender != Contender::OursWebLog {
        relay.args(["--access-log", "off"]);
    }
    Ok(relay)
}

/// One with the certificate that is kept in that directory.
fn folder_of_certificates(directory: &Path) -> Result<PathBuf> {
    let Certificate { certificate, key, .. } = Certificate::kept_in(directory)?;
    let folder = directory.join("certs");
    fs::create_dir_all(&folder).context("making a folder of certificates")?;
    for (from, to) in [(certificate, "web.crt"), (key, "web.key")] {
        fs::copy(from, folder.join(to)).context("filling a folder of certificates")?;
    }
    Ok(folder)
}

/// Where a relay with many routes and its clients shall listen and connect.
#[derive(Debug)]
pub(crate) struct RoutesPlace {
    /// Where the relay listens for clients.
    pub(crate) control: SocketAddr,
    /// Where visitors come.
    pub(crate) http: SocketAddr,
    /// Where visitors could come by TLS.
    pub(crate) https: SocketAddr,
    /// Where the relay tells its metrics.
    pub(crate) admin: SocketAddr,
    /// An address that nothing else uses.
    pub(crate) spare: SocketAddr,
    /// The local service that all tunnels lead to.
    pub(crate) local: SocketAddr,
    /// How many routes there are, each to a tunnel of its own.
    pub(crate) routes: usize,
    /// A directory for configuration files.
    pub(crate) directory: PathBuf,
}

impl RoutesPlace {
    /// How many clients the routes need.
    pub(crate) fn clients(&self) -> usize {
        self.routes.div_ceil(TUNNELS_EACH)
    }

    /// The routes of one of the clients, all numbered from 0.
    pub(crate) fn tunnels_of(&self, client: usize) -> Range<usize> {
        let first = client * TUNNELS_EACH;
        first..self.routes.min(first + TUNNELS_EACH)
    }

    /// The host of one of the routes, numbered from 0.
    pub(crate) fn host(number: usize) -> String {
        format!("{}.{DOMAIN}", label(number))
    }
}

pub(crate) fn routes_server(
    contender: Contender,
    programs: &Programs,
    place: &RoutesPlace,
) -> Result<Command> {
    let &RoutesPlace { control, http, https, admin, spare, .. } = place;
    let web = WebPlace { control, http, https, admin, spare, directory: &place.directory };
    relay(contender, programs, web)
}

/// How one of the clients is started, numbered from 0.
pub(crate) fn routes_client(
    contender: Contender,
    programs: &Programs,
    place: &RoutesPlace,
    number: usize,
) -> Result<Command> {
    let mut text = format!("server = \"{}\"\n", place.control);
    for tunnel in place.tunnels_of(number) {
        // The subdomain is the tunnel's name.
        writeln!(text, "[tunnels.{}]\nlocal = \"http://{}\"", label(tunnel), place.local)?;
    }
    let file = place.directory.join(format!("client-{number}.toml"));
    fs::write(&file, text).context("writing a client's file")?;
    let mut client = programs.command(contender, "client")?;
    client.args(["--reconnect", "always", "--config"]).arg(file);
    Ok(client)
}

fn label(number: usize) -> String {
    format!("t{number}")
}

/// A client may have 4,096.
const TUNNELS_EACH: usize = 4_000;
