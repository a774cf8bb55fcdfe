//! A visitor who speaks HTTP/1: one request after the other.
//!
//! Between them the connection rests: nothing is kept of it but the socket, and a byte wakes it up.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::kit::net::shut_down;
use shared::kit::seldom::Seldom;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::activity::Noted;
use super::parting::linger;
use super::proxy::answer;
use super::visitor::{HEADER_TIMEOUT, MOST_BUFFERED, Visitor};
use crate::edge::prefixed::Prefixed;

/// After so long without a request a connection rests. Sooner, whoever comes again at once would wait
/// for it to wake up.
const LULL: Duration = Duration::from_secs(1);

/// The same while many are awake. Each holds some 30 KB meanwhile, and what thousands hold at a time is
/// left in pieces that the system does not get back.
const LULL_IN_CROWD: Duration = Duration::from_millis(10);

/// So many are awake without being many.
const MOST_AT_EASE: usize = 64;

/// Serves a visitor of whom `seen` has been read already.
pub(super) async fn serve<S>(visitor: Arc<Visitor>, mut stream: S, mut seen: Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    loop {
        // Boxed: thousands of connections rest at a time.
        let rested = Box::pin(awake(Arc::clone(&visitor), stream, seen)).await;
        let Some((resting, unread)) = rested else { return };
        (stream, seen) = (resting, unread);
        if seen.is_empty() {
            match rest(&visitor, &mut stream).await {
                Some(first) => seen = first,
                None => return shut_down(stream).await,
            }
        }
    }
}

/// Serves requests for as long as they come. Returns the connection when they do not, and what has
/// been read of it; `None` when it is over.
async fn awake<S>(visitor: Arc<Visitor>, stream: S, seen: Bytes) -> Option<(S, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::clone(&visitor.activity);
    let http = Arc::clone(&visitor.http);
    let stopping = http.stopping.clone();
    let among = Arc::clone(&http.awake);
    let lull_now = || if Arc::strong_count(&among) > MOST_AT_EASE { LULL_IN_CROWD } else { LULL };
    let service = service_fn(move |request| answer(Arc::clone(&visitor), request));
    let stream = Noted::new(Prefixed::new(seen, stream), Arc::clone(&activity));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MOST_BUFFERED)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // Whether it is time to look, rather than to stop.
    let told = |wait| {
        let stopping = &stopping;
        Seldom::new(async move { timeout(wait, stopping.cancelled()).await.is_err() })
    };
    let mut looks = told(lull_now());
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                over(ended, connection.into_parts().map(|parts| parts.io.into_inner())).await;
                return None;
            }
            is_time = &mut looks => {
                if !is_time {
                    break;
                }
                let lull_now = lull_now();
                let rests_for = activity.rests_for();
                if rests_for.is_some_and(|time| time >= lull_now) && activity.is_silent() {
                    let parts = connection.into_parts()?;
                    let (stream, unread) = parts.io.into_inner().into_inner().into_parts();
                    return Some((stream, [unread, parts.read_buf].concat().into()));
                }
                if activity.is_stalled(http.edge.config.now().stall_timeout) {
                    debug!("a visitor's body does not come to its end");
                    return None;
                }
                // One that is answering, or whose visitor takes its time, is not asked all the time.
                let wait = match rests_for {
                    Some(time) if time < lull_now => lull_now - time,
                    Some(_) => LULL / 8,
                    None => LULL,
                };
                looks = told(wait);
            }
        }
    }
    Pin::new(&mut connection).graceful_shutdown();
    let ended = (&mut connection).await;
    over(ended, connection.into_parts().map(|parts| parts.io.into_inner())).await;
    None
}

/// The connection has ended, and its stream is there unless it has changed to another protocol. The
/// visitor reads what it was told: the last answer, or why there is none to what is no request.
async fn over(ended: hyper::Result<()>, stream: Option<impl AsyncRead + Unpin>) {
    let is_told = match &ended {
        Ok(()) => true,
        Err(err) => {
            debug!("a visitor's connection ended: {err}");
            err.is_parse()
        }
    };
    if let Some(stream) = stream.filter(|_| is_told) {
        linger(stream).await;
    }
}

/// Waits for the first byte of the next request. `None`: there is none to be.
async fn rest(visitor: &Visitor, stream: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let until = Instant::now() + visitor.http.edge.config.now().web.keep_alive;
    let mut first = [0];
    tokio::select! {
        read = stream.read(&mut first) => match read {
            Ok(1..) => Some(Bytes::copy_from_slice(&first)),
            Ok(0) | Err(_) => None,
        },
        () = sleep_until(until) => None,
        () = visitor.http.stopping.cancelled() => None,
    }
}
