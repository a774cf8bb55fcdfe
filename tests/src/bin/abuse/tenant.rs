//! What a good tenant sees: its visitors, and its clients that come anew.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{Settings, Status};
use tests::{RunningClient, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use crate::samples::Samples;

/// What the tenant's own service says to each visitor: whoever hears something else has come to the
/// wrong client.
pub(crate) const GREETING: &[u8; 6] = b"ann's\n";

/// Visits that are open all the time.
const OPEN: usize = 8;

/// How often each of them asks for an echo.
const ECHOES: Duration = Duration::from_millis(20);

/// How often somebody comes for a short visit.
const VISITS: Duration = Duration::from_millis(50);

/// How often a visit begins anew that has failed, or a new client comes, at the most.
const PAUSE: Duration = Duration::from_millis(50);

/// A new client that is not in by then is as good as kept out.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Round trips over open visits.
    pub(crate) echoes: Samples,
    /// From connecting to the first echo.
    pub(crate) visits: Samples,
    /// From the start of a new client to its session.
    pub(crate) entries: Samples,
    /// New clients that were not let in at all.
    kept_out: AtomicUsize,
    /// Visits that broke off.
    broken: AtomicUsize,
    /// Visitors who came to somebody else.
    astray: AtomicUsize,
}

impl Seen {
    /// How many visits broke off.
    pub(crate) fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    /// How many visitors came to somebody else.
    pub(crate) fn astray(&self) -> usize {
        self.astray.load(Ordering::Relaxed)
    }

    /// How many new clients were not let in.
    pub(crate) fn kept_out(&self) -> usize {
        self.kept_out.load(Ordering::Relaxed)
    }
}

/// Sends visitors to `public`, and new clients with these settings, until the tasks are dropped.
pub(crate) fn live(seen: &Arc<Seen>, public: SocketAddr, newcomer: Settings) -> Tasks {
    let mut tasks = Tasks::new();
    for _ in 0..OPEN {
        let seen = Arc::clone(seen);
        tasks.spawn(async move {
            let mut beats = pauses();
            loop {
                beats.tick().await;
                if let Err(err) = stay(public, &seen).await {
                    seen.note(&err);
                }
            }
        });
    }
    let of_visits = Arc::clone(seen);
    tasks.spawn(async move { come_and_go(public, &of_visits).await });
    let of_clients = Arc::clone(seen);
    tasks.spawn(async move {
        let mut beats = pauses();
        loop {
            beats.tick().await;
            come_anew(newcomer.clone(), &of_clients).await;
        }
    });
    tasks
}

/// A beat for what is done again and again, each time after the time before is over.
fn pauses() -> Interval {
    let mut beats = interval(PAUSE);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

impl Seen {
    fn note(&self, err: &io::Error) {
        let counter = match err.kind() {
            io::ErrorKind::InvalidData => &self.astray,
            _ => &self.broken,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// One visit with an echo at each beat. A late one counts from when it was due, and those that it
/// has delayed as well.
async fn stay(public: SocketAddr, seen: &Seen) -> io::Result<()> {
    let mut visitor = arrive(public).await?;
    let mut beats = interval(ECHOES);
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let due = beats.tick().await;
        echo(&mut visitor).await?;
        seen.echoes.add(due.elapsed());
    }
}

/// Short visits, one after the other.
async fn come_and_go(public: SocketAddr, seen: &Seen) {
    let mut beats = interval(VISITS);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let start = Instant::now();
        let visit = async {
            let mut visitor = arrive(public).await?;
            echo(&mut visitor).await
        };
        match visit.await {
            Ok(()) => seen.visits.add(start.elapsed()),
            Err(err) => seen.note(&err),
        }
    }
}

/// A visitor who has been greeted.
async fn arrive(public: SocketAddr) -> io::Result<TcpStream> {
    let mut visitor = TcpStream::connect(public).await?;
    visitor.set_nodelay(true)?;
    let mut greeting = [0; GREETING.len()];
    visitor.read_exact(&mut greeting).await?;
    if greeting != *GREETING {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "somebody else's greeting"));
    }
    Ok(visitor)
}

async fn echo(visitor: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 64];
    let asked = [b'?'; 64];
    visitor.write_all(&asked).await?;
    visitor.read_exact(&mut answer).await?;
    if answer != asked {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "somebody else's echo"));
    }
    Ok(())
}

/// A client that starts, is let in, and goes again.
async fn come_anew(settings: Settings, seen: &Seen) {
    let start = Instant::now();
    let mut client = RunningClient::start(settings);
    match timeout(PATIENCE, client.status.wait_for(Status::is_live)).await {
        Ok(Ok(_)) => seen.entries.add(start.elapsed()),
        _ => drop(seen.kept_out.fetch_add(1, Ordering::Relaxed)),
    }
    client.stop.gracefully.cancel();
    drop(timeout(PAUSE * 20, client.ended()).await);
}
