//! A relay with many clients of several tunnels each.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;

use crate::contenders::Contender;
use crate::contenders::fleet::FleetPlace;
use crate::load::visitor::Visitor;
use crate::ports;
use crate::proc;
use crate::process::Process;
use crate::tunnel::{Workshop, until_listening};
use crate::wait::until;

/// A running relay and its clients; all are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    contender: Contender,
    workshop: &'a Workshop<'a>,
    place: FleetPlace,
    // In the order of dropping: the clients first, so that they do not look for their relay.
    clients: Vec<Process>,
    relay: Option<Process>,
}

impl<'a> Fleet<'a> {
    /// Starts the relay alone, with room for that many tunnels, and waits until it listens.
    pub(crate) async fn start(
        contender: Contender,
        tunnels: usize,
        tunnels_each: usize,
        workshop: &'a Workshop<'a>,
    ) -> Result<Self> {
        // The relay's own ports too must be none of the kernel's: thousands of visits take those,
        // and a client that looks for its relay might meet itself there.
        let Range { start, end } = ports::free_stretch(tunnels + usize::from(RELAYS_OWN))?;
        let place = FleetPlace {
            control: ports::loopback(start),
            admin: ports::loopback(start + 1),
            spare: ports::loopback(start + 2),
            local: workshop.local,
            ports: start + RELAYS_OWN..end,
            tunnels_each,
            directory: workshop.empty_directory(&format!("{}-fleet", contender.file_name()))?,
        };
        let mut fleet = Self { contender, workshop, place, clients: Vec::new(), relay: None };
        fleet.start_relay()?;
        let relay = fleet.relay.as_mut().context("the relay was started")?;
        until_listening(fleet.place.control, relay).await?;
        Ok(fleet)
    }

    /// Starts all clients, one after the other, and waits for none.
    pub(crate) fn start_clients(&mut self) -> Result<()> {
        for number in 0..self.place.ports.len() / self.place.tunnels_each {
            let programs = self.workshop.programs;
            let name = format!("{}-fleet-client-{number}", self.contender.file_name());
            let command = self.contender.fleet_client(programs, &self.place, number)?;
            self.clients.push(Process::start(command, &name, self.workshop.logs)?);
        }
        Ok(())
    }

    /// Kills the relay, which leaves it no time to say anything, and starts it again.
    pub(crate) fn restart_relay(&mut self) -> Result<()> {
        self.relay = None;
        self.start_relay()
    }

    /// Waits until the relay listens for the visitors of every tunnel, and some visitors have been
    /// answered through tunnels all over the fleet.
    pub(crate) async fn until_live(&mut self) -> Result<()> {
        let wanted = self.place.ports.len();
        until(async |time| {
            self.check_running()?;
            let found = ports::listening(&self.place.ports)?;
            ensure!(
                found == wanted || time < LIVE,
                "{found} of {wanted} tunnels live within {LIVE:?}"
            );
            Ok((found == wanted).then_some(()))
        })
        .await?;
        for public in self.sample() {
            until_answering(public).await?;
        }
        Ok(())
    }

    /// Where everything is.
    pub(crate) fn place(&self) -> &FleetPlace {
        &self.place
    }

    /// Where the visitors of all tunnels come.
    pub(crate) fn publics(&self) -> impl Iterator<Item = SocketAddr> {
        self.place.tunnels().map(|tunnel| tunnel.public)
    }

    /// Where the relay tells its metrics, if it does.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.contender.tells_metrics().then_some(self.place.admin)
    }

    /// CPU time that the relay has used so far, in seconds.
    pub(crate) fn relay_cpu_seconds(&self) -> Result<f64> {
        proc::cpu_seconds(self.relay_pid()?)
    }

    /// Resident memory of the relay.
    pub(crate) fn relay_resident_bytes(&self) -> Result<u64> {
        proc::resident_bytes(self.relay_pid()?)
    }

    /// An error if the relay or a client has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        self.relay.iter_mut().chain(&mut self.clients).try_for_each(Process::check_running)
    }

    fn start_relay(&mut self) -> Result<()> {
        let command = self.contender.fleet_server(self.workshop.programs, &self.place)?;
        let name = format!("{}-fleet-server", self.contender.file_name());
        self.relay = Some(Process::start(command, &name, self.workshop.logs)?);
        Ok(())
    }

    fn relay_pid(&self) -> Result<u32> {
        Ok(self.relay.as_ref().context("the relay runs")?.pid())
    }

    /// Tunnels of clients all over the fleet, at different places among a client's tunnels. Few of
    /// all, so that hardly any is no longer one that nobody has visited.
    fn sample(&self) -> Vec<SocketAddr> {
        self.publics().step_by(self.place.ports.len() / SAMPLE + 1).collect()
    }
}

async fn until_answering(public: SocketAddr) -> Result<()> {
    until(async |time| {
        let answered = matches!(timeout(ONE_TRY, Visitor::visit_once(public)).await, Ok(Ok(())));
        ensure!(answered || time < LIVE, "no answer through {public} within {LIVE:?}");
        Ok(answered.then_some(()))
    })
    .await
}

/// Ports of the relay that are no tunnel's: for clients, for metrics and a spare one.
const RELAYS_OWN: u16 = 3;

/// How long all tunnels may take to become live, also after the relay was away.
const LIVE: Duration = Duration::from_secs(90);

/// How long one visit may take of a tunnel that is not live for certain.
const ONE_TRY: Duration = Duration::from_secs(1);

/// About how many tunnels are visited to see that the fleet is live.
const SAMPLE: usize = 50;
