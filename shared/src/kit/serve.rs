//! The accept loop that owns its connections.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::logging::Rate;

/// A pause after the system could not accept: long enough for a descriptor to be freed, short
/// enough to go unnoticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So many are accepted one after the other before everything else that is ready has its turn: a
/// rush at one port is not to be felt at another.
const IN_A_ROW: usize = 16;

/// Failures of the system to accept, at any listener.
static TROUBLE: Rate =
    Rate::rare(|more| error!(left_out = more.count, "could not accept connections: {more}"));

/// Accepts until `stop` fires, then gives the open connections until `cut` fires.
///
/// Every connection runs in a task owned by this future. When it returns, or is dropped, none of
/// them is left. `handle` does nothing slow itself: what it returns runs in the task, so a peer
/// that stalls holds up nobody else. It is dropped when the listener has been closed.
///
/// No `async fn`: thousands of these wait at a time, and in the state of an `async fn` every
/// argument that moves has two places.
pub fn serve<H, F>(
    listener: TcpListener,
    stop: CancellationToken,
    cut: CancellationToken,
    handle: H,
) -> impl Future<Output = ()>
where
    H: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    // Nothing is allocated for it before the first connection.
    let mut connections = None::<JoinSet<()>>;
    async move {
        let mut accepted = 0_usize;
        let mut acceptor = Acceptor { listener: &listener, pause: None };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = join_next(&mut connections) => report(ended),
                (stream, peer) = acceptor.next() => {
                    connections.get_or_insert_default().spawn(handle(stream, peer));
                    accepted = accepted.wrapping_add(1);
                    if accepted.is_multiple_of(IN_A_ROW) {
                        yield_now().await;
                    }
                }
            }
        }

        drop(listener); // New peers are refused at once and can go elsewhere.
        drop(handle);
        let drained = async {
            while let Some(ended) = join_next(&mut connections).await {
                report(ended);
            }
        };
        tokio::select! {
            () = drained => return,
            () = cut.cancelled() => (),
        }
        if let Some(mut connections) = connections {
            connections.shutdown().await;
        }
    }
}

async fn join_next(connections: &mut Option<JoinSet<()>>) -> Option<Result<(), JoinError>> {
    connections.as_mut()?.join_next().await
}

struct Acceptor<'a> {
    listener: &'a TcpListener,
    /// Boxed: it is rare, and not to have room in every listener.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Acceptor<'_> {
    /// The next connection. Never fails: an error is either the peer's and over, or ours and passing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(pause) = &mut self.pause {
                pause.await;
                self.pause = None;
            }
            match poll_fn(|cx| self.listener.poll_accept(cx)).await {
                Ok((stream, peer)) => {
                    return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                Err(err) if is_peers(&err) => (),
                Err(err) => {
                    if TROUBLE.allows() {
                        error!("cannot accept connections for now: {err}");
                    }
                    // Out of descriptors or memory. Retrying at once would only spin.
                    self.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

/// Whether the peer gave up between its SYN and our `accept`.
fn is_peers(err: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(err.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn report(ended: Result<(), JoinError>) {
    if let Err(err) = ended
        && !err.is_cancelled()
    {
        error!("a connection's task panicked: {err}");
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_rush_leaves_turns_to_everything_else() {
        const RUSH: usize = 100;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connect = |_| std::net::TcpStream::connect(addr).unwrap();
        let rush: Vec<_> = (0..RUSH).map(connect).collect();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let handle = move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            ready(())
        };
        let never = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, never.clone(), never, handle));
        // Always ready, in the queue with the rest.
        let (mut before, mut most) = (0, 0);
        let mut others = JoinSet::new();
        others.spawn(poll_fn(move |cx| {
            let now = accepted.load(Ordering::Relaxed);
            most = most.max(now - before);
            before = now;
            if now == RUSH {
                return Poll::Ready(most);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let most = others.join_next().await.unwrap().unwrap();
        assert!(most <= IN_A_ROW, "{most} in a row");
        drop(rush);
    }
}
