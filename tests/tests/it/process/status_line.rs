//! What a person sees at the foot of the terminal in which a client runs.

use std::time::Duration;

use tests::process::{Process, Program, Relay, Signal, Terminal, visit};
use tests::{Peer, eventually, local, stays};

/// Wide enough for the line and short enough that the log scrolls.
const COLUMNS: u16 = 100;
const ROWS: u16 = 12;

/// A client at `args` of a relay on which it has one tunnel, in a terminal.
fn client(relay: &Relay, args: &[&str]) -> (Program, Terminal) {
    // Not as JSON.
    let server = relay.control.to_string();
    let program = Program::bare("client").args(["--server", &server]).args(args);
    program.in_terminal(COLUMNS, ROWS)
}

/// The part of a row that does not depend on how much moves, if it is the status line.
fn is_status(row: &str, state: &str) -> bool {
    row.starts_with(&format!("  {state}  ")) && row.contains(" in ") && row.contains(" out ")
}

/// Waits until the last row is the status line of a client in this `state`, with `figures` in it, and
/// the only one of all that are to be seen.
async fn shows(terminal: &Terminal, state: &str, figures: &str) -> Vec<String> {
    let what = format!("{state} with {figures}");
    let rows = terminal.shows(&what, |rows| {
        rows.last().is_some_and(|row| is_status(row, state) && row.contains(figures))
            && rows.iter().filter(|row| row.contains("/s")).count() == 1
    });
    rows.await
}

/// A client that is live, with its terminal.
async fn live(relay: &Relay, args: &[&str]) -> (Process, Terminal) {
    let (program, terminal) = client(relay, args);
    let process = program.start();
    shows(&terminal, "connected", "0 visits").await;
    (process, terminal)
}

#[tokio::test]
async fn a_status_line_counts_a_visit_and_stays_below_the_log() {
    let relay = Relay::start(&["--heartbeat", "100ms"]).await;
    let service = local::echo().await;
    let (_client, terminal) = live(&relay, &["--local", &service.addr().to_string()]).await;

    let mut visitor = visit(relay.public).await;
    // The log says that it has come: the line is redrawn below that.
    let rows = shows(&terminal, "connected", "1 visit (1)  in ").await;
    let above = |text: &str| rows.iter().position(|row| row.contains(text));
    let banner = above("default  tcp://").expect("the banner");
    let arrived = above("visitor arrived").expect("the log");
    assert!(banner < rows.len() - 1 && arrived < rows.len() - 1, "{rows:#?}");
    visitor.expect_echo(&[b'x'; 1995]).await;
    shows(&terminal, "connected", "(2.0 kB)  out ").await;
    shows(&terminal, "connected", " ms").await;
    visitor.half_close().await;
    visitor.expect_end().await;
    shows(&terminal, "connected", "0 visits (1)  in 0 B/s (2.0 kB)").await;
}

#[tokio::test]
async fn a_hundred_visits_scroll_the_log_and_tear_nothing() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let (_client, terminal) = live(&relay, &["--local", &service.addr().to_string()]).await;
    for _ in 0..100 {
        visit(relay.public).await;
    }
    let rows = shows(&terminal, "connected", "0 visits (100)").await;
    let (above, _) = rows.split_at(rows.len() - 1);
    // A line of the log is longer than the terminal is wide, and goes on in the next row.
    assert!(above.iter().all(|row| !row.starts_with("  connected")), "{rows:#?}");
    assert_eq!(rows.len(), usize::from(ROWS));
    assert_eq!(terminal.cursor(), (usize::from(ROWS) - 1, 0), "it waits at the beginning");
}

#[tokio::test]
async fn ctrl_c_takes_the_status_line_away_and_leaves_a_sum() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let args = ["--local", &service.addr().to_string(), "--log", "off"];
    let (mut client, mut terminal) = live(&relay, &args).await;
    let visitor = visit(relay.public).await;
    shows(&terminal, "connected", "1 visit").await;
    terminal.types("\x03");
    // It waits for the visit.
    shows(&terminal, "draining", "1 visit").await;
    drop(visitor);
    assert_eq!(client.exit().await.code(), Some(0));
    let rows =
        terminal.shows("a sum", |rows| rows.last().is_some_and(|row| row.contains("in all")));
    let rows = rows.await;
    let address = relay.public;
    let banner = format!("default  tcp://{address} -> {}", service.addr());
    assert_eq!(rows, [banner.as_str(), "1 visit in all, 5 B in, 5 B out"]);
    assert_eq!(terminal.cursor(), (2, 0));
}

#[tokio::test]
async fn a_client_that_has_lost_its_relay_says_when_it_connects_again() {
    let mut relay = Relay::start(&[]).await;
    let (_client, terminal) = live(&relay, &["--local", "9", "--reconnect", "always"]).await;
    relay.kill().await;
    let what = "that it connects again";
    terminal
        .shows(what, |rows| {
            rows.last().is_some_and(|row| {
                row.starts_with("  connecting again in ") && row.contains(" s  0 visits (0)")
            })
        })
        .await;
}

#[tokio::test]
async fn several_tunnels_have_a_line_each_and_a_sum_above_them() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let target = service.addr();
    let tunnels = format!("--tunnel=web={target} ssh={target}");
    let (program, terminal) =
        client(&relay, &["--local", &target.to_string(), &tunnels, "--log", "off"]);
    let _client = program.start();
    let _visitor = visit_when_live(&terminal, relay.public).await;
    let rows = terminal
        .shows("a line for each tunnel", |rows| {
            rows.len() == 7
                && rows[3].starts_with("  connected  1 visit (1)")
                && rows[4].starts_with("    default  1 visit (1)   in ")
        })
        .await;
    assert!(rows[5].starts_with("    web      0 visits (0)  in "), "{rows:#?}");
    assert!(rows[6].starts_with("    ssh      0 visits (0)  in "), "{rows:#?}");
    assert_eq!(terminal.cursor(), (3, 0));
}

async fn visit_when_live(terminal: &Terminal, public: std::net::SocketAddr) -> Peer {
    terminal.shows("a sum", |rows| rows.iter().any(|row| is_status(row, "connected"))).await;
    visit(public).await
}

#[tokio::test]
async fn a_terminal_that_becomes_narrow_has_a_line_that_fits() {
    let relay = Relay::start(&[]).await;
    let (_client, terminal) = live(&relay, &["--local", "9", "--log", "off"]).await;
    terminal.resize(30, ROWS);
    let row = "  connected  0 visits  in 0 …";
    let rows = terminal.shows("a short line", |rows| rows.last().is_some_and(|last| last == row));
    assert_eq!(rows.await.len(), 2);
}

#[tokio::test]
async fn ctrl_z_clears_the_status_line_away_and_fg_brings_it_back() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let (program, mut terminal) = Program::shell("client").in_terminal(COLUMNS, ROWS);
    let mut shell = program.start();
    terminal.shows("a prompt", |rows| rows.last().is_some_and(|row| row == "$")).await;
    let (server, local) = (relay.control, service.addr());
    terminal.types(&format!("$client --server {server} --local {local} --log off\n"));
    shows(&terminal, "connected", "0 visits (0)").await;
    terminal.types("\x1a");
    let is_back = |rows: &[String]| rows.last().is_some_and(|row| row == "$");
    let rows = terminal.shows("the shell again", is_back).await;
    assert!(!rows.iter().any(|row| row.contains("connected")), "{rows:#?}");
    terminal.types("fg\n");
    shows(&terminal, "connected", "0 visits (0)").await;
    drop(visit(relay.public).await);
    shows(&terminal, "connected", "0 visits (1)").await;

    // Behind the shell it serves on and draws nothing.
    terminal.types("\x1a");
    terminal.shows("the shell again", is_back).await;
    terminal.types("bg\n");
    terminal
        .shows("it to run", |rows| is_back(rows) && rows.iter().any(|row| row.ends_with('&')))
        .await;
    drop(visit(relay.public).await);
    stays("the prompt", Duration::from_millis(1500), async || is_back(&terminal.rows())).await;
    terminal.types("fg\n");
    shows(&terminal, "connected", "0 visits (2)").await;
    terminal.types("\x03");
    terminal.shows("the shell again", is_back).await;
    terminal.types("exit\n");
    assert_eq!(shell.exit().await.code(), Some(0));
}

#[tokio::test]
async fn nothing_is_redrawn_where_nobody_wants_it() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let local = service.addr().to_string();
    let cases = [
        (&["--json"][..], ("A", "")),
        (&["--status", "off"], ("A", "")),
        (&[], ("NO_COLOR", "1")),
        (&[], ("TERM", "dumb")),
    ];
    for (args, (name, value)) in cases {
        let args = [&["--local", &local, "--log", "off"], args].concat();
        let (program, mut terminal) = client(&relay, &args);
        let mut client = program.env(name, value).start();
        terminal.shows("the banner", |rows| rows.iter().any(|row| row.contains("default"))).await;
        drop(visit(relay.public).await);
        stays("the banner alone", Duration::from_millis(1200), async || {
            terminal.rows().iter().all(|row| !row.contains("connected"))
        })
        .await;
        terminal.types("\x03");
        client.exit().await;
        assert!(terminal.rows().iter().all(|row| !row.contains("connected")), "{args:?}");
    }
}

#[tokio::test]
async fn a_pipe_gets_the_banner_and_not_one_byte_more() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let args = ["--server", &relay.control.to_string(), "--local", &service.addr().to_string()];
    let mut client = Program::bare("client").args(args).env("TERM", "xterm").start();
    client.stdout.find("the banner", 0, |line| line.contains("->").then_some(())).await;
    drop(visit(relay.public).await);
    client
        .stderr
        .find("the end of the visit", 0, |line| line.contains("visit over").then_some(()))
        .await;
    client.signal(Signal::INT);
    assert_eq!(client.exit().await.code(), Some(0));
    let (address, local) = (relay.public, service.addr());
    assert_eq!(client.stdout.so_far(), [format!("default  tcp://{address} -> {local}")]);
}

#[tokio::test]
async fn a_log_that_goes_elsewhere_has_nothing_of_the_status_line() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let (program, terminal) = client(&relay, &["--local", &service.addr().to_string()]);
    let mut client = program.with_stderr_piped().start();
    shows(&terminal, "connected", "0 visits").await;
    drop(visit(relay.public).await);
    let rows = shows(&terminal, "connected", "0 visits (1)").await;
    assert_eq!(rows.len(), 2, "{rows:#?}");
    client.signal(Signal::INT);
    client.exit().await;
    let log = client.stderr.so_far();
    assert!(log.iter().any(|line| line.contains("visit over")), "{log:#?}");
    assert!(log.iter().all(|line| !line.contains('\x1b')), "{log:#?}");
}

#[tokio::test]
async fn a_terminal_that_is_held_holds_up_no_visit_and_no_end() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let (mut client, mut terminal) =
        live(&relay, &["--local", &service.addr().to_string(), "--log", "trace"]).await;
    // Ctrl-S.
    terminal.types("\x13");
    let mut beside = visit(relay.public).await;
    for _ in 0..500 {
        drop(visit(relay.public).await);
    }
    beside.expect_echo(b"still here").await;
    drop(beside);
    client.signal(Signal::TERM);
    assert_eq!(client.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_terminal_that_is_closed_ends_the_client() {
    let relay = Relay::start(&[]).await;
    let (mut client, terminal) = live(&relay, &["--local", "9"]).await;
    drop(terminal);
    eventually("the client to end", async || !client.is_running()).await;
}
