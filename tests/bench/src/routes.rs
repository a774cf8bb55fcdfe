//! A relay with many routes of the web, which few clients bring.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::contenders::Contender;
use crate::contenders::ours::web::{self, RoutesPlace};
use crate::ports::free_address;
use crate::proc;
use crate::process::Process;
use crate::scrape::Scrape;
use crate::tunnel::{Workshop, until_listening};
use crate::wait::until;

/// A running relay and its clients; all are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct RoutedRelay<'a> {
    contender: Contender,
    workshop: &'a Workshop<'a>,
    place: RoutesPlace,
    name: String,
    // In the order of dropping: the clients first, so that they do not look for their relay.
    clients: Vec<Process>,
    relay: Process,
}

impl<'a> RoutedRelay<'a> {
    /// Starts the relay alone, for that many routes, and waits until it listens.
    pub(crate) async fn start(
        contender: Contender,
        routes: usize,
        workshop: &'a Workshop<'a>,
    ) -> Result<Self> {
        let name = format!("{}-routes-{routes}", contender.file_name());
        let place = RoutesPlace {
            control: free_address()?,
            http: free_address()?,
            https: free_address()?,
            admin: free_address()?,
            spare: free_address()?,
            local: workshop.local,
            routes,
            directory: workshop.empty_directory(&name)?,
        };
        let command = web::routes_server(contender, workshop.programs, &place)?;
        let mut relay = Process::start(command, &format!("{name}-server"), workshop.logs)?;
        until_listening(place.control, &mut relay).await?;
        Ok(Self { contender, workshop, place, name, clients: Vec::new(), relay })
    }

    /// Starts as many clients as the routes need, and waits for none.
    pub(crate) fn start_clients(&mut self) -> Result<()> {
        for number in 0..self.place.clients() {
            let programs = self.workshop.programs;
            let command = web::routes_client(self.contender, programs, &self.place, number)?;
            let name = format!("{}-client-{number}", self.name);
            self.clients.push(Process::start(command, &name, self.workshop.logs)?);
        }
        Ok(())
    }

    /// Waits until the relay says that it has all tunnels.
    pub(crate) async fn until_live(&mut self) -> Result<()> {
        let wanted = self.place.routes;
        until(async |time| {
            self.check_running()?;
            let found = tunnels(&Scrape::take(self.place.admin).await?.text)?;
            ensure!(
                found >= wanted || time < LIVE,
                "{found} of {wanted} tunnels live within {LIVE:?}"
            );
            Ok((found >= wanted).then_some(()))
        })
        .await
    }

    /// Where visitors come.
    pub(crate) fn public(&self) -> SocketAddr {
        self.place.http
    }

    /// Some of the hosts that lead to tunnels, all of the client in the middle: with more clients a
    /// request would cost more, however few routes there were.
    pub(crate) fn hosts(&self, wanted: usize) -> impl Iterator<Item = String> {
        let tunnels = self.place.tunnels_of(self.place.clients() / 2);
        let step = (tunnels.len() / wanted).max(1);
        tunnels.step_by(step).take(wanted).map(RoutesPlace::host)
    }

    /// Memory of the relay that is its own alone.
    pub(crate) fn private_bytes(&self) -> Result<u64> {
        proc::private_bytes(self.relay.pid())
    }

    /// An error if the relay or a client has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        self.relay.check_running()?;
        self.clients.iter_mut().try_for_each(Process::check_running)
    }
}

/// How many tunnels a relay has, by its metrics.
fn tunnels(metrics: &str) -> Result<usize> {
    let Some(number) = metrics.lines().find_map(|line| line.strip_prefix("relay_tunnels ")) else {
        bail!("a relay does not say how many tunnels it has");
    };
    number.parse().context("how many tunnels a relay has")
}

/// How long all tunnels may take to become live.
const LIVE: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_says_how_many_tunnels_it_has() {
        assert_eq!(tunnels("# TYPE relay_tunnels gauge\nrelay_tunnels 11\n").unwrap(), 11);
        tunnels("relay_sessions 1\n").unwrap_err();
    }
}
