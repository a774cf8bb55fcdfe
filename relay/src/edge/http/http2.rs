//! A visitor who speaks HTTP/2: many requests at a time.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::given::{Offered, Streams};
use super::lent::Lent;
use super::parting::linger;
use super::proxy::answer;
use super::sent::Sent;
use super::tasks::Tasks;
use super::turns::Turns;
use super::visitor::{MOST_BUFFERED, Visitor};
use super::windows::Windows;

/// Requests at a time on one connection.
const MOST_STREAMS: u32 = 128;

/// What waits of a body for the window of whoever takes it, in bytes.
pub(super) const MOST_UNSENT: usize = 64 * 1024;

/// How often a connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(20);

/// Serves a visitor, and has it read what it was told at last.
pub(super) async fn serve<S>(visitor: Arc<Visitor>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, lender) = Lent::new(stream);
    run(Arc::clone(&visitor), stream).await;
    if let Some(stream) = lender.take_back().await {
        linger(stream).await;
    }
    // It has had its place as long as its connection.
    drop(visitor);
}

async fn run<S>(visitor: Arc<Visitor>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::clone(&visitor.activity);
    let http = Arc::clone(&visitor.http);
    let windows = Windows::of_visitor(&visitor);
    let service = service_fn(move |request| {
        let answer = answer(Arc::clone(&visitor), request);
        async { Ok::<_, Infallible>(answer.await?.map(Offered::new)) }
    });
    let patience = http.edge.config.now().patience();
    let stall = patience.stall;
    let cut = CancellationToken::new();
    // Its requests go with the connection.
    let _cut = cut.clone().drop_guard();
    let streams = Streams::new(Tasks::new(cut), Arc::clone(&activity), patience);
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_header_list_size(MOST_BUFFERED as u32)
        .max_send_buf_size(MOST_UNSENT)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(Sent::new(stream, Arc::clone(&activity))), service);
    let mut connection = pin!(connection);
    let keep_alive = || http.edge.config.now().web.keep_alive;
    let mut look = pin!(sleep(keep_alive().min(stall)));
    loop {
        tokio::select! {
            ended = connection.as_mut() => return report(ended),
            () = http.stopping.cancelled() => break,
            () = look.as_mut() => {
                let until_stalled = stall.saturating_sub(activity.stalls_for().unwrap_or_default());
                if until_stalled.is_zero() {
                    return debug!("a visitor's body does not come to its end");
                }
                let left = keep_alive().saturating_sub(activity.rests_for().unwrap_or_default());
                if left.is_zero() {
                    break;
                }
                look.as_mut().reset(Instant::now() + left.min(until_stalled));
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    let mut turns = Turns::new(Arc::clone(&activity));
    turns.wait();
    loop {
        look.as_mut().reset(Instant::now() + stall);
        tokio::select! {
            ended = connection.as_mut() => return report(ended),
            () = look.as_mut() => {
                if activity.is_stalled(stall) {
                    return debug!("a visitor's body does not come to its end");
                }
                // hyper may hold the ends of answers that are over for everybody else.
                let rests = activity.rests_for().is_some_and(|rests_for| rests_for >= stall);
                if !turns.look(!rests, stall) {
                    return debug!("a visitor does not take the end of an answer");
                }
            }
        }
    }
}

fn report(ended: hyper::Result<()>) {
    if let Err(err) = ended {
        debug!("a visitor's connection ended: {err}");
    }
}
