//! How our own relay and client are started, of whichever build.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::{interval, timeout};

use super::fleet::FleetPlace;
use super::{Contender, Place, Recipe};
use crate::programs::Programs;
use crate::scrape::Scrape;

pub(crate) mod web;

pub(super) fn recipe(
    contender: Contender,
    programs: &Programs,
    place: &Place<'_>,
) -> Result<Recipe> {
    let Setup { connections, threads } = Setup::of(contender);
    let mut server = relay(contender, programs, place.directory)?;
    server
        .args(["--control", &place.control.to_string()])
        .args(["--public", &place.public.to_string()])
        .args(["--admin", &place.spare.to_string()]);
    if threads > 1 {
        server.args(["--threads", &threads.to_string()]);
    }
    let mut client = client(contender, programs, place.directory)?;
    client.args(["--server", &place.reach.to_string()]).args(["--local", &place.local.to_string()]);
    if connections > 1 {
        client.args(["--connections", &connections.to_string()]);
    }
    Ok(Recipe { server, client: Some(client) })
}

pub(super) fn fleet_server(
    contender: Contender,
    programs: &Programs,
    place: &FleetPlace,
) -> Result<Command> {
    let mut server = relay(contender, programs, &place.directory)?;
    server
        .args(["--control", &place.control.to_string()])
        .args(["--public", &place.spare.to_string()])
        .args(["--ports", &format!("{}-{}", place.ports.start, place.ports.end - 1)])
        .args(["--admin", &place.admin.to_string()]);
    Ok(server)
}

pub(super) fn fleet_client(
    contender: Contender,
    programs: &Programs,
    place: &FleetPlace,
    number: usize,
) -> Result<Command> {
    let mut client = client(contender, programs, &place.directory)?;
    client.args(["--server", &place.control.to_string()]).args(["--reconnect", "always"]);
    for tunnel in place.tunnels_of(number) {
        let port = tunnel.public.port();
        client.args(["--tunnel", &format!("{}=tcp://{}?port={port}", tunnel.name, place.local)]);
    }
    Ok(client)
}

/// A relay as far as it is the same for one client and for many.
fn relay(contender: Contender, programs: &Programs, directory: &Path) -> Result<Command> {
    let mut relay = programs.command(contender, "relay")?;
    if contender.has_tls() {
        let made = Made::kept_in(directory, contender, programs)?;
        relay.args(["--tls", "self-signed", "--require-tls", "--data"]).arg(made.data);
    }
    Ok(relay)
}

/// A client of that relay.
fn client(contender: Contender, programs: &Programs, directory: &Path) -> Result<Command> {
    let mut client = programs.command(contender, "client")?;
    if contender.has_tls() {
        let made = Made::kept_in(directory, contender, programs)?;
        client.args(["--tls", "--tls-pin", &made.pin]).env("CLIENT_TOKEN", &made.token);
    }
    Ok(client)
}

/// Waits until all connections are up, of which the first carries visitors already.
pub(crate) async fn until_complete(contender: Contender, admin: SocketAddr) -> Result<()> {
    let Setup { connections, .. } = Setup::of(contender);
    if connections == 1 {
        return Ok(());
    }
    let wanted = format!("relay_sessions {connections}\n");
    let complete = async {
        let mut looks = interval(COMPLETE.1);
        loop {
            looks.tick().await;
            if Scrape::take(admin).await?.text.contains(&wanted) {
                return Ok(());
            }
        }
    };
    timeout(COMPLETE.0, complete).await.context("not all connections came up")?
}

/// What `relay init` makes.
pub(crate) struct Made {
    data: PathBuf,
    pin: String,
    pub(crate) token: String,
}

impl Made {
    /// What is in that directory. It is made unless it is there already: a relay that is started
    /// again has to be known to its clients.
    pub(crate) fn kept_in(
        directory: &Path,
        contender: Contender,
        programs: &Programs,
    ) -> Result<Self> {
        let (file, data) = (directory.join("made.json"), directory.join("data"));
        if !file.exists() {
            let mut relay = programs.command(contender, "relay")?;
            relay.args(["init", "--json", "--data"]).arg(&data);
            let done = relay.arg("--config").arg(directory.join("relay.toml")).output()?;
            let said = String::from_utf8_lossy(&done.stderr);
            ensure!(done.status.success(), "relay init: {}", said.trim());
            fs::write(&file, done.stdout).context("keeping what relay init has made")?;
        }
        let made: Value = serde_json::from_slice(&fs::read(&file)?).context("relay init")?;
        let text = |key: &str| made[key].as_str().map(str::to_owned).context("relay init");
        Ok(Self { data, pin: text("pin")?, token: text("token")? })
    }

    /// The relay's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.data.join("control-cert.pem")
    }
}

/// What contenders of ours differ in.
struct Setup {
    /// Of the client to the relay.
    connections: u16,
    /// Of the relay, that move data.
    threads: u16,
}

impl Setup {
    fn of(contender: Contender) -> Self {
        match contender {
            Contender::OursTwo => Self { connections: 2, threads: 2 },
            Contender::OursEight => Self { connections: 8, threads: 1 },
            _ => Self { connections: 1, threads: 1 },
        }
    }
}

/// How long connections may take to come up, and how often to look.
const COMPLETE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(20));
