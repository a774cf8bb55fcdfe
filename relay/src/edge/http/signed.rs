//! Bodies that are held until it is known who has signed them.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use hyper::body::Body;
use shared::kit::logging::Rate;
use tokio::time::timeout;
use tracing::warn;

use super::Http;
use super::body::Stopped;
use crate::access::Owner;
use crate::limits::{Loan, Memory, Source};
use crate::metrics::Limit;
use crate::tunnel::Tunnel;
use crate::web::policy::{MOST_SIGNED, Webhook};
use crate::web::{BodyError, Fault, RequestBody};

/// How long a body may take to come. Senders give up on their own requests before that.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// So much of each body counts as nothing, in bytes: hyper holds more of a visitor's head. Most bodies
/// that are signed are no longer.
const SMALL: usize = 16 * 1024;

/// So many bytes of bodies that may be anybody's are held for all tunnels together: of four of them as
/// many as they may. Beyond that it is an attack, whoever's tunnels it goes to.
const MOST_HELD: usize = 64 * 1024 * 1024;

/// Bodies that had to make room.
static MADE_ROOM: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "bodies that are not known to be signed made room: {more}");
});

/// What bodies of all tunnels take up until it is known whose they are.
#[derive(Debug)]
pub(super) struct Unsigned(Memory<Owner>);

/// What one of them takes up: of the room of its tunnel, and of that of all.
struct Held {
    of_tunnel: Loan<()>,
    of_all: Loan<Owner>,
}

impl Unsigned {
    pub(super) fn new() -> Self {
        Self(Memory::new(MOST_HELD))
    }
}

impl Held {
    /// It is of so many bytes from now on.
    fn set(&mut self, bytes: usize, now: Instant) {
        self.of_tunnel.set(bytes, now);
        self.of_all.set(bytes, now);
    }

    /// Whether it had to make room.
    fn is_evicted(&self) -> bool {
        self.of_tunnel.is_evicted() || self.of_all.is_evicted()
    }

    /// Resolves when the memory is needed for somebody else.
    async fn evicted(&self) {
        tokio::select! {
            () = self.of_tunnel.evicted() => (),
            () = self.of_all.evicted() => (),
        }
    }
}

/// Reads a body for `tunnel` from `visitor` and lets it on from memory, if it is signed as `webhook`
/// wants it.
///
/// # Errors
///
/// It is not, or cannot be read.
pub(super) async fn check(
    http: &Http,
    webhook: &Webhook,
    head: &HeaderMap,
    (tunnel, visitor): (&Tunnel, IpAddr),
    body: RequestBody,
) -> Result<RequestBody, Fault> {
    let signature = webhook.signature(head, SystemTime::now())?;
    if body.size_hint().lower() > MOST_SIGNED as u64 {
        return Err(Fault::BodyTooLarge);
    }
    let source = http.edge.config.now().source(visitor);
    let mut held = Held {
        of_tunnel: webhook.memory().lend((), source),
        of_all: http.unsigned.0.lend(tunnel.id().owner.clone(), source),
    };
    let read = timeout(READ_WITHIN, whole(body, &mut held)).await;
    if held.is_evicted() {
        http.edge.metrics.limit(Limit::SignedBodies);
        if MADE_ROOM.allows() {
            let (tunnel, source) = (tunnel.id(), Source::from(visitor));
            warn!(%tunnel, %source, "a body that is not known to be signed made room for others");
        }
        return Err(Fault::OverLimit);
    }
    let body = read.map_err(|_| Fault::RequestTimeout)??;
    signature.check(&body)?;
    // Who sent it is known from here on.
    drop(held);
    if body.is_empty() {
        return Ok(RequestBody::Empty);
    }
    let never = |never| match never {};
    Ok(RequestBody::Streamed(Box::pin(Full::new(body).map_err(never))))
}

/// All of a body, which `held` has in memory.
async fn whole(mut body: RequestBody, held: &mut Held) -> Result<Bytes, Fault> {
    let mut bytes = BytesMut::new();
    loop {
        let frame = tokio::select! {
            biased;
            () = held.evicted() => return Err(Fault::OverLimit),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        let Ok(data) = frame.map_err(|err| fault_of(&err))?.into_data() else { continue };
        if bytes.len() + data.len() > MOST_SIGNED {
            return Err(Fault::BodyTooLarge);
        }
        bytes.extend_from_slice(&data);
        if bytes.len() > SMALL {
            held.set(bytes.capacity(), Instant::now());
        }
    }
}

fn fault_of(err: &BodyError) -> Fault {
    match err.downcast_ref::<Stopped>() {
        Some(Stopped::TooLarge) => Fault::BodyTooLarge,
        Some(Stopped::OverLimit) => Fault::OverLimit,
        None => Fault::BadRequest("Its body broke off."),
    }
}
