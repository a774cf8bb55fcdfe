//! Tenants with a bandwidth move as much as they can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tests::process::Client;
use tests::{Local, Tasks, local};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Outcome;
use crate::stage::{GOOD, Stage};

/// The bandwidth that they have, as it is written and in bit/s.
pub(super) const RATE: &str = "10mbit";
const BITS: f64 = 10e6;

/// What is buffered on the way flows first.
const SETTLE: Duration = Duration::from_secs(2);

/// A token has a bandwidth, and another tenant's has none.
pub(super) async fn of_a_token(stage: Arc<Stage>, time: Duration) -> Outcome {
    let slow = Bulk::start(&stage, &stage.bad_token(&["--rate", RATE]).await, "slow").await;
    let (free, _) = stage.kept.token(GOOD, "free", &[]).await;
    let free = Bulk::start(&stage, &free, "free").await;
    let alone = free.down(time / 4).await;
    let (down, beside) = tokio::join!(slow.down(time), free.down(time));
    let up = slow.up(time).await;
    Outcome::told(format!(
        "{RATE} for a token: down {}, up {}; another tenant {:.0} Mbit/s alone, {:.0} beside it",
        off(down),
        off(up),
        alone / 1e6,
        beside / 1e6,
    ))
}

/// Every tunnel has a bandwidth of its own.
pub(super) async fn of_a_tunnel(stage: Arc<Stage>, time: Duration) -> Outcome {
    let slow = Bulk::start(&stage, &stage.bad_token(&[]).await, "slow").await;
    let (other, _) = stage.kept.token(GOOD, "other", &[]).await;
    let other = Bulk::start(&stage, &other, "other").await;
    let (down, beside) = tokio::join!(slow.down(time), other.down(time));
    let (up, beside_up) = tokio::join!(slow.up(time), other.up(time));
    Outcome::told(format!(
        "{RATE} for each tunnel: down {}, up {}; another tenant's at the same time: down {}, up {}",
        off(down),
        off(up),
        off(beside),
        off(beside_up),
    ))
}

/// A rate, and how far it is from the one that is allowed.
fn off(rate: f64) -> String {
    format!("{:.2} Mbit/s ({:+.1} %)", rate / 1e6, (rate / BITS - 1.0) * 100.0)
}

/// Two tunnels of one client, through which as much goes as can.
#[derive(Debug)]
struct Bulk {
    down: SocketAddr,
    up: SocketAddr,
    taken: Arc<AtomicU64>,
    _client: Client,
    _services: [Local; 2],
}

impl Bulk {
    async fn start(stage: &Stage, token: &str, name: &str) -> Self {
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let sink = Local::start(move |socket| take_all(socket, Arc::clone(&counter))).await;
        let source = local::endless().await;
        let (down, up) = (format!("{name}-down"), format!("{name}-up"));
        let tunnels = [format!("{down}={}", source.addr()), format!("{up}={}", sink.addr())];
        let args = ["--tunnel", &tunnels[0], "--tunnel", &tunnels[1]];
        let mut client = Client::of(stage.program(token, &args));
        let (down, up) = (client.live(&down).await, client.live(&up).await);
        Self { down, up, taken, _client: client, _services: [source, sink] }
    }

    /// What a visitor gets, in bit/s.
    async fn down(&self, time: Duration) -> f64 {
        let taken = Arc::new(AtomicU64::new(0));
        let socket = TcpStream::connect(self.down).await.expect("a visit");
        let mut visit = Tasks::new();
        visit.spawn(take_all(socket, Arc::clone(&taken)));
        rate(&taken, time).await
    }

    /// What a visitor gets through to the service, in bit/s.
    async fn up(&self, time: Duration) -> f64 {
        let mut visitor = TcpStream::connect(self.up).await.expect("a visit");
        let mut visit = Tasks::new();
        visit.spawn(async move {
            let piece = [7; 16 * 1024];
            while visitor.write_all(&piece).await.is_ok() {}
        });
        rate(&self.taken, time).await
    }
}

/// How fast it grows once it has settled, in bit/s.
async fn rate(taken: &AtomicU64, time: Duration) -> f64 {
    sleep(SETTLE).await;
    let (before, start) = (taken.load(Ordering::Relaxed), Instant::now());
    sleep(time).await;
    let bytes = taken.load(Ordering::Relaxed) - before;
    bytes as f64 * 8.0 / start.elapsed().as_secs_f64()
}

/// Takes and counts whatever comes.
async fn take_all(mut socket: TcpStream, taken: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = socket.read(&mut buffer).await {
        taken.fetch_add(n as u64, Ordering::Relaxed);
    }
}
