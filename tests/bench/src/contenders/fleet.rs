//! How a relay with many clients of several tunnels each is started, of those who can do that.
//!
//! A client that is refused at first tries again, as one does that nobody looks after: whoever has
//! to be told so is told.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Contender, Kind, frp, ours, rathole};
use crate::programs::Programs;

/// Where a relay and its clients shall listen and connect.
#[derive(Debug)]
pub(crate) struct FleetPlace {
    /// Where the relay listens for clients.
    pub(crate) control: SocketAddr,
    /// Where the relay tells its metrics, if it can.
    pub(crate) admin: SocketAddr,
    /// An address that nothing else uses, for whatever else a relay must listen on.
    pub(crate) spare: SocketAddr,
    /// The local service that all tunnels lead to.
    pub(crate) local: SocketAddr,
    /// Where visitors come: a port for each tunnel, those of the first client first.
    pub(crate) ports: Range<u16>,
    /// How many tunnels each client has.
    pub(crate) tunnels_each: usize,
    /// A directory for configuration files.
    pub(crate) directory: PathBuf,
}

/// One of many tunnels.
#[derive(Debug)]
pub(crate) struct FleetTunnel {
    /// A name that no other tunnel of the relay has.
    pub(crate) name: String,
    /// Where its visitors come.
    pub(crate) public: SocketAddr,
}

impl FleetPlace {
    /// All tunnels, those of the first client first.
    pub(crate) fn tunnels(&self) -> impl Iterator<Item = FleetTunnel> {
        let host = self.control.ip();
        let tunnel = move |port| FleetTunnel {
            name: format!("t{port}"),
            public: SocketAddr::new(host, port),
        };
        self.ports.clone().map(tunnel)
    }

    /// The tunnels of one client, numbered from 0.
    pub(crate) fn tunnels_of(&self, client: usize) -> impl Iterator<Item = FleetTunnel> {
        self.tunnels().skip(client * self.tunnels_each).take(self.tunnels_each)
    }
}

impl Contender {
    /// The most clients of ten tunnels that it is measured with; 0 if it is not measured with many.
    ///
    /// bore and `ssh -R` end with their relay and do not come back, and bore has one tunnel a
    /// process. chisel could do it and is left out. A client of frp's takes some 17 MB of a machine
    /// that has to hold all of them. rathole keeps eight connections ready for every tunnel, which
    /// costs ten descriptors and eight ports of the kernel's for each.
    pub(crate) fn most_clients(self) -> usize {
        match self {
            Self::Ours | Self::Before | Self::OursTls => usize::MAX,
            Self::Frp | Self::FrpTls => 200,
            Self::Rathole | Self::RatholeTls => 100,
            _ => 0,
        }
    }

    /// Whether its relay tells metrics.
    pub(crate) fn tells_metrics(self) -> bool {
        matches!(self.kind(), Kind::Ours | Kind::Before | Kind::Frp)
    }

    /// How the relay is started.
    pub(crate) fn fleet_server(self, programs: &Programs, place: &FleetPlace) -> Result<Command> {
        match self.kind() {
            Kind::Ours | Kind::Before => ours::fleet_server(self, programs, place),
            Kind::Frp => frp::fleet_server(self, programs, place),
            Kind::Rathole => rathole::fleet_server(self, programs, place),
            _ => bail!("{} has no way to serve many clients", self.name()),
        }
    }

    /// How one of the clients is started, numbered from 0.
    pub(crate) fn fleet_client(
        self,
        programs: &Programs,
        place: &FleetPlace,
        number: usize,
    ) -> Result<Command> {
        match self.kind() {
            Kind::Ours | Kind::Before => ours::fleet_client(self, programs, place, number),
            Kind::Frp => frp::fleet_client(self, programs, place, number),
            Kind::Rathole => rathole::fleet_client(self, programs, place, number),
            _ => bail!("{} has no way to be one of many clients", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_no_port_and_leave_none_out() {
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        let place = FleetPlace {
            control: any,
            admin: any,
            spare: any,
            local: any,
            ports: 10_000..10_006,
            tunnels_each: 2,
            directory: PathBuf::new(),
        };
        let ports = (0..3).flat_map(|client| place.tunnels_of(client));
        let ports: Vec<u16> = ports.map(|tunnel| tunnel.public.port()).collect();
        assert_eq!(ports, [10_000, 10_001, 10_002, 10_003, 10_004, 10_005]);
    }
}
