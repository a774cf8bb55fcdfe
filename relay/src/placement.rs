//! Which of a tunnel's clients a visit goes to, the same for whatever brings the visitor in.
//!
//! The client that serves comes first, unless the tunnel shares its visits among all, and of its
//! connections the least busy one. One that cannot is passed over. While a client that was here a
//! moment ago is coming back, visitors can wait for it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use shared::control::protocol::Balance;
use shared::kit::backoff::random;
use shared::visit::open::Open;
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits::Source;
use crate::target::{OpenError, OpenStream, Target};
use crate::tunnel::{Candidate, Tunnel};

/// How long a visitor waits for a stream. Streams are opened at once unless the client has left
/// hundreds of them unanswered.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits before it tries another session of the same client.
const NEXT_SESSION: Duration = Duration::from_secs(1);

/// Why a client does not serve a visit.
#[derive(Debug)]
pub(crate) enum Miss<E> {
    /// It has gone. Another one may do, or the same one when it is back.
    Gone,
    /// Another one may do; if none does, this may be why.
    Elsewhere(E),
    /// No other one would.
    Nowhere(E),
}

impl<E> Miss<E> {
    /// The same, with another word for why.
    pub(crate) fn map<F>(self, map: impl FnOnce(E) -> F) -> Miss<F> {
        match self {
            Self::Gone => Miss::Gone,
            Self::Elsewhere(err) => Miss::Elsewhere(map(err)),
            Self::Nowhere(err) => Miss::Nowhere(map(err)),
        }
    }
}

/// What a visit tries with each client that might serve it.
pub(crate) trait Attempt: Send {
    /// What a client that serves it gives.
    type Served: Send;
    /// Why none does.
    type Error: From<OpenError> + Send;

    /// How long all clients together may take.
    const PATIENCE: Duration;

    /// Whether a reason says little of a client: that it has no room, or has just gone. If none serves
    /// the visit, any other reason is told before such a one.
    fn says_little(_why: &Self::Error) -> bool {
        false
    }

    /// Where the visit is counted among those that wait for a client. `None`: nowhere, it may be from
    /// anywhere.
    fn source(&self) -> Option<Source>;

    /// Tries it with this client.
    fn with(
        &mut self,
        client: &Candidate,
    ) -> impl Future<Output = Result<Self::Served, Miss<Self::Error>>> + Send;
}

/// Which client is asked first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// The one that came last.
    Newest,
    /// As the tunnel shares visits, for a visitor from there.
    Shared(Balance, Source),
}

/// Has a client of `tunnel` serve a visit: the first of which `attempt` has something. When no client
/// is there, waits up to `hold` after the last one has gone, in the order of arrival.
///
/// # Cancel safety
///
/// Cancel safe, if `attempt` is.
///
/// # Errors
///
/// Why no client serves the visit.
pub(crate) async fn place<A: Attempt>(
    tunnel: &Tunnel,
    order: Order,
    hold: Duration,
    mut attempt: A,
) -> Result<A::Served, A::Error> {
    if !tunnel.is_anybody_held()
        && let Some(placed) = on_any(tunnel, order, &mut attempt).await?
    {
        return Ok(placed);
    }
    // Nobody serves, or others have been waiting for longer. Boxed: it is rare.
    Box::pin(held(tunnel, order, hold, attempt)).await
}

/// Waits for a client that was here a moment ago.
async fn held<A: Attempt>(
    tunnel: &Tunnel,
    order: Order,
    hold: Duration,
    mut attempt: A,
) -> Result<A::Served, A::Error> {
    let Some(deadline) = tunnel.comes_back_by(hold) else { return Err(OpenError::Gone.into()) };
    let mut missed = None;
    loop {
        let Some(held) = tunnel.hold(attempt.source()) else { return Err(OpenError::Gone.into()) };
        let waiting = async {
            let turn = held.turn().await;
            if let Some(claimed) = missed.take() {
                claimed.await;
            }
            loop {
                // Before the look, so that a claim that comes in between is not missed.
                let claimed = tunnel.claimed();
                if tunnel.is_anybody_here() {
                    return (turn, claimed);
                }
                claimed.await;
            }
        };
        let (turn, claimed) = tokio::select! {
            waited = timeout_at(deadline.into(), waiting) => {
                waited.map_err(|_| OpenError::Gone)?
            }
            // A relay that stops lets no client in any more.
            () = tunnel.closed().cancelled() => return Err(OpenError::Gone.into()),
        };
        // Whoever is next begins after this one has begun, but need not wait for what comes of it.
        let mut placing = pin!(on_any(tunnel, order, &mut attempt));
        let begun = poll_fn(|cx| Poll::Ready(placing.as_mut().poll(cx))).await;
        drop((turn, held));
        let placed = match begun {
            Poll::Ready(placed) => placed,
            Poll::Pending => tokio::select! {
                placed = placing => placed,
                () = tunnel.closed().cancelled() => Err(OpenError::Gone.into()),
            },
        };
        if let Some(placed) = placed? {
            return Ok(placed);
        }
        // Those who were here have gone, although that may not have been noticed yet.
        missed = Some(claimed);
    }
}

/// The first client of which `attempt` has something. `None`: all of them have gone. Of several reasons
/// the first that says more than little is the one, or else the first: the better a client is, the
/// sooner it is asked.
async fn on_any<A: Attempt>(
    tunnel: &Tunnel,
    order: Order,
    attempt: &mut A,
) -> Result<Option<A::Served>, A::Error> {
    let candidates = tunnel.candidates();
    let deadline = Instant::now() + A::PATIENCE;
    let mut reason = None;
    for at in ranked(&candidates, order) {
        let Ok(placed) = timeout_at(deadline, attempt.with(&candidates[at])).await else {
            return Err(reason.unwrap_or_else(|| OpenError::Unresponsive.into()));
        };
        match placed {
            Ok(placed) => return Ok(Some(placed)),
            Err(Miss::Gone) => (),
            Err(Miss::Elsewhere(err)) => {
                let says_more = |before| A::says_little(before) && !A::says_little(&err);
                if reason.as_ref().is_none_or(says_more) {
                    reason = Some(err);
                }
            }
            Err(Miss::Nowhere(err)) => return Err(err),
        }
    }
    reason.map_or(Ok(None), Err)
}

/// The places of candidates in the order in which they are asked.
fn ranked(candidates: &[Candidate], order: Order) -> impl Iterator<Item = usize> + use<> {
    let count = candidates.len();
    let ranks = match order {
        Order::Shared(balance, source) if count > 1 => rank(candidates, balance, source),
        Order::Newest | Order::Shared(..) => None,
    };
    (0..count).map(move |at| ranks.as_ref().map_or(at, |ranks| ranks[at]))
}

fn rank(candidates: &[Candidate], balance: Balance, source: Source) -> Option<Vec<usize>> {
    let mut places: Vec<usize> = (0..candidates.len()).collect();
    match balance {
        Balance::Newest => return None,
        Balance::LeastBusy => {
            // Those with as many take turns.
            places.rotate_left(random() as usize % candidates.len());
            places.sort_by_key(|at| candidates[*at].requests());
        }
        Balance::Random => places.rotate_left(random() as usize % candidates.len()),
        // Each source ranks the clients in its own way, which a client that comes or goes does not
        // change ("rendezvous hashing").
        Balance::Sticky => places.sort_by_cached_key(|at| candidates[*at].rank_for(source)),
    }
    Some(places)
}

/// Opens a stream on the least busy session of a client that can, within the time that a visitor
/// waits for one; `for_requests` if it is for requests of one source.
///
/// # Errors
///
/// Why there is none.
pub(crate) async fn open_on_client<'a>(
    sessions: &'a [Target],
    open: &Open,
    for_requests: Option<Source>,
) -> Result<(OpenStream, &'a Target), OpenError> {
    let opened = timeout(OPEN_TIMEOUT, open_on_one(sessions, open, for_requests)).await;
    opened.unwrap_or(Err(OpenError::Unresponsive))
}

async fn open_on_one<'a>(
    sessions: &'a [Target],
    open: &Open,
    for_requests: Option<Source>,
) -> Result<(OpenStream, &'a Target), OpenError> {
    if let [session] = sessions {
        return Ok((session.open(open.clone(), for_requests).await?, session));
    }
    let mut sessions: Vec<_> = sessions.iter().collect();
    sessions.sort_by_cached_key(|session| session.load());
    let mut refused = OpenError::Gone;
    while let Some((session, others)) = sessions.split_first() {
        let patience = if others.is_empty() { OPEN_TIMEOUT } else { NEXT_SESSION };
        match timeout(patience, session.open(open.clone(), for_requests)).await {
            Ok(Ok(opened)) => return Ok((opened, *session)),
            Ok(Err(OpenError::Gone)) => (),
            Ok(Err(err)) => refused = err,
            Err(_) => refused = OpenError::Unresponsive,
        }
        sessions.remove(0);
    }
    Err(refused)
}
