//! The interop tests of gRPC: its own client and server, written in Go.

use std::net::SocketAddr;
use std::time::Duration;

use tests::local;

use crate::instruments::Instruments;
use crate::tunnel::{Certificate, HOST, Tunnel};
use crate::verdicts::{Compared, Verdicts};

pub(super) const NAME: &str = "grpc";

/// How long a case may take: the longest give themselves 50 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A busy machine is no failure, and neither is a name server that takes its time: by itself the
/// client asks one, for each connection, how it is to be configured.
const UNHURRIED: [&str; 6] = [
    "--service_config_json",
    "{}",
    "--soak_per_iteration_max_acceptable_latency_ms",
    "10000",
    "--soak_overall_timeout_seconds",
    "50",
];

/// What this client and this server can do with each other alone. The others want credentials of a
/// certain cloud, several servers, or load reports that the server does not send unless it is
/// built for that.
const CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "rpc_soak",
    "channel_soak",
];

pub(super) async fn run(instruments: &Instruments) -> Vec<Compared> {
    let certificate = Certificate::new();
    let address = local::nobody().await;
    let mut server = instruments.program("grpc-server");
    server.args(["--port", &address.port().to_string()]);
    let mut server = instruments.serve(server, "grpc-server.log", address).await;
    let without = ask(instruments, "without", address, None).await;

    let tunnel = Tunnel::to(&format!("h2c://{address}"), &certificate).await;
    let mut all = Vec::new();
    for (way, address, trusted) in
        [("http", tunnel.http, None), ("https", tunnel.https, Some(&certificate))]
    {
        let through = ask(instruments, way, address, trusted).await;
        all.push(Compared { suite: NAME, way, without: without.clone(), through });
    }
    server.expect_alive();
    all
}

async fn ask(
    instruments: &Instruments,
    way: &str,
    address: SocketAddr,
    trusted: Option<&Certificate>,
) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for case in CASES {
        let mut command = instruments.program("grpc-client");
        command.args(["--server_host", HOST, "--server_port", &address.port().to_string()]);
        command.args(["--test_case", case]).args(UNHURRIED);
        if let Some(certificate) = trusted {
            command.args(["--use_tls", "--use_test_ca", "--ca_file"]).arg(certificate.authority());
        }
        let status = instruments.run(command, &format!("grpc-{way}.log"), PATIENCE).await;
        let verdict = match status {
            Some(status) if status.success() => "passed",
            Some(_) => "failed",
            None => "stuck",
        };
        verdicts.add(case, verdict);
    }
    verdicts
}
