//! Autobahn's fuzzing client, with Autobahn's own server as the local service.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tests::local;

use crate::instruments::Instruments;
use crate::tunnel::{Certificate, HOST, Tunnel};
use crate::verdicts::{Compared, Verdicts};

pub(super) const NAME: &str = "autobahn";

/// How long a run may take: it has 517 cases, some of which may take 8 minutes each.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// Cases of a thousand compressed messages longer than 8 KiB, which keep this Python busy for
/// minutes each.
const LONG: [&str; 11] = ["7", "8", "9", "10", "12", "13", "14", "15", "16", "17", "18"];

pub(super) async fn run(instruments: &Instruments) -> Vec<Compared> {
    let certificate = Certificate::new();
    let address = local::nobody().await;
    let mut server = instruments.program("wstest");
    server.args(["--mode", "testeeserver", "--wsuri", &format!("ws://{address}")]);
    let mut server = instruments.serve(server, "autobahn-server.log", address).await;
    let without = ask(instruments, "without", "ws", address, &certificate).await;

    // The server insists on its own port in `Host`.
    let tunnel = Tunnel::to(&format!("http://{address}?rewrite-host=true"), &certificate).await;
    let mut all = Vec::new();
    for (way, scheme, address) in [("http", "ws", tunnel.http), ("https", "wss", tunnel.https)] {
        let through = ask(instruments, way, scheme, address, &certificate).await;
        all.push(Compared { suite: NAME, way, without: without.clone(), through });
    }
    server.expect_alive();
    all
}

async fn ask(
    instruments: &Instruments,
    way: &str,
    scheme: &str,
    address: SocketAddr,
    certificate: &Certificate,
) -> Verdicts {
    let folder = instruments.result(&format!("autobahn-{way}"));
    let long = ["12", "13"].map(|group| LONG.map(|case| format!("{group}.*.{case}"))).concat();
    let spec = json!({
        "outdir": folder,
        "servers": [{
            "agent": way,
            "url": format!("{scheme}://{HOST}:{}", address.port()),
            "hostname": (scheme == "wss").then_some(HOST),
        }],
        "cases": ["*"],
        "exclude-cases": if instruments.all { Vec::new() } else { long },
        "exclude-agent-cases": {},
    });
    let file = instruments.result(&format!("autobahn-{way}.json"));
    fs::write(&file, spec.to_string()).expect("a file that can be written");
    let mut command = instruments.program("wstest");
    command.args(["--mode", "fuzzingclient", "--spec"]).arg(file);
    command.env("SSL_CERT_FILE", certificate.authority());
    instruments.run(command, &format!("autobahn-{way}.log"), PATIENCE).await;
    let report = fs::read(folder.join("index.json")).unwrap_or_default();
    read(&serde_json::from_slice(&report).unwrap_or_default(), way)
}

/// The report: what was said of the case, and of how the connection was closed.
fn read(report: &Value, agent: &str) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for (case, said) in report[agent].as_object().into_iter().flatten() {
        let [of_case, of_close] =
            ["behavior", "behaviorClose"].map(|key| said[key].as_str().unwrap_or_default());
        let both = format!("{of_case}/{of_close}");
        verdicts.add(case, if of_case == of_close { of_case } else { &both });
    }
    verdicts
}
