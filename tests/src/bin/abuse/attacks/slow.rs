//! A great many connections to the control port that hardly say anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};
use tests::Tasks;
use tests::eventually;
use tests::peer::dial_from;
use tests::raw::{SYN, data, message};
use tests::rogue::hello;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep, timeout};

use shared::control::protocol::FromClient;

use super::Outcome;
use crate::stage::Stage;
use crate::stranger::address;

/// How many there are.
const CONNECTIONS: usize = 5000;

/// How often each of them says another byte.
const BYTE: Duration = Duration::from_secs(1);

/// How many new clients of the good tenant have to come meanwhile.
const NEWCOMERS: usize = 100;

/// How they begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speech {
    /// Like a client without TLS.
    Plain,
    /// Like one with TLS, in the middle of its first message.
    Tls,
}

/// How many connections there were, and are.
#[derive(Debug, Default)]
struct Tally {
    made: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

/// Holds the connections from so many addresses until enough new clients have come, or `time` is
/// over.
pub(super) async fn bytes(
    stage: Arc<Stage>,
    time: Duration,
    addresses: usize,
    speech: Speech,
) -> Outcome {
    let words = Arc::new(match speech {
        Speech::Plain => a_hello(),
        Speech::Tls => a_client_hello(&stage.trust),
    });
    let tally = Arc::new(Tally::default());
    let mut slow = Tasks::new();
    for number in 0..CONNECTIONS {
        let (tally, words) = (Arc::clone(&tally), Arc::clone(&words));
        let (ip, control) = (address(3, number % addresses), stage.relay.control);
        slow.spawn(async move {
            // Those that are cut off come again.
            loop {
                if let Ok(socket) = dial_from(ip, control).await {
                    tally.one(socket, &words).await;
                }
                sleep(BYTE).await;
            }
        });
    }
    let all = async || tally.made.load(Ordering::Relaxed) >= CONNECTIONS;
    eventually("all connections to have been made", all).await;
    let from = Instant::now();
    let enough = stage.seen.entries.until(NEWCOMERS, from.into_std());
    let came = timeout(time, enough).await;
    drop(slow);

    let count = async |outcome: &str| {
        stage.value(&format!("relay_handshakes_total{{outcome=\"{outcome}\"}}")).await
    };
    let given_up = stage.value("relay_tls_handshakes_total{outcome=\"given_up\"}").await;
    let most = tally.most.load(Ordering::Relaxed);
    let mut told = format!(
        "{} connections in {:.0} s, {most} at a time at most; {} made room, {} ran out of time, {} \
         had to wait; {given_up} of all in the TLS handshake",
        tally.made.load(Ordering::Relaxed),
        from.elapsed().as_secs_f64(),
        count("evicted").await,
        count("timeout").await,
        count("penalised").await,
    );
    if came.is_err() {
        told += &format!("; not {NEWCOMERS} new clients in {time:?}");
    }
    Outcome::told(told)
}

impl Tally {
    /// One connection, until the relay has enough of it.
    async fn one(&self, mut socket: TcpStream, words: &[u8]) {
        self.made.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        let mut beats = interval(BYTE);
        for byte in words {
            beats.tick().await;
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a client without TLS says first.
fn a_hello() -> Vec<u8> {
    let hello = FromClient::Hello(hello(&["default"]));
    data(SYN, 1, &message(&serde_json::to_vec(&hello).expect("a message")))
}

/// What a client with TLS says first.
fn a_client_hello(trust: &Arc<ClientConfig>) -> Vec<u8> {
    let name = "127.0.0.1".try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(trust), name).expect("a client");
    let mut said = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut said).expect("room in memory");
    }
    said
}
