//! h2spec, with nginx as the local service. At the relay's own ports it is the relay that speaks
//! HTTP/2 with the visitor; through tunnels of TCP and TLS it is nginx.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::instruments::Instruments;
use crate::service::Nginx;
use crate::tunnel::{Certificate, HOST, Tunnel};
use crate::verdicts::{Compared, Verdicts};

pub(super) const NAME: &str = "h2spec";

/// How long a run may take. Most failures mean that h2spec has waited for two seconds.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

pub(super) async fn run(instruments: &Instruments) -> Vec<Compared> {
    let certificate = Certificate::new();
    let mut nginx = Nginx::start(instruments, &certificate).await;
    let plain = ask(instruments, "without", nginx.h2c, false).await;
    let secure = ask(instruments, "without-tls", nginx.tls, true).await;

    let tcp = Tunnel::to(&nginx.h2c.to_string(), &certificate).await;
    let requests = Tunnel::to(&format!("h2c://{}", nginx.h2c), &certificate).await;
    let tls = Tunnel::to(&format!("tls://{}", nginx.tls), &certificate).await;
    let mut all = Vec::new();
    for (way, address, with_tls) in [
        ("tcp", tcp.public, false),
        ("http", requests.http, false),
        ("tls", tls.https, true),
        ("https", requests.https, true),
    ] {
        let without = if with_tls { secure.clone() } else { plain.clone() };
        let through = ask(instruments, way, address, with_tls).await;
        all.push(Compared { suite: NAME, way, without, through });
    }
    nginx.expect_alive();
    all
}

async fn ask(
    instruments: &Instruments,
    way: &str,
    address: SocketAddr,
    with_tls: bool,
) -> Verdicts {
    let report = instruments.result(&format!("h2spec-{way}.xml"));
    let mut command = instruments.program("h2spec");
    command.args(["--strict", "--host", HOST, "--port", &address.port().to_string()]);
    command.arg("--junit-report").arg(&report);
    if with_tls {
        // The name is shown, which is all that is wanted here: testssl.sh looks at certificates.
        command.args(["--tls", "--insecure"]);
    }
    instruments.run(command, &format!("h2spec-{way}.log"), PATIENCE).await;
    read(&fs::read_to_string(report).unwrap_or_default())
}

/// The report: a case is called by its section and its number there, as h2spec's own arguments are.
fn read(report: &str) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let (mut section, mut number) = (String::new(), 0);
    let mut cases = report.split("<testcase ").skip(1);
    for case in &mut cases {
        let package = case.split('"').nth(1).unwrap_or_default();
        number = if package == section { number + 1 } else { 1 };
        package.clone_into(&mut section);
        let case = case.split("</testcase>").next().unwrap_or_default();
        let verdict = match case {
            failed if failed.contains("<failure") || failed.contains("<error") => "failed",
            skipped if skipped.contains("<skipped") => "skipped",
            _ => "passed",
        };
        verdicts.add(&format!("{section}/{number}"), verdict);
    }
    verdicts
}
