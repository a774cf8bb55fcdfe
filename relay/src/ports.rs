//! The public ports of tunnels: which are allowed, and binding one.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use shared::control::protocol::{Refusal, RefusalCode, TunnelRequest};
use shared::kit::net::{Peers, listen_on};
use tokio::net::TcpListener;

use crate::config::PortRange;

/// Where the ports of tunnels are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// The address that `--public` is bound to; tunnels are reached where it is.
    pub(crate) ip: IpAddr,
    /// The ports that may be used.
    pub(crate) range: PortRange,
}

impl Ports {
    /// Binds the port that `request` insists on, else the one that it prefers, else any. The ports
    /// in `taken` are not worth an attempt.
    ///
    /// # Errors
    ///
    /// A refusal that tells the client what is wrong with the port, or that none is free.
    pub(crate) fn bind(
        &self,
        request: &TunnelRequest,
        taken: &HashSet<u16>,
    ) -> Result<TcpListener, Refusal> {
        if let Some(port) = request.port {
            return self.bind_exactly(port);
        }
        if let Some(port) = request.prefer.filter(|port| self.range.allows(*port))
            && let Ok(listener) = self.listen(port)
        {
            return Ok(listener);
        }
        for port in self.range.iter().filter(|port| !taken.contains(port)) {
            match self.listen(port) {
                Ok(listener) => return Ok(listener),
                Err(err) if err.kind() == io::ErrorKind::AddrInUse => (),
                // Out of files, say: the next port will not do better.
                Err(err) => {
                    let message = format!("the relay cannot open one more port: {err}");
                    return Err(Refusal::new(RefusalCode::NoPortFree, message));
                }
            }
        }
        let message = format!("every public port of the range {} is taken", self.range);
        Err(Refusal::new(RefusalCode::NoPortFree, message))
    }

    fn bind_exactly(&self, port: u16) -> Result<TcpListener, Refusal> {
        if !self.range.allows(port) {
            let message = format!(
                "the relay does not give out port {port}: ask for one of {} or for none",
                self.range
            );
            return Err(Refusal::new(RefusalCode::PortNotAllowed, message));
        }
        self.listen(port).map_err(|err| {
            let message = format!("the relay cannot open port {port}: {err}");
            Refusal::new(RefusalCode::PortTaken, message)
        })
    }

    fn listen(&self, port: u16) -> io::Result<TcpListener> {
        listen_on((self.ip, port).into(), Peers::Visitors)
    }
}
