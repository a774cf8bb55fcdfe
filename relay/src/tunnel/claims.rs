//! Who serves a tunnel, and who stands by.
//!
//! Claims are those of sessions. The sessions of one client, one for each of its connections,
//! stand together: visitors are spread over them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::control::protocol::InstanceId;

use super::Conditions;
use super::candidate::{Candidate, Candidates};
use super::claimant::{Claimant, OwnConnection};
use crate::snapshot::{ClientNow, Standing};

/// What a client says of its local service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
    /// Whether the client does without visitors while it is not healthy.
    pub(crate) withdraw: bool,
}

/// The most clients that claim one tunnel: one serves, and the others stand by. Each change of a
/// claim concerns all of them.
pub(crate) const MOST_CLIENTS: usize = 64;

/// The claims on one tunnel.
///
/// # Invariants
///
/// - Of the clients with a healthy local service the one that came last serves; then come the
///   others, the newest first, but for those that withdraw. One that came too soon after too many
///   others counts as older than the one that serves.
/// - No client is without a session, and no connection is there twice.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Oldest first.
    clients: Vec<Client>,
    /// Made for the first visit after a change, so that the next ones cost no more than a pointer,
    /// and changes that no visit comes between cost nothing. `None`: something has changed.
    candidates: Option<Candidates>,
    next_generation: u64,
    takeovers: Takeovers,
}

/// What became of a new claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// Its client comes where it should.
    InPlace,
    /// Its client would have taken the tunnel from another one, which happens too often.
    HeldBack,
}

#[derive(Debug)]
struct Client {
    instance: InstanceId,
    health: Health,
    conditions: Option<Arc<Conditions>>,
    sessions: Vec<(u64, Arc<Claimant>)>,
}

impl Claims {
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whether there is room for a claim of the client.
    pub(crate) fn has_room_for(&self, client: InstanceId) -> bool {
        self.clients.len() < MOST_CLIENTS || self.clients.iter().any(|c| c.instance == client)
    }

    /// Adds a claim and returns its number. One more connection of a client joins the others where
    /// they are; a client without any comes in front of all, unless that happens too often.
    pub(crate) fn add(
        &mut self,
        claimant: Arc<Claimant>,
        health: Health,
        conditions: Option<Arc<Conditions>>,
        now: Instant,
    ) -> (u64, Added) {
        let added = self.place(&claimant, health, now);
        let behind = serving(&self.clients).map(|client| client.instance);
        let behind = behind.filter(|_| added == Added::HeldBack);
        let generation = self.next_generation;
        self.next_generation += 1;
        let newcomer = Arc::clone(&claimant);
        self.change(|clients| {
            let connection = claimant.connection;
            // The same connection, of which the relay has not noticed yet that it was lost.
            retain(clients, |_, other| other.connection != connection);
            match clients.iter_mut().find(|client| client.instance == connection.instance) {
                Some(client) => {
                    client.health = health;
                    client.set_conditions(conditions);
                    client.sessions.push((generation, claimant));
                }
                None => {
                    let sessions = vec![(generation, claimant)];
                    // Most tunnels never have a second one.
                    clients.reserve_exact(1);
                    let instance = connection.instance;
                    let client = Client { instance, health, conditions, sessions };
                    let at = clients.iter().position(|other| Some(other.instance) == behind);
                    clients.insert(at.unwrap_or(clients.len()), client);
                }
            }
        });
        if !self.is_live(generation) {
            // It takes itself for live.
            newcomer.standing_changes();
        }
        (generation, added)
    }

    /// Where a new claim comes. Clients that take a tunnel from each other over and over do not
    /// know of each other, and every visitor may land somewhere else.
    fn place(&mut self, claimant: &Claimant, health: Health, now: Instant) -> Added {
        let instance = claimant.connection.instance;
        let is_there = self.clients.iter().any(|client| client.instance == instance);
        let is_served = serving(&self.clients).is_some_and(|client| client.health.healthy);
        if is_there || !health.healthy || !is_served || self.takeovers.allow(now) {
            Added::InPlace
        } else {
            Added::HeldBack
        }
    }

    /// Takes a claim away, if it is still there.
    pub(crate) fn remove(&mut self, generation: u64) {
        self.change(|clients| retain(clients, |other, _| other != generation));
    }

    /// The client with this claim says how its local service is. Returns whether that is news.
    pub(crate) fn set_health(&mut self, generation: u64, health: Health) -> bool {
        let client = self.clients.iter_mut().find(|client| client.has(generation));
        let Some(client) = client.filter(|client| client.health != health) else { return false };
        let instance = client.instance;
        self.change(|clients| {
            for client in clients.iter_mut().filter(|client| client.instance == instance) {
                client.health = health;
            }
        });
        true
    }

    /// The client with this claim says who may visit.
    pub(crate) fn set_conditions(&mut self, generation: u64, conditions: Option<Arc<Conditions>>) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.has(generation)) {
            client.set_conditions(conditions);
            self.candidates = None;
        }
    }

    /// Has all who claim the tunnel look at it.
    pub(crate) fn tell_all(&self) {
        for (_, claimant) in self.clients.iter().flat_map(|client| &client.sessions) {
            claimant.standing_changes();
        }
    }

    /// What the client that serves says of visitors, and the session of it that came last.
    pub(crate) fn server(&self) -> Option<(&Option<Arc<Conditions>>, &Arc<Claimant>)> {
        let client = serving(&self.clients)?;
        Some((&client.conditions, &client.sessions.last()?.1))
    }

    /// Whether visitors come to the session with this claim.
    pub(crate) fn is_live(&self, generation: u64) -> bool {
        serving(&self.clients).is_some_and(|client| client.has(generation))
    }

    /// Whether a client with a healthy local service claims the tunnel, if any does.
    pub(crate) fn is_healthy(&self) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|client| client.health.healthy)
    }

    /// The clients that could serve a visitor.
    pub(crate) fn candidates(&mut self) -> Candidates {
        let made = || in_order(&self.clients).filter_map(Client::candidate).collect();
        Arc::clone(self.candidates.get_or_insert_with(made))
    }

    /// All clients for whoever looks from outside, the one that serves first and those that have
    /// withdrawn last. `numbers` are those of the sessions.
    pub(crate) fn look(&self, numbers: &HashMap<OwnConnection, u64>) -> Vec<ClientNow> {
        let may_serve = in_order(&self.clients).enumerate().map(|(at, client)| {
            let standing = if at == 0 { Standing::Live } else { Standing::Standby };
            (standing, client)
        });
        let withdrawn = self.clients.iter().rev().filter(|client| !client.may_serve());
        let all = may_serve.chain(withdrawn.map(|client| (Standing::Withdrawn, client)));
        all.map(|(standing, client)| {
            let number = |(_, claimant): &(u64, Arc<Claimant>)| {
                numbers.get(&claimant.own_connection()).copied()
            };
            // A session that is going may have lost its number already.
            let sessions = client.sessions.iter().filter_map(number).collect();
            ClientNow { standing, healthy: client.health.healthy, sessions }
        })
        .collect()
    }

    /// Changes the claims, and tells those whose standing that changes.
    fn change(&mut self, change: impl FnOnce(&mut Vec<Client>)) {
        let before = serving(&self.clients).map(|client| client.instance);
        change(&mut self.clients);
        let after = serving(&self.clients).map(|client| client.instance);
        if before != after {
            let concerned = |client: &&Client| [before, after].contains(&Some(client.instance));
            for (_, claimant) in self.clients.iter().filter(concerned).flat_map(|c| &c.sessions) {
                claimant.standing_changes();
            }
        }
        self.candidates = None;
    }
}

/// How often a client took the tunnel from another one of late.
#[derive(Debug, Default)]
struct Takeovers {
    count: u32,
    since: Option<Instant>,
}

/// So many takeovers in a [`WHILE`] are people at work: a second machine, a new version, back
/// again.
const MOST_TAKEOVERS: u32 = 3;

const WHILE: Duration = Duration::from_secs(60);

impl Takeovers {
    /// Whether one more is not too many. It counts if it is allowed.
    fn allow(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WHILE) {
            *self = Self { count: 0, since: Some(now) };
        }
        let allowed = self.count < MOST_TAKEOVERS;
        self.count += u32::from(allowed);
        allowed
    }
}

impl Client {
    fn has(&self, generation: u64) -> bool {
        self.sessions.iter().any(|(own, _)| *own == generation)
    }

    /// Those that say the same as before stay as they are: who has come how often, or has guessed
    /// passwords, is not forgotten because a connection comes back or a health changes.
    fn set_conditions(&mut self, conditions: Option<Arc<Conditions>>) {
        if self.conditions != conditions {
            self.conditions = conditions;
        }
    }

    /// Whether visitors may come to it at all.
    fn may_serve(&self) -> bool {
        self.health.healthy || !self.health.withdraw
    }

    fn candidate(&self) -> Option<Candidate> {
        let sessions = self.sessions.iter().map(|(_, claimant)| claimant.target.clone());
        let claimant = Arc::clone(&self.sessions.last()?.1);
        Some(Candidate::new(sessions.collect(), self.conditions.clone(), claimant))
    }
}

fn retain(clients: &mut Vec<Client>, keep: impl Fn(u64, &Claimant) -> bool) {
    for client in &mut *clients {
        client.sessions.retain(|(generation, claimant)| keep(*generation, claimant));
    }
    clients.retain(|client| !client.sessions.is_empty());
}

/// The client that visitors come to.
fn serving(clients: &[Client]) -> Option<&Client> {
    in_order(clients).next()
}

/// Those that may serve: the healthy ones first, the newest of them in front.
fn in_order(clients: &[Client]) -> impl Iterator<Item = &Client> {
    let healthy = clients.iter().rev().filter(|client| client.health.healthy);
    let others = clients.iter().rev().filter(|client| !client.health.healthy && client.may_serve());
    healthy.chain(others)
}

#[cfg(test)]
mod tests {
    use shared::carry::mux;
    use shared::control::protocol::HttpOptions;
    use shared::kit::net::Rules;

    use super::*;
    use crate::access::Principal;
    use crate::target::{SessionTarget, Target};
    use crate::tunnel::ConnectionId;
    use crate::web::Policy;

    const WELL: Health = Health { healthy: true, withdraw: false };
    const ILL: Health = Health { healthy: false, withdraw: false };
    const AWAY: Health = Health { healthy: false, withdraw: true };

    fn claimant(instance: InstanceId, number: u16) -> Arc<Claimant> {
        let (io, _) = tokio::io::duplex(64);
        let (mux, _, _) = mux::start(io, shared::carry::Role::Relay, 1);
        let target = Target::Session(SessionTarget::new(1, mux, 1));
        Arc::new(Claimant::new(
            ConnectionId { instance, number },
            Principal::default(),
            target,
            ([127, 0, 0, 1], 1).into(),
        ))
    }

    fn add(claims: &mut Claims, claimant: Arc<Claimant>, health: Health) -> u64 {
        let (generation, added) = claims.add(claimant, health, None, Instant::now());
        assert_eq!(added, Added::InPlace);
        generation
    }

    fn client() -> Arc<Claimant> {
        claimant(InstanceId::random(), 0)
    }

    /// How many sessions each client has, the one that serves first.
    fn shape(claims: &mut Claims) -> Vec<usize> {
        claims.candidates().iter().map(|candidate| candidate.sessions.len()).collect()
    }

    #[test]
    fn whoever_looks_sees_who_serves_who_stands_by_and_who_has_withdrawn() {
        let mut claims = Claims::default();
        let mut numbers = HashMap::new();
        for (number, health) in [(1, WELL), (2, ILL), (3, AWAY), (4, WELL)] {
            let claimant = client();
            numbers.insert(claimant.own_connection(), number);
            add(&mut claims, claimant, health);
        }
        let seen = claims.look(&numbers).into_iter();
        let seen: Vec<_> = seen.map(|c| (c.sessions[0], c.standing, c.healthy)).collect();
        let expected = [
            (4, Standing::Live, true),
            (1, Standing::Standby, true),
            (2, Standing::Standby, false),
            (3, Standing::Withdrawn, false),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn candidates_are_made_when_a_visit_wants_them_and_not_with_each_change() {
        let mut claims = Claims::default();
        let [_, last] = [(); 2].map(|()| add(&mut claims, client(), WELL));
        assert!(claims.candidates.is_none(), "no visit yet");
        let first = claims.candidates();
        assert!(Arc::ptr_eq(&first, &claims.candidates()), "nothing has changed");
        for health in [ILL, WELL, ILL] {
            assert!(claims.set_health(last, health));
            assert!(claims.candidates.is_none(), "no visit since");
        }
        assert!(!Arc::ptr_eq(&first, &claims.candidates()));
    }

    #[test]
    fn who_may_visit_counts_for_candidates_at_once() {
        let mut claims = Claims::default();
        let only = add(&mut claims, client(), WELL);
        let visitor = "10.0.0.1".parse().unwrap();
        assert!(claims.candidates()[0].permits(visitor));
        let rules = Rules { deny: vec!["10.0.0.0/8".parse().unwrap()].into(), ..Rules::default() };
        let conditions = Conditions { rules, policy: None };
        claims.set_conditions(only, Some(Arc::new(conditions)));
        assert!(!claims.candidates()[0].permits(visitor));
    }

    #[test]
    fn what_is_said_again_is_not_begun_anew() {
        let mut claims = Claims::default();
        let only = add(&mut claims, client(), WELL);
        let said = |rate: &str| {
            let options = HttpOptions { rate: rate.parse().ok(), ..HttpOptions::default() };
            let policy = Policy::new(&options).ok();
            Some(Arc::new(Conditions { rules: Rules::default(), policy }))
        };
        let [first, again, other] = [said("1/1h"), said("1/1h"), said("2/1h")];
        for (now, expected) in [(&first, &first), (&again, &first), (&other, &other)] {
            claims.set_conditions(only, now.clone());
            let candidates = claims.candidates();
            assert!(Arc::ptr_eq(candidates[0].conditions().unwrap(), expected.as_ref().unwrap()));
        }
    }

    #[test]
    fn the_newest_serves_and_those_before_it_take_over_in_turn() {
        let mut claims = Claims::default();
        let [first, second, third] = [(); 3].map(|()| add(&mut claims, client(), WELL));
        let live =
            |claims: &Claims| [first, second, third].map(|generation| claims.is_live(generation));
        assert_eq!(live(&claims), [false, false, true]);
        claims.remove(second);
        assert_eq!(live(&claims), [false, false, true]);
        claims.remove(third);
        assert_eq!(live(&claims), [true, false, false]);
        claims.remove(first);
        assert!(claims.is_empty());
    }

    #[test]
    fn a_healthy_client_serves_before_a_newer_one_that_is_not() {
        let mut claims = Claims::default();
        let older = add(&mut claims, client(), WELL);
        let newer = add(&mut claims, client(), WELL);
        assert!(claims.set_health(newer, ILL));
        assert!(!claims.set_health(newer, ILL), "that is known");
        assert!(claims.is_live(older));
        assert_eq!(shape(&mut claims), [1, 1], "better than nobody");
        claims.set_health(older, ILL);
        assert!(claims.is_live(newer) && !claims.is_healthy());
        claims.set_health(newer, AWAY);
        assert!(claims.is_live(older));
        assert_eq!(shape(&mut claims), [1]);
        claims.remove(older);
        assert!(!claims.is_live(newer) && !claims.is_empty());
        claims.set_health(newer, WELL);
        assert!(claims.is_live(newer));
    }

    #[tokio::test]
    async fn whoever_does_not_serve_from_the_start_is_told() {
        let mut claims = Claims::default();
        add(&mut claims, client(), WELL);
        let ill = client();
        let generation = add(&mut claims, ill.clone(), ILL);
        ill.standing_changed().await;
        assert!(!claims.is_live(generation));
    }

    #[test]
    fn the_connections_of_a_client_serve_and_stand_by_together() {
        let mut claims = Claims::default();
        let old = InstanceId::random();
        let first = add(&mut claims, claimant(old, 0), WELL);
        let second = add(&mut claims, claimant(old, 1), WELL);
        assert!(claims.is_live(first) && claims.is_live(second));

        let newer = add(&mut claims, client(), WELL);
        // One more connection does not bring its client to the front.
        let third = add(&mut claims, claimant(old, 2), WELL);
        assert!(claims.is_live(newer) && !claims.is_live(third));
        assert_eq!(shape(&mut claims), [1, 3]);

        claims.remove(newer);
        assert!([first, second, third].iter().all(|claim| claims.is_live(*claim)));
    }

    #[test]
    fn a_connection_that_comes_back_takes_its_own_place() {
        let mut claims = Claims::default();
        let instance = InstanceId::random();
        let lost = add(&mut claims, claimant(instance, 0), WELL);
        let other = add(&mut claims, claimant(instance, 1), WELL);
        let back = add(&mut claims, claimant(instance, 0), WELL);
        assert_eq!(shape(&mut claims), [2]);
        assert!(!claims.is_live(lost) && claims.is_live(other) && claims.is_live(back));
        // The lost session notices later.
        claims.remove(lost);
        assert_eq!(shape(&mut claims), [2]);

        // A client without another connection comes to the front.
        add(&mut claims, client(), WELL);
        claims.remove(other);
        let again = add(&mut claims, claimant(instance, 0), WELL);
        assert!(claims.is_live(again));
    }

    #[test]
    fn clients_that_take_it_from_each_other_all_the_time_are_held_back() {
        let mut claims = Claims::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut last = claims.add(client(), WELL, None, start).0;
        for second in 1..=3 {
            let (taken, added) = claims.add(client(), WELL, None, at(second));
            assert_eq!((added, claims.is_live(taken)), (Added::InPlace, true));
            last = taken;
        }
        let (held_back, added) = claims.add(client(), WELL, None, at(4));
        assert_eq!((added, claims.is_live(held_back)), (Added::HeldBack, false));
        assert!(claims.is_live(last));
        claims.remove(last);
        assert!(claims.is_live(held_back), "the next in turn");

        let (later, added) = claims.add(client(), WELL, None, at(61));
        assert_eq!((added, claims.is_live(later)), (Added::InPlace, true));
    }
}
