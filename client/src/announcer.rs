//! What is announced of a client, although each of its connections is told.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;
use shared::control::protocol::{MAX_ENTRANCES, Refusal, TunnelName};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::connect::Public;
use crate::status::{Event, LiveTunnel, Status};

/// So many records of a tunnel are in the log: two for each host that it can have.
const MOST_RECORDS: usize = 2 * MAX_ENTRANCES;

/// Announces what happens to the client once, and keeps its status.
pub(crate) struct Announcer<'a, A>(Mutex<Announced<'a, A>>);

struct Announced<'a, A> {
    announce: A,
    /// Holds the tunnels, which are changed in place: there may be thousands.
    status: &'a watch::Sender<Status>,
    /// Each tunnel that another client serves, with the connections that were told so.
    standing_by: BTreeMap<TunnelName, HashSet<u16>>,
    /// Each tunnel that the relay refused, with why.
    refused: HashMap<TunnelName, String>,
    /// Each tunnel that waits for a record, with what was said of it.
    waiting: HashMap<TunnelName, Refusal>,
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
        status.send_replace(Status::Live(tunnels));
        let (standing_by, refused, waiting) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        Self(Mutex::new(Announced { announce, status, standing_by, refused, waiting }))
    }

    /// Where visitors reach each tunnel.
    pub(crate) fn public(&self) -> Public {
        let announced = self.0.lock();
        let status = announced.status.borrow();
        let tunnels = status.tunnels().iter();
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
            Event::Waiting(name, refusal) => announced.waits(name, refusal),
            other => (announced.announce)(other),
        }
    }

    /// A connection has ended, and others are up: what it was told does not count any more.
    pub(crate) fn gone(&self, number: u16) {
        let mut announced = self.0.lock();
        let told = announced.standing_by.iter().filter(|(_, told)| told.contains(&number));
        for name in told.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            announced.stands_by_no_more(number, &name);
        }
    }
}

impl<A: FnMut(Event)> Announced<'_, A> {
    /// It is open, leads elsewhere, or comes to this client again.
    fn live(&mut self, number: u16, tunnel: LiveTunnel) {
        let was_refused = self.refused.remove(&tunnel.name).is_some();
        let has_waited = self.waiting.remove(&tunnel.name).is_some();
        if has_waited {
            info!(tunnel = %tunnel.name, "the record that it waited for has been seen");
        }
        let is_new = self.status.send_if_modified(|status| {
            let Status::Live(tunnels) = status else { return false };
            match tunnels.iter_mut().find(|known| known.name == tunnel.name) {
                Some(known) if *known == tunnel => return false,
                Some(known) => known.clone_from(&tunnel),
                None => tunnels.push(tunnel.clone()),
            }
            true
        });
        // Whoever was told that it is not there has to be told that it is.
        if is_new || was_refused || has_waited {
            self.forget(number, &tunnel.name);
            (self.announce)(Event::Live(tunnel));
        } else {
            self.stands_by_no_more(number, &tunnel.name);
        }
    }

    /// The client does not have it any more, or does not wait for it.
    fn closed(&mut self, name: TunnelName) {
        self.refused.remove(&name);
        let has_waited = self.waiting.remove(&name).is_some();
        if self.take_down(&name) || has_waited {
            (self.announce)(Event::Closed(name));
        }
    }

    /// Nobody reaches it any more. Returns whether somebody did.
    fn take_down(&mut self, name: &TunnelName) -> bool {
        self.standing_by.remove(name);
        self.status.send_if_modified(|status| {
            let Status::Live(tunnels) = status else { return false };
            let at = tunnels.iter().position(|tunnel| tunnel.name == *name);
            at.map(|at| tunnels.remove(at)).is_some()
        })
    }

    /// Said once, however often the relay says so. A host that has to be proven leads to none of the
    /// client's connections.
    fn waits(&mut self, name: TunnelName, refusal: Refusal) {
        self.refused.remove(&name);
        self.take_down(&name);
        if self.waiting.get(&name) == Some(&refusal) {
            return;
        }
        let for_what = if refusal.records.is_empty() { "" } else { " for a record in the DNS" };
        warn!(tunnel = %name, "the tunnel waits{for_what}: {refusal}");
        for record in refusal.records.iter().take(MOST_RECORDS) {
            warn!(tunnel = %name, "a record that would do: {record}");
        }
        self.waiting.insert(name.clone(), refusal.clone());
        (self.announce)(Event::Waiting(name, refusal));
    }

    fn refused(&mut self, name: TunnelName, reason: String) {
        self.waiting.remove(&name);
        let before = self.refused.insert(name.clone(), reason.clone());
        if before.as_ref() != Some(&reason) {
            (self.announce)(Event::Refused(name, reason));
        }
    }

    fn stand_by(&mut self, number: u16, name: TunnelName) {
        if self.tunnel(&name).is_none() {
            return;
        }
        let told = self.standing_by.entry(name.clone()).or_default();
        let is_first = told.is_empty();
        told.insert(number);
        if is_first {
            (self.announce)(Event::Standby(name));
        }
    }

    /// A tunnel that no connection stands by for any more is live.
    fn stands_by_no_more(&mut self, number: u16, name: &TunnelName) {
        if self.forget(number, name)
            && let Some(tunnel) = self.tunnel(name)
        {
            (self.announce)(Event::Live(tunnel));
        }
    }

    /// Forgets that the connection was told to stand by. Returns whether it was the last one.
    fn forget(&mut self, number: u16, name: &TunnelName) -> bool {
        let Some(told) = self.standing_by.get_mut(name) else { return false };
        told.remove(&number);
        let was_last = told.is_empty();
        if was_last {
            self.standing_by.remove(name);
        }
        was_last
    }

    fn tunnel(&self, name: &TunnelName) -> Option<LiveTunnel> {
        let status = self.status.borrow();
        status.tunnels().iter().find(|tunnel| tunnel.name == *name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use shared::control::protocol::RefusalCode;

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

    #[test]
    fn what_is_waited_for_is_announced_once_however_often_it_is_asked_for() {
        let mut heard = Vec::new();
        let name: TunnelName = "web".parse().unwrap();
        let refusal = |text| Refusal::new(RefusalCode::HostNotProven, text);
        let (one, other) = (refusal("make one record"), refusal("make another"));
        let public = vec!["https://app.example.com".parse().unwrap()];
        let live = LiveTunnel { name: name.clone(), public, local: "127.0.0.1:80".into() };
        let status = watch::Sender::new(Status::Connecting);
        let announcer = Announcer::new(|event| heard.push(event), &status, Vec::new());
        let waiting = |refusal: &Refusal| Event::Waiting(name.clone(), refusal.clone());
        for event in [waiting(&one), waiting(&one), waiting(&other), Event::Live(live.clone())] {
            for number in 0..2 {
                announcer.heard(number, event.clone());
            }
        }
        // It has lost it again, and gets it again.
        announcer.heard(0, waiting(&other));
        assert!(status.borrow().tunnels().is_empty(), "nobody reaches it");
        let live = Event::Live(live);
        for number in 0..2 {
            announcer.heard(number, live.clone());
        }
        drop(announcer);
        let twice = [live.clone(), waiting(&other), live];
        assert_eq!(heard[..2], [waiting(&one), waiting(&other)]);
        assert_eq!(heard[2..], twice);
    }

    #[test]
    fn a_tunnel_that_waits_and_is_given_up_is_closed_and_waits_anew_if_it_is_asked_for_again() {
        let mut heard = Vec::new();
        let name: TunnelName = "web".parse().unwrap();
        let refusal = Refusal::new(RefusalCode::HostNotProven, "make a record");
        let status = watch::Sender::new(Status::Connecting);
        let announcer = Announcer::new(|event| heard.push(event), &status, Vec::new());
        let (waiting, closed) = (Event::Waiting(name.clone(), refusal), Event::Closed(name));
        for event in [&waiting, &closed, &waiting] {
            (0..2).for_each(|number| announcer.heard(number, event.clone()));
        }
        drop(announcer);
        assert_eq!(heard, [waiting.clone(), closed, waiting]);
    }

    #[test]
    fn a_tunnel_that_was_refused_and_comes_is_live_although_another_connection_had_it() {
        let mut heard = Vec::new();
        let name: TunnelName = "web".parse().unwrap();
        let public = vec!["tcp://relay:8080".parse().unwrap()];
        let tunnel = LiveTunnel { name: name.clone(), public, local: "127.0.0.1:80".into() };
        let (live, refused) = (Event::Live(tunnel.clone()), Event::Refused(name, "no".into()));
        let status = watch::Sender::new(Status::Connecting);
        let announcer = Announcer::new(|event| heard.push(event), &status, vec![tunnel]);
        announcer.heard(1, refused.clone());
        (0..2).for_each(|_| announcer.heard(1, live.clone()));
        drop(announcer);
        assert_eq!(heard, [live.clone(), refused, live]);
    }

    #[test]
    fn what_becomes_of_one_tunnel_copies_no_other() {
        let tunnel = |n: u16| LiveTunnel {
            name: format!("t{n}").parse().unwrap(),
            public: vec![format!("tcp://relay:{n}").parse().unwrap()],
            local: "127.0.0.1:80".into(),
        };
        let status = watch::Sender::new(Status::Connecting);
        let announcer = Announcer::new(|_| (), &status, (1..=9).map(tunnel).collect());
        let place = || status.borrow().tunnels().as_ptr();
        let before = place();
        announcer.heard(0, Event::Live(LiveTunnel { local: "127.0.0.1:81".into(), ..tunnel(5) }));
        announcer.heard(0, Event::Closed(tunnel(3).name));
        assert_eq!(place(), before);
        assert_eq!(status.borrow().public_addresses().len(), 8);
    }
}
