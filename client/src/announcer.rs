//! What is announced of a client, although each of its connections is told.

use parking_lot::Mutex;
use shared::control::protocol::TunnelName;
use tokio::sync::watch;

use crate::connect::Public;
use crate::status::{Event, LiveTunnel, Status};

/// Announces what happens to the client once, and keeps its status.
pub(crate) struct Announcer<'a, A>(Mutex<Announced<'a, A>>);

struct Announced<'a, A> {
    announce: A,
    status: &'a watch::Sender<Status>,
    tunnels: Vec<LiveTunnel>,
    /// Each tunnel that another client serves, with the connection that was told so.
    standing_by: Vec<(u16, TunnelName)>,
    /// Each tunnel that the relay refused, with why.
    refused: Vec<(TunnelName, String)>,
}

impl<'a, A: FnMut(Event)> Announcer<'a, A> {
    /// An announcer for a client that has just become live with `tunnels`, which it says.
    pub(crate) fn new(
        mut announce: A,
        status: &'a watch::Sender<Status>,
        tunnels: Vec<LiveTunnel>,
    ) -> Self {
        for tunnel in &tunnels {
            announce(Event::Live(tunnel.clone()));
        }
        status.send_replace(Status::Live(tunnels.clone()));
        let (standing_by, refused) = (Vec::new(), Vec::new());
        Self(Mutex::new(Announced { announce, status, tunnels, standing_by, refused }))
    }

    /// Where visitors reach each tunnel.
    pub(crate) fn public(&self) -> Public {
        let announced = self.0.lock();
        let tunnels = announced.tunnels.iter();
        tunnels.map(|tunnel| (tunnel.name.clone(), tunnel.public.clone())).collect()
    }

    /// A connection was told of an event.
    pub(crate) fn heard(&self, number: u16, event: Event) {
        let mut announced = self.0.lock();
        match event {
            Event::Live(tunnel) => announced.live(number, tunnel),
            Event::Standby(name) => announced.stand_by(number, name),
            Event::Closed(name) => announced.closed(name),
            Event::Refused(name, reason) => announced.refused(name, reason),
            other => (announced.announce)(other),
        }
    }

    /// A connection has ended, and others are up: what it was told does not count any more.
    pub(crate) fn gone(&self, number: u16) {
        self.0.lock().forget(|by, _| by == number);
    }
}

impl<A: FnMut(Event)> Announced<'_, A> {
    /// It is open, leads elsewhere, or comes to this client again.
    fn live(&mut self, number: u16, tunnel: LiveTunnel) {
        let name = tunnel.name.clone();
        self.refused.retain(|(refused, _)| *refused != name);
        match self.tunnels.iter_mut().find(|known| known.name == name) {
            Some(known) if *known == tunnel => {
                self.forget(|by, standing| by == number && *standing == name);
                return;
            }
            Some(known) => {
                *known = tunnel.clone();
                self.standing_by.retain(|(by, standing)| *by != number || *standing != name);
            }
            None => self.tunnels.push(tunnel.clone()),
        }
        self.status.send_replace(Status::Live(self.tunnels.clone()));
        (self.announce)(Event::Live(tunnel));
    }

    fn closed(&mut self, name: TunnelName) {
        self.standing_by.retain(|(_, standing)| *standing != name);
        let tunnels = self.tunnels.len();
        self.tunnels.retain(|tunnel| tunnel.name != name);
        if self.tunnels.len() < tunnels {
            self.status.send_replace(Status::Live(self.tunnels.clone()));
            (self.announce)(Event::Closed(name));
        }
    }

    fn refused(&mut self, name: TunnelName, reason: String) {
        let refusal = (name, reason);
        if !self.refused.contains(&refusal) {
            self.refused.retain(|(refused, _)| *refused != refusal.0);
            self.refused.push(refusal.clone());
            (self.announce)(Event::Refused(refusal.0, refusal.1));
        }
    }

    fn stand_by(&mut self, number: u16, name: TunnelName) {
        let is_known = self.tunnels.iter().any(|tunnel| tunnel.name == name);
        if !is_known || self.standing_by.contains(&(number, name.clone())) {
            return;
        }
        if !self.is_standing_by(&name) {
            (self.announce)(Event::Standby(name.clone()));
        }
        self.standing_by.push((number, name));
    }

    /// Forgets what `which` finds. A tunnel that no connection stands by for any more is live.
    fn forget(&mut self, which: impl Fn(u16, &TunnelName) -> bool) {
        let forgotten = self.standing_by.extract_if(.., |(number, name)| which(*number, name));
        for (_, name) in forgotten.collect::<Vec<_>>() {
            let tunnel = self.tunnels.iter().find(|tunnel| tunnel.name == name);
            if let Some(tunnel) = tunnel.filter(|_| !self.is_standing_by(&name)) {
                (self.announce)(Event::Live(tunnel.clone()));
            }
        }
    }

    fn is_standing_by(&self, name: &TunnelName) -> bool {
        self.standing_by.iter().any(|(_, told)| told == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_connections_are_told_is_announced_once() {
        let mut heard = Vec::new();
        let name: TunnelName = "web".parse().unwrap();
        let public = vec!["tcp://relay:8080".parse().unwrap()];
        let local = "127.0.0.1:80".into();
        let tunnel = LiveTunnel { name: name.clone(), public, local };
        let (standby, live) = (Event::Standby(name), Event::Live(tunnel.clone()));

        let status = watch::Sender::new(Status::Connecting);
        let announcer = Announcer::new(|event| heard.push(event), &status, vec![tunnel]);
        for (number, event) in [(0, &standby), (1, &standby), (0, &live), (1, &live), (1, &standby)]
        {
            announcer.heard(number, event.clone());
        }
        announcer.gone(0);
        // It was lost before it was told that the tunnel is live again.
        announcer.gone(1);
        drop(announcer);
        assert_eq!(heard, [live.clone(), standby.clone(), live.clone(), standby, live]);
    }

    #[test]
    fn tunnels_that_come_change_and_go_are_announced_once_and_kept_in_the_status() {
        let mut heard = Vec::new();
        let name: TunnelName = "web".parse().unwrap();
        let public = vec!["tcp://relay:8080".parse().unwrap()];
        let tunnel = LiveTunnel { name: name.clone(), public, local: "127.0.0.1:80".into() };
        let moved = LiveTunnel { local: "127.0.0.1:81".into(), ..tunnel.clone() };
        let refused = Event::Refused("db".parse().unwrap(), "taken".into());
        let status = watch::Sender::new(Status::Connecting);
        let announcer = Announcer::new(|event| heard.push(event), &status, Vec::new());
        let events = [
            Event::Live(tunnel.clone()),
            Event::Live(moved.clone()),
            Event::Closed(name),
            refused.clone(),
        ];
        for event in &events {
            for number in 0..2 {
                announcer.heard(number, event.clone());
            }
        }
        drop(announcer);
        assert_eq!(heard, events);
        assert_eq!(*status.borrow(), Status::Live(Vec::new()));
    }
}
