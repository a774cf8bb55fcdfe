//! Who serves a tunnel, and who stands by.
//!
//! Claims are those of sessions. The sessions of one client, one for each of its connections,
//! stand together: visitors are spread over them.

use shared::control::protocol::InstanceId;

use crate::target::Target;

/// The claims on one tunnel.
///
/// # Invariants
///
/// - The client that came last serves; those before it stand by, the newest first.
/// - No client is without a session, and no connection is there twice.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Oldest first.
    clients: Vec<Client>,
    next_generation: u64,
}

#[derive(Debug)]
struct Client {
    instance: InstanceId,
    sessions: Vec<Claimant>,
}

#[derive(Debug)]
struct Claimant {
    generation: u64,
    target: Target,
}

impl Claims {
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many claims there have been.
    pub(crate) fn generation(&self) -> u64 {
        self.next_generation
    }

    /// Adds a claim and returns its number. One more connection of a client joins the others where
    /// they are; a client without any comes in front of all.
    pub(crate) fn add(&mut self, target: Target) -> u64 {
        let generation = self.next_generation;
        self.next_generation += 1;
        let connection = target.connection();
        // The same connection, of which the relay has not noticed yet that it was lost.
        self.retain(|claimant| claimant.target.connection() != connection);

        let claimant = Claimant { generation, target };
        let before = self.clients.iter().rposition(|client| client.instance == connection.instance);
        match before {
            Some(at) => {
                if at + 1 < self.clients.len() {
                    claimant.target.notify_standing();
                }
                self.clients[at].sessions.push(claimant);
            }
            None => {
                self.notify_serving();
                let sessions = vec![claimant];
                self.clients.push(Client { instance: connection.instance, sessions });
            }
        }
        generation
    }

    /// Takes a claim away, if it is still there.
    pub(crate) fn remove(&mut self, generation: u64) {
        let was_live = self.is_live(generation);
        let clients = self.clients.len();
        self.retain(|claimant| claimant.generation != generation);
        if was_live && self.clients.len() < clients {
            self.notify_serving();
        }
    }

    /// Whether visitors come to the session with this claim.
    pub(crate) fn is_live(&self, generation: u64) -> bool {
        self.clients.last().is_some_and(|client| {
            client.sessions.iter().any(|claimant| claimant.generation == generation)
        })
    }

    /// The sessions that could serve a visitor: those of each client, the one that serves first.
    pub(crate) fn targets(&self) -> Vec<Vec<Target>> {
        let sessions = |client: &Client| {
            client.sessions.iter().map(|claimant| claimant.target.clone()).collect()
        };
        self.clients.iter().rev().map(sessions).collect()
    }

    fn retain(&mut self, keep: impl Fn(&Claimant) -> bool) {
        for client in &mut self.clients {
            client.sessions.retain(&keep);
        }
        self.clients.retain(|client| !client.sessions.is_empty());
    }

    /// Tells the client that serves that its standing has changed.
    fn notify_serving(&self) {
        for claimant in self.clients.last().into_iter().flat_map(|client| &client.sessions) {
            claimant.target.notify_standing();
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::carry::mux;

    use super::*;
    use crate::target::ConnectionId;

    fn target(instance: InstanceId, number: u16) -> Target {
        let (io, _) = tokio::io::duplex(64);
        let (mux, _, _) = mux::start(io, yamux::Mode::Server, 1);
        Target::new(ConnectionId { instance, number }, mux, 1)
    }

    /// How many sessions each client has, the one that serves first.
    fn shape(claims: &Claims) -> Vec<usize> {
        claims.targets().iter().map(Vec::len).collect()
    }

    #[test]
    fn the_newest_client_serves_and_the_one_before_takes_over() {
        let mut claims = Claims::default();
        let [first, second, third] = [(); 3].map(|()| claims.add(target(InstanceId::random(), 0)));
        let live = |claims: &Claims| [first, second, third].map(|claim| claims.is_live(claim));
        assert_eq!(live(&claims), [false, false, true]);
        claims.remove(second);
        assert_eq!(live(&claims), [false, false, true]);
        claims.remove(third);
        assert_eq!(live(&claims), [true, false, false]);
        claims.remove(first);
        assert!(claims.is_empty());
    }

    #[test]
    fn the_connections_of_a_client_serve_and_stand_by_together() {
        let mut claims = Claims::default();
        let old = InstanceId::random();
        let first = claims.add(target(old, 0));
        let second = claims.add(target(old, 1));
        assert!(claims.is_live(first) && claims.is_live(second));

        let newer = claims.add(target(InstanceId::random(), 0));
        // One more connection does not bring its client to the front.
        let third = claims.add(target(old, 2));
        assert!(claims.is_live(newer) && !claims.is_live(third));
        assert_eq!(shape(&claims), [1, 3]);

        claims.remove(newer);
        assert!([first, second, third].iter().all(|claim| claims.is_live(*claim)));
    }

    #[test]
    fn a_connection_that_comes_back_takes_its_own_place() {
        let mut claims = Claims::default();
        let client = InstanceId::random();
        let lost = claims.add(target(client, 0));
        let other = claims.add(target(client, 1));
        let back = claims.add(target(client, 0));
        assert_eq!(shape(&claims), [2]);
        assert!(!claims.is_live(lost) && claims.is_live(other) && claims.is_live(back));
        // The lost session notices later.
        claims.remove(lost);
        assert_eq!(shape(&claims), [2]);

        // A client without another connection comes to the front.
        let newer = InstanceId::random();
        claims.add(target(newer, 0));
        claims.remove(other);
        let again = claims.add(target(client, 0));
        assert!(claims.is_live(again));
    }
}
