//! Far more visitors at one tunnel than it may have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tests::peer::dial_from;
use tests::process::Client;
use tests::{Local, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Outcome;
use crate::stage::Stage;
use crate::stranger::address;

/// How many visitors a tunnel may have: the relay's flag.
pub(super) const MOST: &str = "100";

/// How many there would like to be: ten times as many, from so many addresses.
const VISITORS: usize = 1000;
const ADDRESSES: usize = 100;

/// How long a visitor stays who is served, and how soon one comes again who is not.
const STAY: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Tally {
    served: AtomicUsize,
    turned_away: AtomicUsize,
    /// Those at the local service, and the most there were.
    there: AtomicUsize,
    most: AtomicUsize,
}

/// Offers ten times the limit for `time`.
pub(super) async fn rush(stage: Arc<Stage>, time: Duration) -> Outcome {
    let tally = Arc::new(Tally::default());
    let at_service = Arc::clone(&tally);
    let service = Local::start(move |socket| Tally::serve(Arc::clone(&at_service), socket)).await;
    let token = stage.bad_token(&[]).await;
    let tunnel = format!("popular={}", service.addr());
    let mut client = Client::of(stage.program(&token, &["--tunnel", &tunnel]));
    let public = client.live("popular").await;

    let mut visitors = Tasks::new();
    for number in 0..VISITORS {
        let tally = Arc::clone(&tally);
        visitors.spawn(async move {
            loop {
                tally.visit(address(4, number % ADDRESSES), public).await;
            }
        });
    }
    let start = Instant::now();
    // They never end by themselves.
    drop(timeout(time, visitors.join()).await);
    let seconds = start.elapsed().as_secs_f64();
    let most = tally.most.load(Ordering::Relaxed);
    let rate = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as f64 / seconds;
    let (served, away) = (rate(&tally.served), rate(&tally.turned_away));
    let told = format!(
        "{served:.0} visitors/s served, {away:.0}/s turned away, {most} at a time at most (limit \
         {MOST})"
    );
    let events = client.stdout.as_json();
    let lost = events.iter().filter(|event| event["event"] == "lost").count();
    let beyond = most > MOST.parse::<usize>().expect("a number");
    Outcome::told(told)
        .never(lost, "sessions of the crowded tunnel were lost")
        .never(beyond.into(), "time more visitors than may be were there")
}

impl Tally {
    /// The local service: an echo that counts whom it has.
    async fn serve(tally: Arc<Self>, mut socket: TcpStream) {
        let there = tally.there.fetch_add(1, Ordering::Relaxed) + 1;
        tally.most.fetch_max(there, Ordering::Relaxed);
        let (mut reader, mut writer) = socket.split();
        if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
            drop(writer.shutdown().await);
        }
        tally.there.fetch_sub(1, Ordering::Relaxed);
    }

    async fn visit(&self, ip: [u8; 4], public: SocketAddr) {
        let visit = async {
            let mut socket = dial_from(ip, public).await?;
            let mut answer = [0; 1];
            socket.write_all(b"?").await?;
            socket.read_exact(&mut answer).await?;
            std::io::Result::Ok(socket)
        };
        match visit.await {
            Ok(_socket) => {
                self.served.fetch_add(1, Ordering::Relaxed);
                sleep(STAY).await;
            }
            Err(_) => {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                sleep(AGAIN).await;
            }
        }
    }
}
