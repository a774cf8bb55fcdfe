//! The tunnels of one session, which come, change and go while it runs.

use std::collections::HashMap;
use std::sync::Arc;

use shared::control::protocol::{
    FromRelay, HostName, MAX_ENTRANCES, MAX_HTTP_OPTIONS, MAX_LOCAL, PAGE, PublicAddress, Refusal,
    RefusalCode, TunnelAnswer, TunnelHealth, TunnelName, TunnelOutcome, TunnelRequest,
};
use shared::kit::logging::{Foreign, Rate};
use shared::kit::net::MAX_NETWORKS;
use tracing::info;

use crate::domains::{Patience, Refused};
use crate::entrance::WebFront;
use crate::metrics::HostRefusal;
use crate::registry::{Membership, Registry, service};
use crate::target::Target;
use crate::tunnel::{Claim, Claimant, Health};

/// So many bytes the reasons and records of one answer take up, so that it fits a message with all
/// that goes with [`PAGE`] tunnels.
const MAX_RECORDS: usize = 24 * 1024;

/// So many bytes of JSON are around the name and the value of a record, at most.
const RECORD_AROUND: usize = 48;

/// So long is a reason for which there is no more room.
const MAX_REASON: usize = 200;

/// What becomes of the tunnels of sessions.
static CHANGES: Rate = Rate::generous(|more| {
    info!(left_out = more.count, "tunnels refused, well, not well, or in other hands: {more}");
});

/// What a session holds.
#[derive(Debug)]
pub(super) struct Tunnels {
    names: PublicNames,
    held: HashMap<TunnelName, Held>,
    /// Those that wait for a proof, with what that was counted as: however often the client asks,
    /// it is so once. They count as tunnels of the session until the client closes them.
    waiting: HashMap<TunnelName, HostRefusal>,
}

/// By what names this client is told where its tunnels are.
#[derive(Debug)]
pub(super) struct PublicNames {
    /// The relay's, as this client knows it.
    pub(super) relay: HostName,
    pub(super) front: WebFront,
}

/// A claim and what the client knows of it.
#[derive(Debug)]
struct Held {
    claim: Claim,
    _connections: Connections,
    known_live: bool,
    /// Whether the client does without visitors while its local service is not healthy.
    withdraw: bool,
}

/// What is kept of connections to a local service. It goes with the claim.
#[derive(Debug)]
struct Connections {
    target: Target,
    tunnel: TunnelName,
}

/// Who asks for a change.
pub(super) struct Asker<'a> {
    pub(super) registry: &'a Registry,
    pub(super) member: &'a Membership,
    pub(super) claimant: &'a Arc<Claimant>,
}

impl Tunnels {
    /// A session that has none yet.
    pub(super) fn new(names: PublicNames) -> Self {
        Self { names, held: HashMap::new(), waiting: HashMap::new() }
    }

    /// What a client is told of its first tunnels: it has got them, but for those that are
    /// `waiting`.
    pub(super) fn answers(
        &mut self,
        registry: &Registry,
        requests: &[TunnelRequest],
        claims: &[Claim],
        mut waiting: HashMap<TunnelName, Refused>,
    ) -> Vec<TunnelAnswer> {
        let (mut claims, mut answers) = (claims.iter(), Vec::new());
        for request in requests {
            let name = request.name.clone();
            let outcome = match waiting.remove(&name) {
                Some(refused) => self.waits(registry, &name, refused),
                None => match claims.next() {
                    Some(claim) => TunnelOutcome::Open { public: self.names.addresses(claim) },
                    None => continue,
                },
            };
            answers.push(TunnelAnswer { name, outcome });
        }
        shorten(&mut answers);
        answers
    }

    /// A tunnel waits for a proof.
    fn waits(
        &mut self,
        registry: &Registry,
        name: &TunnelName,
        (reason, refusal): Refused,
    ) -> TunnelOutcome {
        if self.waiting.insert(name.clone(), reason) != Some(reason) {
            registry.count_waiting(reason);
            if CHANGES.allows() {
                info!(tunnel = %name, "the tunnel waits: {}", Foreign(&refusal.message));
                for record in &refusal.records {
                    info!(tunnel = %name, "a record that would do: {record}");
                }
            }
        }
        TunnelOutcome::Refused(refusal)
    }

    /// Gives all of them to the clients before. Their entrances stay for a while.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// The claims that visitors come to.
    pub(super) fn live(&self) -> impl Iterator<Item = &Claim> {
        self.held.values().map(|held| &held.claim).filter(|claim| claim.is_live())
    }

    /// Opens more tunnels, each for itself.
    pub(super) async fn open(
        &mut self,
        asker: Asker<'_>,
        requests: &[TunnelRequest],
    ) -> Vec<TunnelAnswer> {
        let (mut answers, mut patience) = (Vec::new(), Patience::new());
        for request in requests {
            let outcome = match self.open_one(&asker, request, &mut patience).await {
                Ok(outcome) => outcome,
                Err(refusal) => refused(&request.name, refusal),
            };
            answers.push(TunnelAnswer { name: request.name.clone(), outcome });
        }
        shorten(&mut answers);
        answers
    }

    async fn open_one(
        &mut self,
        asker: &Asker<'_>,
        request: &TunnelRequest,
        patience: &mut Patience,
    ) -> Result<TunnelOutcome, Refusal> {
        if self.held.contains_key(&request.name) {
            let message = format!("the client has the tunnel `{}` already", request.name);
            return Err(Refusal::new(RefusalCode::BadRequest, message));
        }
        let others = self.waiting.keys().filter(|name| **name != request.name);
        asker.registry.check_tunnels(self.held.len() + others.count() + 1)?;
        let principal = asker.member.principal();
        if let Some(refused) = asker.registry.must_wait(principal, request, patience).await {
            return Ok(self.waits(asker.registry, &request.name, refused));
        }
        self.waiting.remove(&request.name);
        let requests = std::slice::from_ref(request);
        let claims = asker.registry.claim(asker.member, requests, asker.claimant).await?;
        let mut public = Vec::new();
        for claim in claims {
            public = self.names.addresses(&claim);
            self.insert(&asker.claimant.target, request, claim);
        }
        Ok(TunnelOutcome::Open { public })
    }

    /// Changes where tunnels lead and how.
    pub(super) fn update(
        &mut self,
        target: &Target,
        requests: &[TunnelRequest],
    ) -> Vec<TunnelAnswer> {
        let update = |request: &TunnelRequest| {
            let outcome = match self.held.get_mut(&request.name) {
                None => refused(&request.name, not_there(&request.name)),
                Some(held) => match service(request) {
                    Err(refusal) => refused(&request.name, refusal),
                    Ok(service) => {
                        held.withdraw = request.withdraw;
                        held.known_live = true;
                        held.claim.update(service);
                        target.pool().forget(&request.name);
                        TunnelOutcome::Open { public: self.names.addresses(&held.claim) }
                    }
                },
            };
            TunnelAnswer { name: request.name.clone(), outcome }
        };
        requests.iter().map(update).collect()
    }

    /// Gives tunnels up for good.
    pub(super) fn close(&mut self, registry: &Registry, names: &[TunnelName]) -> Vec<TunnelAnswer> {
        let close = |name: &TunnelName| {
            let has_waited = self.waiting.remove(name).is_some();
            let outcome = match self.held.remove(name) {
                None if has_waited => TunnelOutcome::Closed,
                None => refused(name, not_there(name)),
                Some(held) => {
                    registry.give_up(held.claim);
                    TunnelOutcome::Closed
                }
            };
            TunnelAnswer { name: name.clone(), outcome }
        };
        names.iter().map(close).collect()
    }

    /// The client says how its local services are. One that it has given up meanwhile is passed
    /// over.
    pub(super) fn set_health(&self, tunnels: &[TunnelHealth]) {
        // Of one that is named more than once the last word counts.
        let tunnels: HashMap<_, _> = tunnels.iter().map(|t| (&t.name, t.healthy)).collect();
        for (name, healthy) in &tunnels {
            let Some(held) = self.held.get(*name) else { continue };
            let health = Health { healthy: *healthy, withdraw: held.withdraw };
            if held.claim.set_health(health) && CHANGES.allows() {
                let state = if *healthy { "healthy again" } else { "not healthy" };
                info!(tunnel = %name, "the local service is {state}");
            }
        }
    }

    /// What the client is to be told because tunnels have changed hands.
    pub(super) fn changes_of_standing(&mut self) -> Vec<FromRelay> {
        let revoked = self.held.iter().filter_map(|(name, held)| {
            Some((name.clone(), held.claim.tunnel().revoked()?.clone()))
        });
        let revoked: Vec<_> = revoked.collect();
        let mut changes = Vec::new();
        for (tunnel, refusal) in revoked {
            self.held.remove(&tunnel);
            changes.push(FromRelay::Closed { tunnel, refusal });
        }
        let standing = self.held.iter_mut();
        changes.extend(standing.filter_map(|(name, held)| held.change_of_standing(name)));
        changes
    }

    /// The same of these tunnels alone.
    pub(super) fn standing_of<'a>(
        &mut self,
        names: impl Iterator<Item = &'a TunnelName>,
    ) -> Vec<FromRelay> {
        names.filter_map(|name| self.held.get_mut(name)?.change_of_standing(name)).collect()
    }

    /// Holds one more claim.
    pub(super) fn insert(&mut self, target: &Target, request: &TunnelRequest, claim: Claim) {
        let _connections = Connections { target: target.clone(), tunnel: request.name.clone() };
        let withdraw = request.withdraw;
        let held = Held { claim, _connections, known_live: true, withdraw };
        self.held.insert(request.name.clone(), held);
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.target.pool().forget(&self.tunnel);
    }
}

impl Held {
    /// What the client is to be told, if it does not know it.
    fn change_of_standing(&mut self, name: &TunnelName) -> Option<FromRelay> {
        let live = self.claim.is_live();
        if live == self.known_live {
            return None;
        }
        self.known_live = live;
        let tunnel = name.clone();
        if CHANGES.allows() {
            info!(%tunnel, "{}", if live { "live again" } else { "standing by" });
        }
        Some(match live {
            true => FromRelay::Live { tunnel },
            false => FromRelay::Standby { tunnel },
        })
    }
}

/// Whether a message about tunnels makes sense by itself.
///
/// # Errors
///
/// What does not.
pub(super) fn check_page(requests: &[TunnelRequest]) -> Result<(), Refusal> {
    let bad = |message| Err(Refusal::new(RefusalCode::BadRequest, message));
    if requests.is_empty() {
        return bad("the client asks for no tunnel".into());
    }
    if requests.len() > PAGE {
        return bad(format!("a message has {PAGE} tunnels at most"));
    }
    for request in requests {
        let name = &request.name;
        if !(1..=MAX_ENTRANCES).contains(&request.entrances.len()) {
            return bad(format!("the tunnel `{name}` needs 1 to {MAX_ENTRANCES} entrances"));
        }
        if request.rules.len() > MAX_NETWORKS {
            return bad(format!("the rules of `{name}` name more than {MAX_NETWORKS} networks"));
        }
        let http = request.http.as_ref().and_then(|http| serde_json::to_vec(http).ok());
        if http.is_some_and(|json| json.len() > MAX_HTTP_OPTIONS) {
            let most = MAX_HTTP_OPTIONS;
            return bad(format!("the HTTP options of `{name}` take up more than {most} bytes"));
        }
        if request.local.len() > MAX_LOCAL {
            return bad(format!("the local service of `{name}` has more than {MAX_LOCAL} bytes"));
        }
    }
    let mut names: Vec<&TunnelName> = requests.iter().map(|tunnel| &tunnel.name).collect();
    names.sort_unstable();
    match names.array_windows().find(|[a, b]| a == b) {
        Some([twice, _]) => bad(format!("the client asks for the tunnel `{twice}` twice")),
        None => Ok(()),
    }
}

/// Leaves out the records for which there is no room in one message. A client with so many tunnels
/// that wait is told of the first: what they need has been made when it asks again.
fn shorten(answers: &mut [TunnelAnswer]) {
    let mut room = MAX_RECORDS;
    for answer in answers {
        let TunnelOutcome::Refused(refusal) = &mut answer.outcome else { continue };
        let sizes = refusal.records.iter().map(|r| r.name.len() + r.value.len() + RECORD_AROUND);
        let size = sizes.sum::<usize>() + refusal.message.len();
        match room.checked_sub(size) {
            Some(left) => room = left,
            None => {
                refusal.records.clear();
                refusal.message.truncate(refusal.message.floor_char_boundary(MAX_REASON));
            }
        }
    }
}

impl PublicNames {
    /// Where visitors reach a tunnel.
    fn addresses(&self, claim: &Claim) -> Vec<PublicAddress> {
        let Self { relay, front } = self;
        claim.tunnel().entrances().iter().map(|entrance| entrance.address(relay, front)).collect()
    }
}

fn not_there(name: &TunnelName) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, format!("the client has no tunnel `{name}`"))
}

fn refused(name: &TunnelName, refusal: Refusal) -> TunnelOutcome {
    if CHANGES.allows() {
        info!(tunnel = %name, code = ?refusal.code, "refused: {}", Foreign(&refusal.message));
    }
    TunnelOutcome::Refused(refusal)
}

#[cfg(test)]
mod tests {
    use shared::control::protocol::{DnsRecord, MAX_MESSAGE};

    use super::*;

    #[test]
    fn an_answer_fits_a_message_however_many_tunnels_wait_for_however_long_names() {
        let name = |n: usize| format!("{n}.{}.example", "a".repeat(230));
        let record = |n| DnsRecord { name: name(n), kind: "TXT".into(), value: "v".repeat(240) };
        let answer = |n: usize| {
            let records = (0..2 * MAX_ENTRANCES).map(record).collect();
            let message = format!("{} is not yours", name(n)).repeat(MAX_ENTRANCES);
            let refusal = Refusal::new(RefusalCode::HostNotProven, message);
            let outcome = TunnelOutcome::Refused(Refusal { records, ..refusal });
            TunnelAnswer { name: format!("{n}{}", "t".repeat(61)).parse().unwrap(), outcome }
        };
        let mut tunnels: Vec<_> = (0..PAGE).map(answer).collect();
        shorten(&mut tunnels);
        let records = |answer: &TunnelAnswer| match &answer.outcome {
            TunnelOutcome::Refused(refusal) => refusal.records.len(),
            TunnelOutcome::Open { .. } | TunnelOutcome::Closed => 0,
        };
        assert_eq!((records(&tunnels[0]), records(&tunnels[PAGE - 1])), (2 * MAX_ENTRANCES, 0));
        let json = serde_json::to_vec(&FromRelay::Answer { id: u64::MAX, tunnels }).unwrap();
        assert!(json.len() < MAX_MESSAGE, "{}", json.len());
    }
}
