//! testssl.sh, with nginx as the local service. Through a tunnel of TLS it has to find word for
//! word the same; at the relay's own port, which does TLS by itself, it has to be no worse.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::process::Command;

use crate::instruments::Instruments;
use crate::service::Nginx;
use crate::tunnel::{Certificate, HOST, Tunnel};
use crate::verdicts::{Compared, Verdicts};

pub(super) const NAME: &str = "testssl";

/// How long a run may take: some two minutes on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// What is another at each run, whoever is asked: the time.
const OF_THE_MOMENT: [&str; 4] =
    ["scanTime", "HTTP_clock_skew", "HTTP_headerTime", "TLS_timestamp"];

/// How much of a finding is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// How bad it is.
    Severity,
    /// That, and the text.
    Text,
}

pub(super) async fn run(instruments: &Instruments) -> Vec<Compared> {
    let certificate = Certificate::new();
    let mut nginx = Nginx::start(instruments, &certificate).await;
    let without = ask(instruments, "without", nginx.tls).await;
    let tls = Tunnel::to(&format!("tls://{}", nginx.tls), &certificate).await;
    let requests = Tunnel::to(&format!("h2c://{}", nginx.h2c), &certificate).await;
    let mut all = Vec::new();
    for (way, address, depth) in
        [("tls", tls.https, Depth::Text), ("https", requests.https, Depth::Severity)]
    {
        let through = ask(instruments, way, address).await;
        let [without, through] = [&without, &through].map(|found| read(found, depth));
        all.push(Compared { suite: NAME, way, without, through });
    }
    nginx.expect_alive();
    all
}

/// What is found at `address`, as lines of CSV. Nothing if it takes too long: half of it could look
/// like half of another run.
async fn ask(instruments: &Instruments, way: &str, address: SocketAddr) -> String {
    let found = instruments.result(&format!("testssl-{way}.csv"));
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1"]);
    command.arg("--csvfile").arg(&found).arg(format!("{HOST}:{}", address.port()));
    // Its status is how much it has found.
    match instruments.run(command, &format!("testssl-{way}.log"), PATIENCE).await {
        Some(_) => fs::read_to_string(found).unwrap_or_default(),
        None => String::new(),
    }
}

fn read(found: &str, depth: Depth) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for line in found.lines().skip(1) {
        let columns: Vec<_> = line.trim_matches('"').split("\",\"").collect();
        let [id, _, _, severity, text, ..] = columns[..] else { continue };
        if OF_THE_MOMENT.contains(&id) {
            continue;
        }
        let whole = format!("{severity} {text}");
        verdicts.add(id, if depth == Depth::Text { &whole } else { severity });
    }
    verdicts
}
