//! A tunnel: the entrances that lead to it, and the clients that claim it.

mod candidate;
mod claimant;
mod claims;
mod service;
mod vacancies;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::control::protocol::{InstanceId, Refusal, TunnelName};
use shared::kit::amounts::{Bandwidth, Frequency};
use shared::kit::logging::Rate;
use tokio::sync::futures::Notified;
use tokio::sync::{MutexGuard, Notify};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::access::{Owner, Principal};
use crate::entrance::Entrance;
use crate::inspect::Inspection;
use crate::limits::{Account, Bucket, NoShare, Pace, Part, Share, Shares, Source};
use crate::metrics::{Counted, Labels, Limit, Metrics, TunnelMetrics};
use crate::snapshot::{Kind, TunnelNow};

pub(crate) use self::candidate::{Candidate, Candidates};
use self::claimant::Holder;
pub(crate) use self::claimant::{Claimant, ConnectionId, OwnConnection};
use self::claims::{Added, Claims};
pub(crate) use self::claims::{Health, MOST_CLIENTS};
pub(crate) use self::service::{Conditions, Service};
pub(crate) use self::vacancies::{Over, Vacancies};

/// Tunnels whose clients cannot agree on who serves.
static HELD_BACK: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "clients that keep taking tunnels from each other: {more}");
});

/// So many visitors of one tunnel wait for its client to come back at most, half of them of one source.
/// Nothing that they say is read meanwhile, so each costs a descriptor and what the kernel holds for it.
const MOST_HELD: usize = 4096;

/// Which tunnel: names are their owner's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TunnelId {
    pub(crate) owner: Owner,
    pub(crate) name: TunnelName,
}

/// One tunnel. It outlives its clients by a while, so that one that comes back finds its entrances.
#[derive(Debug)]
pub(crate) struct Tunnel {
    id: TunnelId,
    entrances: Box<[Entrance]>,
    series: TunnelMetrics,
    metrics: Metrics,
    visitors: Arc<Shares>,
    bandwidth: OnceLock<[Arc<Bucket>; 2]>,
    held: Arc<Shares>,
    /// A client has asked where visitors connect to.
    tells_destination: AtomicBool,
    inspection: Inspection,
    /// Whoever has waited for longest has it.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    claimed: Notify,
    closed: CancellationToken,
    /// Why nobody may have it any more.
    revoked: OnceLock<Refusal>,
    vacancies: Vacancies,
}

#[derive(Debug)]
struct State {
    claims: Claims,
    /// Whose the session is that serves, or served last. Before any does, the first that came.
    holder: Option<Arc<Holder>>,
    arrivals: Pace,
    /// The local service as that client describes it.
    local: String,
    /// Set while there is a claim.
    served: Option<Counted>,
    /// When the last claim went. `None`: there is one, or there has never been any.
    vacated: Option<Instant>,
    /// What the client says of visitors that serves, or was the last to. `None`: nothing.
    conditions: Option<Arc<Conditions>>,
}

impl State {
    /// Another client may serve, or say something else. While none does, what the last one said and
    /// had still counts: who waits for it to come back has to be permitted too.
    fn follow_server(&mut self) {
        if let Some((conditions, claimant)) = self.claims.server() {
            let (conditions, claimant) = (conditions.clone(), Arc::clone(claimant));
            self.is_held_by(conditions, &claimant);
        }
    }

    fn is_held_by(&mut self, conditions: Option<Arc<Conditions>>, claimant: &Claimant) {
        self.conditions = conditions;
        self.holder = Some(Arc::clone(&claimant.holder));
    }

    fn principal(&self) -> Option<&Principal> {
        self.holder.as_ref().map(|holder| &holder.principal)
    }
}

impl Tunnel {
    /// A tunnel that nobody serves yet. `closed` fires when its entrances are to be closed;
    /// `vacancies` are told when the last claim has gone.
    pub(crate) fn new(
        id: TunnelId,
        entrances: Box<[Entrance]>,
        metrics: &Metrics,
        closed: CancellationToken,
        vacancies: Vacancies,
    ) -> Arc<Self> {
        Arc::new(Self {
            series: metrics.tunnel(Labels { tunnel: id.name.clone(), owner: id.owner.label() }),
            id,
            entrances,
            metrics: metrics.clone(),
            visitors: Arc::default(),
            bandwidth: OnceLock::new(),
            held: Arc::default(),
            tells_destination: AtomicBool::new(false),
            inspection: Inspection::default(),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                claims: Claims::default(),
                holder: None,
                arrivals: Pace::default(),
                local: String::new(),
                served: None,
                vacated: None,
                conditions: None,
            }),
            claimed: Notify::new(),
            closed,
            revoked: OnceLock::new(),
            vacancies,
        })
    }

    pub(crate) fn id(&self) -> &TunnelId {
        &self.id
    }

    pub(crate) fn name(&self) -> &TunnelName {
        &self.id.name
    }

    pub(crate) fn entrances(&self) -> &[Entrance] {
        &self.entrances
    }

    pub(crate) fn metrics(&self) -> &TunnelMetrics {
        &self.series
    }

    /// Whether what comes through it is kept for its owner to look at.
    pub(crate) fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Fires when the tunnel takes no more visitors.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Room for one more visitor, if there are fewer than `most`.
    pub(crate) fn visitor(&self, most: usize) -> Result<Present, Limit> {
        self.visitors.take(most).map_err(|_| Limit::VisitorsPerTunnel)
    }

    /// Room for one more request from `source`, which cannot have all that there is.
    pub(crate) fn request(&self, source: Source, most: usize) -> Result<Present, Limit> {
        self.visitors.take_from(source, most).map_err(|why| match why {
            NoShare::AllTaken => Limit::VisitorsPerTunnel,
            NoShare::OfSource => Limit::TunnelSharePerSource,
        })
    }

    /// Whether one more visitor may come, if they may come as often as this.
    pub(crate) fn arrives(&self, often: Option<Frequency>) -> Result<(), Limit> {
        match often {
            Some(often) if !self.state.lock().arrivals.allow(often, Instant::now()) => {
                Err(Limit::NewVisitorsPerTunnel)
            }
            _ => Ok(()),
        }
    }

    /// What its visitors are counted in besides: the accounts of whoever serves it.
    pub(crate) fn accounts(&self) -> Arc<[Arc<Account>]> {
        self.state.lock().principal().map(Principal::accounts).cloned().unwrap_or_default()
    }

    /// What limits its visits together to this rate, inward and outward.
    pub(crate) fn bandwidth(&self, rate: Option<Bandwidth>) -> Option<[Arc<Bucket>; 2]> {
        let made = || [(); 2].map(|()| Arc::new(Bucket::new(Limit::RatePerTunnel, rate)));
        let buckets = match rate {
            Some(_) => self.bandwidth.get_or_init(made),
            // Visits may go on that came when there was one.
            None => self.bandwidth.get()?,
        };
        buckets.iter().for_each(|bucket| bucket.set(rate));
        rate.map(|_| buckets.clone())
    }

    /// Whether the client and its token let a visitor from `ip` in.
    pub(crate) fn permits(&self, ip: IpAddr) -> bool {
        let state = self.state.lock();
        let (conditions, holder) = (state.conditions.clone(), state.holder.clone());
        drop(state);
        conditions.is_none_or(|conditions| conditions.rules.permit(ip))
            && holder.is_none_or(|holder| holder.principal.rights().admit_visitor(ip))
    }

    /// What the client says of visitors that serves, or was the last to.
    pub(crate) fn conditions(&self) -> Option<Arc<Conditions>> {
        self.state.lock().conditions.clone()
    }

    /// Whether a client could serve a visitor.
    pub(crate) fn is_anybody_here(&self) -> bool {
        !self.candidates().is_empty()
    }

    /// The clients that could serve a visitor, each with its sessions, the one that serves first.
    pub(crate) fn candidates(&self) -> Candidates {
        self.state.lock().claims.candidates()
    }

    /// The tunnel for whoever looks from outside. `numbers` are those of the sessions; `public` is how
    /// visitors write an entrance.
    pub(crate) fn look(
        &self,
        numbers: &HashMap<OwnConnection, u64>,
        public: impl Fn(&Entrance) -> String,
    ) -> TunnelNow {
        let state = self.state.lock();
        let (local, clients) = (state.local.clone(), state.claims.look(numbers));
        drop(state);
        TunnelNow {
            name: self.id.name.clone(),
            owner: self.id.owner.to_string(),
            entrances: self.entrances.iter().map(Entrance::to_string).collect(),
            kind: self.entrances.first().map_or(Kind::Tcp, Kind::of),
            public: self.entrances.iter().map(public).collect(),
            local,
            clients,
            totals: self.series.totals(),
        }
    }

    /// Points the tunnel at a session until the claim is dropped, which takes up `parts`.
    pub(crate) fn claim(
        self: &Arc<Self>,
        claimant: Arc<Claimant>,
        service: Service,
        parts: Box<[Part]>,
    ) -> Claim {
        let mut state = self.state.lock();
        if state.claims.is_empty() {
            // It is this client's, also while it does without visitors.
            state.is_held_by(service.conditions.clone(), &claimant);
        }
        let (generation, place) =
            state.claims.add(claimant, service.health, service.conditions, Instant::now());
        state.follow_server();
        if place == Added::HeldBack && HELD_BACK.allows() {
            warn!(
                tunnel = %self.id,
                owner = state.principal().map(|holder| display(holder.owner())),
                "clients keep taking the tunnel from each other: this one stands by"
            );
        }
        state.local = service.local;
        self.asked(service.destination);
        self.leave_vacancies(&mut state);
        self.series.set_healthy(state.claims.is_healthy());
        state.served.get_or_insert_with(|| self.metrics.served_tunnel());
        self.claimed.notify_waiters();
        Claim { tunnel: Arc::clone(self), generation, is_given_up: false, _parts: parts }
    }

    /// Whether somebody else than `owner` has the tunnel: a client of theirs claims it, or may come
    /// back to it within `hold`. Of use for the tunnel that is nobody's own.
    pub(crate) fn is_taken_from(&self, owner: &Owner, hold: Duration) -> bool {
        let state = self.state.lock();
        let is_free = match state.vacated {
            Some(since) => since.elapsed() >= hold,
            None => state.claims.is_empty(),
        };
        !is_free && state.principal().is_some_and(|holder| holder.owner() != owner)
    }

    /// A client wants to know where visitors connect to, or does not. Once one of them has, all are
    /// told as long as the tunnel is there: the others pass over it.
    fn asked(&self, destination: bool) {
        self.tells_destination.fetch_or(destination, Ordering::Relaxed);
    }

    /// Whether clients are to be told where visitors have connected to.
    pub(crate) fn tells_destination(&self) -> bool {
        self.tells_destination.load(Ordering::Relaxed)
    }

    /// Whether nobody has claimed the tunnel for `hold`.
    pub(crate) fn is_abandoned(&self, hold: Duration) -> bool {
        self.state.lock().vacated.is_some_and(|since| since.elapsed() >= hold)
    }

    /// Takes no more visitors.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.leave_vacancies(&mut self.state.lock());
    }

    /// Nobody may have it any more, for this reason: its clients are told.
    pub(crate) fn revoke(&self, refusal: Refusal) {
        // The first reason stays.
        drop(self.revoked.set(refusal));
        self.state.lock().claims.tell_all();
    }

    /// Why nobody may have it any more, if that is so.
    pub(crate) fn revoked(&self) -> Option<&Refusal> {
        self.revoked.get()
    }

    fn leave_vacancies(&self, state: &mut State) {
        if let Some(since) = state.vacated.take() {
            self.vacancies.remove(&self.id, since);
        }
    }

    /// Whether there is room for a claim of the client.
    pub(crate) fn has_room_for(&self, client: InstanceId) -> bool {
        self.state.lock().claims.has_room_for(client)
    }

    /// Whether a client claims the tunnel.
    pub(crate) fn is_claimed(&self) -> bool {
        !self.state.lock().claims.is_empty()
    }

    /// Resolves after the next claim.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Claims count from this call on, not from the first poll.
    pub(crate) fn claimed(&self) -> Notified<'_> {
        self.claimed.notified()
    }

    /// Until when a client that was here a moment ago is waited for, if it comes back within
    /// `hold`.
    pub(crate) fn comes_back_by(&self, hold: Duration) -> Option<Instant> {
        let state = self.state.lock();
        let since = match state.vacated {
            Some(since) => since,
            // Nobody has been here yet.
            None if state.claims.is_empty() => return None,
            // Its session has just ended, and the claim is about to go.
            None => Instant::now(),
        };
        let deadline = since + hold;
        (deadline > Instant::now()).then_some(deadline)
    }

    /// Whether visitors wait for a client.
    pub(crate) fn is_anybody_held(&self) -> bool {
        self.held.are_any_taken()
    }

    /// A place among the visitors that wait for a client, if there is one for whoever comes from
    /// `source`.
    pub(crate) fn hold(&self, source: Option<Source>) -> Option<Held<'_>> {
        let place = match source {
            Some(source) => self.held.take_from(source, MOST_HELD),
            None => self.held.take(MOST_HELD),
        };
        Some(Held { tunnel: self, _place: place.ok()? })
    }
}

/// A visitor's place in a tunnel, until it is dropped.
pub(crate) type Present = Share;

/// A visitor that waits for a client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    tunnel: &'a Tunnel,
    _place: Share,
}

impl<'a> Held<'a> {
    /// Waits until all who came before have gone on to a client.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue is lost.
    pub(crate) async fn turn(&self) -> MutexGuard<'a, ()> {
        self.tunnel.turn.lock().await
    }
}

/// A session's hold on a tunnel. Dropping it gives the tunnel to the client before.
#[derive(Debug)]
#[must_use = "dropping a claim gives the tunnel up"]
pub(crate) struct Claim {
    tunnel: Arc<Tunnel>,
    generation: u64,
    /// Nobody is to come back to it.
    is_given_up: bool,
    /// What it takes up of what its client may have.
    _parts: Box<[Part]>,
}

impl Claim {
    pub(crate) fn tunnel(&self) -> &Arc<Tunnel> {
        &self.tunnel
    }

    /// Drops it for good: a tunnel that nobody else claims is not held for anybody, and so takes
    /// nothing of what may be held.
    pub(crate) fn give_up(mut self) {
        self.is_given_up = true;
    }

    /// Whether new visitors come to this claim's session, or another of the same client.
    pub(crate) fn is_live(&self) -> bool {
        self.tunnel.state.lock().claims.is_live(self.generation)
    }

    /// The local service has changed, or its health. Returns whether its health has.
    pub(crate) fn update(&self, service: Service) -> bool {
        let mut state = self.tunnel.state.lock();
        state.local = service.local;
        self.tunnel.asked(service.destination);
        state.claims.set_conditions(self.generation, service.conditions);
        state.follow_server();
        self.set_health_of(&mut state, service.health)
    }

    /// The health of the local service, as its client says. Returns whether that is news.
    pub(crate) fn set_health(&self, health: Health) -> bool {
        self.set_health_of(&mut self.tunnel.state.lock(), health)
    }

    fn set_health_of(&self, state: &mut State, health: Health) -> bool {
        let news = state.claims.set_health(self.generation, health);
        state.follow_server();
        self.tunnel.series.set_healthy(state.claims.is_healthy());
        if news {
            // One that had withdrawn may serve those who wait.
            self.tunnel.claimed.notify_waiters();
        }
        news
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.tunnel.state.lock();
        let was_claimed = !state.claims.is_empty();
        state.claims.remove(self.generation);
        state.follow_server();
        self.tunnel.series.set_healthy(state.claims.is_healthy());
        if was_claimed && state.claims.is_empty() {
            let now = Instant::now();
            (state.served, state.vacated) = (None, Some(now));
            // The port of `default` is always open, and what is closed holds none.
            let is_held = !self.is_given_up
                && !self.tunnel.name().is_default()
                && !self.tunnel.closed.is_cancelled();
            if is_held {
                let ports = self.tunnel.entrances.len();
                let source = state.holder.as_ref().map(|holder| holder.source);
                self.tunnel.vacancies.insert(&self.tunnel.id, ports, source, now);
            }
        }
    }
}

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
