//! Programs whose configuration file changes, comes and goes while they run.

use std::fs::{self, File};
use std::io::Read;

use tests::process::{Client, Program, Relay, Signal, visit};
use tests::{Folder, local, scrape, within};

/// A line of a file that makes `address` the local service of a tunnel.
fn tunnel(name: &str, address: std::net::SocketAddr) -> String {
    format!("[tunnels.{name}]\nlocal = \"{address}\"\n")
}

#[tokio::test]
async fn a_signal_to_reload_leaves_a_relay_alone_that_has_no_file() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let _client = Client::expose(relay.control, service.addr()).await;
    let mut visitor = visit(relay.public).await;
    for _ in 0..2 {
        relay.signal(Signal::HUP);
        relay.logged("SIGHUP: there is no configuration file to read again").await;
        visitor.expect_echo(b"still here").await;
    }
    visit(relay.public).await;
}

#[tokio::test]
async fn a_client_whose_terminal_is_closed_stops_and_one_that_is_only_asked_to_reload_does_not() {
    let folder = Folder::new();
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    for text in ["", "grace = \"1s\"\n"] {
        let file = folder.write("client.toml", text);
        let program = Program::client().args(["--config"]).args([&file]).args([
            "--server",
            &relay.control.to_string(),
            "--local",
            &service.addr().to_string(),
        ]);
        let (program, terminal) = program.with_stderr_terminal();
        let mut client = Client::of(program);
        client.event("live").await;
        client.signal(Signal::HUP);
        visit(relay.public).await;
        assert!(client.is_running());
        drop(terminal);
        client.signal(Signal::HUP);
        assert_eq!(client.event("ended").await["reason"], "stopped");
        assert_eq!(client.exit().await.code(), Some(0));
    }
}

/// Reads from a terminal until `text` has been shown there, or it is closed. Returns the terminal.
fn until_shown(mut terminal: File, text: &str) -> File {
    let (mut shown, mut buf) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&shown).contains(text) {
        match terminal.read(&mut buf) {
            Ok(0) | Err(_) => break,
            Ok(n) => shown.extend_from_slice(&buf[..n]),
        }
    }
    terminal
}

/// As a shell does that ends: it says so to what it has started, and its terminal closes after it.
#[tokio::test]
async fn a_client_that_hears_of_the_end_of_its_terminal_a_moment_early_stops_all_the_same() {
    let relay = Relay::start(&[]).await;
    let (program, terminal) = Program::client()
        .args(["--server", &relay.control.to_string(), "--local", "1"])
        .with_stderr_terminal();
    let mut client = Client::of(program);
    client.event("live").await;
    client.signal(Signal::HUP);
    let shown = tokio::task::spawn_blocking(|| until_shown(terminal.into(), "SIGHUP"));
    drop(within("the signal to be taken", shown).await);
    assert_eq!(client.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_configuration_that_comes_through_a_pipe_is_kept() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let program = Program::client()
        .env("CLIENT_SERVER", relay.control.to_string())
        .args(["--config", "/dev/stdin"])
        .with_input(&tunnel("one", service.addr()));
    let mut client = Client::of(program);
    let public = client.live("one").await;
    let mut visitor = visit(public).await;
    client.signal(Signal::HUP);
    client.logged("SIGHUP: /dev/stdin is not read again").await;
    visitor.expect_echo(b"still here").await;
    visit(public).await;
    assert!(!client.stdout.so_far().iter().any(|event| event.contains("default")));
}

#[tokio::test]
async fn a_file_that_becomes_empty_or_goes_leaves_everything_as_it_is() {
    let folder = Folder::new();
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let one = tunnel("one", service.addr());
    let file = folder.write("client.toml", &one);
    let program = Program::client().env("CLIENT_SERVER", relay.control.to_string());
    let mut client = Client::of(program.args(["--config"]).args([&file]));
    let public = client.live("one").await;
    let mut visitor = visit(public).await;

    for nothing in ["", "\n \n"] {
        folder.replace("client.toml", nothing);
        client.logged("client.toml: it is empty").await;
        client.signal(Signal::HUP);
        visitor.expect_echo(b"still here").await;
    }
    fs::remove_file(&file).expect("a file to remove");
    client.logged("client.toml: cannot read it: No such file").await;
    visitor.expect_echo(b"still here").await;
    visit(public).await;

    folder.write("client.toml", &format!("{one}{}", tunnel("two", service.addr())));
    visit(client.live("two").await).await;
    visitor.expect_echo(b"still here").await;
    assert!(!client.stdout.so_far().iter().any(|event| event.contains("default")));
}

/// As by a mistake, or while something else is in the file's place.
#[tokio::test]
async fn a_pipe_in_the_files_place_stops_no_reload_after_it() {
    let folder = Folder::new();
    let file = folder.write("relay.toml", "grace = \"1s\"\n");
    let relay = Relay::of(Program::relay().args(["--config"]).args([&file])).await;
    fs::remove_file(&file).expect("a file to remove");
    folder.pipe("relay.toml");
    relay.signal(Signal::HUP);
    relay.logged("cannot read it: it is a pipe, and nothing came through it").await;
    fs::remove_file(&file).expect("a pipe to remove");
    folder.replace("relay.toml", "grace = \"2s\"\n");
    relay.logged("~ grace: 1s -> 2s").await;
    relay.signal(Signal::HUP);
    relay.logged("SIGHUP: ").await;
    folder.replace("relay.toml", "grace = \"3s\"\n");
    relay.logged("~ grace: 2s -> 3s").await;
}

#[tokio::test]
async fn a_pipe_without_anybody_at_its_other_end_holds_up_no_start() {
    let folder = Folder::new();
    let pipe = folder.pipe("pipe");
    for (program, flag) in [
        ("relay", "config"),
        ("relay", "token-file"),
        ("relay", "jwt-key"),
        ("relay", "tls-cert"),
        ("client", "config"),
        ("client", "token-file"),
        ("client", "tls-client-cert"),
    ] {
        let mut started = Program::bare(program).args([format!("--{flag}")]).args([&pipe]);
        if flag.ends_with("cert") {
            let key = flag.replace("cert", "key");
            started = started.args([format!("--{key}")]).args([&pipe]);
        }
        let started = if program == "client" { started.args(["--tls"]) } else { started };
        let (status, _, said) = started.args(["check"]).output().await;
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(status, Some(2), "{program} {flag}: {said}");
        assert!(said.contains("it is a pipe, and nothing came"), "{program} {flag}: {said}");
    }
}

/// As `<(command)` of a shell: it may take a moment.
#[tokio::test]
async fn a_secret_may_come_through_a_pipe() {
    let program = Program::bare("relay").args(["--token-file", "/dev/stdin", "check"]);
    let (status, _, said) = program.with_input("correct horse battery staple\n").output().await;
    assert_eq!((status, said.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn whoever_wants_the_defaults_says_so_by_a_comment() {
    let folder = Folder::new();
    let file = folder.write("client.toml", "grace = \"1s\"\n");
    let client = Program::client().args(["--reconnect", "always", "--config"]).args([&file]);
    let client = client.start();
    client.logged("cannot connect").await;
    folder.replace("client.toml", "# nothing\n");
    client.logged("~ grace: 1s -> 30s").await;
}

#[tokio::test]
async fn a_file_that_comes_to_its_usual_place_later_is_taken_at_sighup() {
    let folder = Folder::new();
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let program = Program::client()
        .env("CLIENT_SERVER", relay.control.to_string())
        .env("XDG_CONFIG_HOME", folder.path());
    let mut client = Client::of(program);
    client.live("default").await;
    client.signal(Signal::HUP);
    client.logged("SIGHUP: there is no configuration file to read again").await;
    fs::create_dir(folder.file("sallyport")).expect("a folder");
    folder.write("sallyport/client.toml", &tunnel("one", service.addr()));
    client.signal(Signal::HUP);
    visit(client.live("one").await).await;
    // From then on it is followed like any other.
    folder.replace("sallyport/client.toml", &tunnel("two", service.addr()));
    visit(client.live("two").await).await;
}

#[tokio::test]
async fn a_client_without_a_file_can_be_asked_what_one_would_change() {
    let folder = Folder::new();
    let candidate = folder.write("candidate.toml", "grace = \"1s\"\n");
    let at_home = |program: Program| {
        program.env("XDG_CONFIG_HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path())
    };
    let client = at_home(Program::client()).args(["--reconnect", "always"]).start();
    client.logged("cannot connect").await;
    let ask = at_home(Program::bare("client")).args(["apply", "--dry-run"]);
    assert_eq!(ask.output().await, (Some(0), String::new(), String::new()));
    let ask = at_home(Program::bare("client")).args(["apply", "--dry-run"]).args([candidate]);
    assert_eq!(ask.output().await, (Some(0), "~ grace: 30s -> 1s".to_owned(), String::new()));
}

#[tokio::test]
async fn only_what_becomes_different_counts_as_a_reload() {
    let folder = Folder::new();
    let file = folder.write("relay.toml", "grace = \"1s\"\n");
    let relay = Relay::of(Program::relay().args(["--config"]).args([&file])).await;
    relay.signal(Signal::HUP);
    folder.replace("relay.toml", "grace = \"2s\"\n");
    relay.logged("~ grace: 1s -> 2s").await;
    let applied = "relay_config_reloads_total{outcome=\"applied\"}";
    scrape::shows(relay.admin, "one reload", |scrape| scrape.value(applied) == Some(1.0)).await;
    relay.signal(Signal::HUP);
    folder.replace("relay.toml", "grace = \"2s\"\nthreads = 2\n");
    relay.logged("~ threads: 1 -> 2").await;
    folder.replace("relay.toml", "grace = \"3s\"\nthreads = 2\n");
    relay.logged("~ grace: 2s -> 3s").await;
    scrape::shows(relay.admin, "two reloads", |scrape| scrape.value(applied) == Some(2.0)).await;
}

/// Both units do with variables alone, and take a file that comes later.
#[tokio::test]
async fn the_services_start_without_a_file() {
    for program in ["relay", "client"] {
        let unit = format!("{}/../deploy/systemd/{program}.service", env!("CARGO_MANIFEST_DIR"));
        let unit = fs::read_to_string(unit).expect("the unit");
        let of = |key: &'static str| unit.lines().filter_map(move |line| line.strip_prefix(key));
        let mut service = Program::bare(program);
        for variable in of("Environment=") {
            let (name, value) = variable.split_once('=').expect("a variable");
            service = service.env(name, value);
        }
        let start = of("ExecStart=").next().expect("what it starts");
        let service = service.args(["check"]).args(start.split_whitespace().skip(1));
        let (status, shown, error) = service.output().await;
        assert_eq!((status, error.as_str()), (Some(0), ""), "{program}");
        assert!(shown.starts_with("# What runs without a configuration file"), "{shown}");
    }
}
