//! Programs that nobody wants anything from, and programs that nobody listens to.

use std::time::Duration;

use tests::local;
use tests::process::{Client, Program, Relay, Signal, served_again, visit};

#[tokio::test]
async fn an_idle_tunnel_uses_next_to_no_processor_time() {
    let mut relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let mut client = Client::expose(relay.control, service.addr()).await;
    let _idle = visit(relay.public).await;
    let window = Duration::from_secs(1);
    let (at_relay, at_client) = tokio::join!(relay.cpu_during(window), client.cpu_during(window));
    for (program, used) in [("relay", at_relay), ("client", at_client)] {
        assert!(used < Duration::from_millis(50), "the {program} used {used:?} in a second");
    }
}

#[tokio::test]
async fn a_client_whose_stdout_nobody_reads_goes_on() {
    let mut relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let args = ["--server", &relay.control.to_string(), "--local", &service.addr().to_string()];
    let program = Program::client().args(args).args(["--reconnect", "always"]);
    let mut client = program.with_stdout_closed().start();
    client.logged("live: default").await;
    visit(relay.public).await;
    relay.signal(Signal::TERM);
    client.logged("the relay says goodbye").await;
    client.signal(Signal::TERM);
    assert_eq!(client.exit().await.code(), Some(0));
    relay.exit().await;
}

#[tokio::test]
async fn programs_whose_log_nobody_reads_go_on() {
    let service = local::echo().await;
    // Its addresses cannot be read from a log, so they are chosen.
    let host = tests::process::own_host();
    let (control, public) = (format!("{host}:4444"), format!("{host}:8080"));
    let args = ["--control", &control, "--public", &public];
    let mut relay = Program::relay().args(args).with_stderr_closed().start();
    let args = ["--server", &control, "--local", &service.addr().to_string()];
    let mut client =
        Program::client().args(args).args(["--reconnect", "always"]).with_stderr_closed().start();
    served_again((host, 8080).into()).await;
    for _ in 0..3 {
        visit((host, 8080).into()).await;
    }
    relay.signal(Signal::TERM);
    assert_eq!(relay.exit().await.code(), Some(0));
    client.signal(Signal::TERM);
    assert_eq!(client.exit().await.code(), Some(0));
}

/// A core dump would have tokens and keys in it.
#[tokio::test]
async fn neither_program_leaves_a_core_dump() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let client = Client::expose(relay.control, service.addr()).await;
    for pid in [relay.pid(), client.pid()] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let words: Vec<_> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{limits}");
    }
}
