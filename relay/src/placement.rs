//! Which of a tunnel's targets a visit goes to, the same for whatever brings the visitor in.
//!
//! The client that serves comes first, and of its connections the least busy one. One that cannot
//! is passed over. While a client that was here a moment ago is coming back, visitors can wait for
//! it.

use std::time::Duration;

use shared::visit::open::Open;
use tokio::time::{timeout, timeout_at};

use crate::target::{OpenError, OpenStream, Target};
use crate::tunnel::{Candidate, Tunnel};

/// How long a visitor waits for a stream. Streams are opened at once unless the client has left
/// hundreds of them unanswered.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits before it tries another session of the same client.
const NEXT_SESSION: Duration = Duration::from_secs(1);

/// Opens a stream for a visit to `tunnel`. When no client is there, waits up to `hold` after the
/// last one has gone, in the order of arrival. Each client that the visit is about to go to has to
/// let it in: it may not be the one that was there when the visitor came.
///
/// # Cancel safety
///
/// Cancel safe.
///
/// # Errors
///
/// Why no target takes the visit, or why `admit` does not.
pub(crate) async fn place<E: From<OpenError>>(
    tunnel: &Tunnel,
    open: Open,
    hold: Duration,
    mut admit: impl FnMut(&Candidate) -> Result<(), E>,
) -> Result<OpenStream, E> {
    if !tunnel.is_anybody_held()
        && let Some(opened) = open_on_one(tunnel, &open, &mut admit).await?
    {
        return Ok(opened);
    }
    // Nobody serves, or others have been waiting for longer.
    let Some(deadline) = tunnel.comes_back_by(hold) else { return Err(OpenError::Gone.into()) };
    let Some(held) = tunnel.hold() else { return Err(OpenError::Gone.into()) };
    let served = async {
        let _turn = held.turn().await;
        loop {
            // Before the attempt, so that a claim that comes in between is not missed.
            let claimed = tunnel.claimed();
            match open_on_one(tunnel, &open, &mut admit).await? {
                Some(opened) => return Ok(opened),
                None => claimed.await,
            }
        }
    };
    tokio::select! {
        served = timeout_at(deadline.into(), served) => {
            served.unwrap_or_else(|_| Err(OpenError::Gone.into()))
        }
        // A relay that stops lets no client in any more.
        () = tunnel.closed().cancelled() => Err(OpenError::Gone.into()),
    }
}

/// Opens a stream on the first target that can. `None`: all of them have gone.
async fn open_on_one<E: From<OpenError>>(
    tunnel: &Tunnel,
    open: &Open,
    admit: &mut impl FnMut(&Candidate) -> Result<(), E>,
) -> Result<Option<OpenStream>, E> {
    let attempt = async {
        for candidate in &*tunnel.candidates() {
            admit(candidate)?;
            match open_on_client(&candidate.sessions, open).await {
                Err(OpenError::Gone) => (),
                opened => return Ok(Some(opened?)),
            }
        }
        Ok(None)
    };
    timeout(OPEN_TIMEOUT, attempt).await.unwrap_or_else(|_| Err(OpenError::Unresponsive.into()))
}

/// Opens a stream on the least busy session of a client that can.
async fn open_on_client(sessions: &[Target], open: &Open) -> Result<OpenStream, OpenError> {
    if let [session] = sessions {
        return session.open(open.clone()).await;
    }
    let mut sessions: Vec<_> = sessions.iter().collect();
    sessions.sort_by_cached_key(|session| session.load());
    let mut refused = OpenError::Gone;
    while let Some((session, others)) = sessions.split_first() {
        let patience = if others.is_empty() { OPEN_TIMEOUT } else { NEXT_SESSION };
        match timeout(patience, session.open(open.clone())).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(OpenError::Gone)) => (),
            Ok(Err(err)) => refused = err,
            Err(_) => refused = OpenError::Unresponsive,
        }
        sessions.remove(0);
    }
    Err(refused)
}
