//! The configuration file: what it may hold, what beats it, and what is said to mistakes.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;

use tests::process::{Client, Program, Relay, Signal, visit};
use tests::{Folder, Local, Peer, eventually, local};

#[tokio::test]
async fn both_programs_run_from_a_file_alone() {
    let folder = Folder::new();
    let service = local::speaks_first(b"hello").await;
    let any = "control = \"127.0.0.1:0\"\npublic = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    let file = folder.write("relay.toml", &format!("{any}ports = 0\nlog-format = \"json\"\n"));
    let relay = Relay::of(Program::bare("relay").args(["--config"]).args([file])).await;

    let text = format!(
        "server = \"{}\"\njson = true\nlog-format = \"json\"\n[tunnels.one]\nlocal = \"{}\"\n",
        relay.control,
        service.addr()
    );
    let file = folder.write("client.toml", &text);
    let mut client = Client::of(Program::bare("client").env("CLIENT_CONFIG", file));
    let public = client.live("one").await;
    Peer::connect(public).await.expect(b"hello").await;
}

#[tokio::test]
async fn a_file_in_its_usual_place_is_found() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.file("sallyport")).expect("a folder");
    let file = folder.write("sallyport/client.toml", "connections = 3\n");
    let check = Program::bare("client").env("XDG_CONFIG_HOME", folder.path()).args(["check"]);
    let (status, shown, _) = check.output().await;
    assert_eq!(status, Some(0));
    assert!(shown.contains(&file.display().to_string()), "{shown}");
    assert!(shown.contains("connections = 3 "), "{shown}");

    let elsewhere = folder.file("nowhere");
    let check = Program::bare("client").env("HOME", elsewhere).args(["check"]);
    let (status, shown, _) = check.output().await;
    assert_eq!(status, Some(0));
    assert!(shown.starts_with("# What runs without a configuration file"), "{shown}");
}

#[tokio::test]
async fn a_flag_beats_its_variable_beats_the_file_beats_the_default_and_check_says_so() {
    let folder = Folder::new();
    let text =
        "connections = 2\ngrace = \"2s\"\nstall-timeout = \"2s\"\n[tunnels.web]\nlocal = 80\n";
    let file = folder.write("client.toml", text);
    let check = Program::bare("client")
        .env("CLIENT_CONFIG", file)
        .env("CLIENT_GRACE", "3s")
        .env("CLIENT_CONNECTIONS", "3")
        .args(["check", "--connections", "4"]);
    let (status, shown, error) = check.output().await;
    assert_eq!((status, error.as_str()), (Some(0), ""));
    let origin = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).expect("a line of the key");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(origin("connections"), "connections = 4 # command line");
    assert_eq!(origin("grace"), "grace = \"3s\" # CLIENT_GRACE");
    assert_eq!(origin("stall-timeout"), "stall-timeout = \"2s\" # client.toml:3");
    assert_eq!(origin("connect-timeout"), "connect-timeout = \"5s\" # default");
    assert_eq!(origin("[tunnels.web]"), "[tunnels.web] # client.toml:4");
}

#[tokio::test]
async fn what_check_shows_is_a_file_that_runs_the_same() {
    let folder = Folder::new();
    for (program, args) in [
        ("relay", &["--public-name", "relay.example", "--hold-visitors", "10s"][..]),
        ("client", &["--tunnel", "a=unix:/\"a\\b?check=tcp&check-failures=5", "--tunnel", "b=22"]),
        ("client", &["--tunnel", "a=http://80?host=a.b&host=c.d&add-header=x:%20y%23", "--qr"]),
    ] {
        let (status, first, _) = Program::bare(program).args(["check"]).args(args).output().await;
        assert_eq!(status, Some(0));
        let file = folder.write("shown.toml", &first);
        let again = Program::bare(program).args(["check", "--config"]).args([file]);
        let (status, second, error) = again.output().await;
        assert_eq!((status, error.as_str()), (Some(0), ""), "{first}");
        let settings = |text: &str| -> Vec<String> {
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            lines.map(str::to_owned).collect()
        };
        assert_eq!(settings(&first), settings(&second));
    }
}

#[tokio::test]
async fn tunnels_named_elsewhere_leave_those_of_the_file_to_whoever_serves_them() {
    let folder = Folder::new();
    let file = folder.write("client.toml", "local = 80\n[tunnels.ssh]\nlocal = 22\n");
    let tunnels = async |args: &[&str]| {
        let check = Program::bare("client").env("CLIENT_CONFIG", &file).args(["check"]);
        let (_, shown, _) = check.args(args).output().await;
        let sections = shown.lines().filter(|line| line.starts_with('['));
        sections.map(str::to_owned).collect::<Vec<_>>()
    };
    let in_file = ["[tunnels.default] # client.toml:1", "[tunnels.ssh] # client.toml:2"];
    assert_eq!(tunnels(&[]).await, in_file);
    assert_eq!(tunnels(&["--tunnel", "web=3000"]).await, ["[tunnels.web] # command line"]);
    assert_eq!(tunnels(&["--local", "3000"]).await, ["[tunnels.default] # command line"]);
}

#[tokio::test]
async fn a_bad_file_ends_with_status_2_and_every_mistake_by_its_line() {
    let folder = Folder::new();
    let cases = [
        (
            "relay",
            "stall-timout = \"1m\"\n",
            ":1: unknown key 'stall-timout': did you mean 'stall-timeout'?",
        ),
        ("relay", "\ngrace = 30\n", ":2: grace: time unit needed"),
        ("relay", "heartbeat = \"1ms\"\n", ":1: heartbeat: must be between 50ms and 1h"),
        (
            "relay",
            "threads = [1]\n",
            ":1: threads: expected a string, a whole number, true or false",
        ),
        ("relay", "[tunnels.web]\nlocal = 1\n", ":1: tunnels: expected a string"),
        ("relay", "config = \"other.toml\"\n", ":1: unknown key 'config'"),
        (
            "relay",
            "public = \"${NOT_SET}:80\"\n",
            ":1: public: the environment variable 'NOT_SET' is not set",
        ),
        ("relay", "public = \"file:not-there\"\n", "not-there: No such file"),
        ("relay", "public = 80\npublic = 81\n", ":2: duplicate key"),
        ("client", "log-format = \"xml\"\n", ":1: log-format: expected one of: text, json"),
        ("client", "tunnel = \"ssh=22\"\n", ":1: unknown key 'tunnel'"),
        ("client", "[tunnels.ssh]\n", ":1: the tunnel `ssh` needs a `local`"),
        (
            "client",
            "[tunnels.ssh]\nlocal = 22\nprot = 1\n",
            ":3: unknown key 'prot' of a tunnel: did you mean 'port'?",
        ),
        ("client", "[tunnels.ssh]\nlocal = 22\nlocal = 23\n", ":3: duplicate key"),
        (
            "client",
            "[tunnels.ssh]\nlocal = 22\npath = \"/a\"\n",
            ":3: 'path' is for http, https and h2c tunnels, and this one is tcp",
        ),
        ("client", "[tunnels.a]\nlocal = \"http://1\"\nauth = []\n", ":3: auth: an empty list"),
    ];
    for (program, text, reason) in cases {
        let file = folder.write("bad.toml", text);
        for check in [&[][..], &["check"]] {
            let started = Program::bare(program).args(check).args(["--config"]).args([&file]);
            let (status, printed, error) = started.output().await;
            assert_eq!((status, printed.as_str()), (Some(2), ""), "{program} {text}: {error}");
            assert!(error.contains(&file.display().to_string()), "{program} {text}: {error}");
            assert!(error.contains(reason), "{program} {text}: {error}");
        }
    }
    let missing = Program::bare("client").args(["--config", "/not/there.toml"]);
    let (status, _, error) = missing.output().await;
    assert_eq!(status, Some(2));
    assert!(error.starts_with("/not/there.toml: cannot read it: No such file"), "{error}");
}

#[tokio::test]
async fn values_may_stand_in_variables_and_in_files() {
    let folder = Folder::new();
    folder.write("server", "relay.example:4444\n");
    let text = "server = \"file:server\"\nlocal = \"${SERVICE_HOST}:80\"\n";
    let file = folder.write("client.toml", text);
    let check = Program::bare("client").env("SERVICE_HOST", "app.local");
    let (status, shown, error) = check.args(["check", "--config"]).args([file]).output().await;
    assert_eq!(status, Some(0), "{error}");
    assert!(shown.contains("server = \"relay.example:4444\""), "{shown}");
    assert!(shown.contains("local = \"app.local:80\""), "{shown}");
}

#[tokio::test]
async fn a_bare_target_is_all_that_a_client_needs() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let mut client = Client::of(
        Program::client()
            .env("CLIENT_SERVER", relay.control.to_string())
            .args([service.addr().to_string()]),
    );
    client.event("live").await;
    visit(relay.public).await;
}

#[tokio::test]
async fn shells_complete_the_arguments() {
    for program in ["relay", "client"] {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let completions = Program::bare(program).args(["completions", shell]);
            // A file that is broken does not keep a shell from starting.
            let (status, script, error) = completions
                .env(&format!("{program}_CONFIG").to_uppercase(), "/not/there")
                .output()
                .await;
            assert_eq!((status, error.as_str()), (Some(0), ""), "{program} {shell}");
            assert!(script.contains("half-closed-timeout"), "{program} {shell}");
        }
    }
}

#[tokio::test]
async fn the_examples_run_and_hold_every_key() {
    for program in ["relay", "client"] {
        let example = format!("{}/../deploy/{program}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&example).expect("the example");
        let check = Program::bare(program).args(["check", "--config", &example]);
        let (status, shown, error) = check.output().await;
        assert_eq!((status, error.as_str()), (Some(0), ""));
        // As it stands it only says what is so anyway.
        let (_, default, _) = Program::bare(program).args(["check"]).output().await;
        let values = |text: &str| -> Vec<String> {
            let settings =
                text.lines().skip(1).map(|line| line.split(" # ").next().unwrap_or_default());
            settings.map(|line| line.trim().to_owned()).collect()
        };
        assert_eq!(values(&shown), values(&default), "{program}");

        // Everything in it is right, also what is left out. Certificates are not here, and stand
        // for what the others have to be there for.
        let (keys, sections) = uncommented(&text);
        let folder = Folder::new();
        folder.write("token", "correct horse battery staple");
        folder.write("jwt-key", "hs256:0123456789abcdef0123456789abcdef");
        folder.write("app-token", "0123456789abcdef");
        folder.write("app-logins", "ann:0123456789abcdef\nben:0123456789abcdef\n");
        folder.write("app-key.pem", "-----BEGIN PUBLIC KEY-----");
        folder.write("hook-secret", "0123456789abcdef");
        let all = format!("{keys}\n{sections}");
        let here = all.lines().filter(|line| !line.contains("/etc/sallyport/tls/"));
        folder.write("dns-key", "relay:hmac-sha256:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
        folder.write("acme-key", "MDEyMzQ1Njc4OWFiY2RlZg");
        folder.program("dns-hook", "#!/bin/sh\n");
        std::fs::create_dir(folder.file("certs")).expect("a folder");
        std::fs::create_dir(folder.file("pages")).expect("a folder");
        folder.write("pages/default.html", "{{title}}");
        let here = here.map(|line| line.replace("tls = false", "tls = true"));
        let here = here.collect::<Vec<_>>().join("\n");
        let here = here.replace("/etc/sallyport", &folder.path().to_string_lossy());
        let file = folder.write("all.toml", &here);
        let check = Program::bare(program).args(["check", "--config"]).args([file]);
        let (status, _, error) = check.output().await;
        assert_eq!((status, error.as_str()), (Some(0), ""), "{keys}{sections}");

        let (_, help, _) = Program::bare(program).args(["--help"]).output().await;
        let flags = help.lines().filter_map(|line| line.trim().strip_prefix("--"));
        let flags = flags.map(|flag| flag.split([' ', ',']).next().unwrap_or_default());
        let no_keys = ["config", "tunnel", "help", "version"];
        for flag in flags.filter(|flag| !no_keys.contains(flag)) {
            let written = keys.lines().any(|line| line.starts_with(&format!("{flag} = ")));
            assert!(written, "deploy/{program}.toml does not mention {flag}");
        }
        if program == "client" {
            for option in client::TunnelConfig::OPTIONS {
                let written =
                    sections.lines().any(|line| line.starts_with(&format!("{option} = ")));
                assert!(written, "deploy/{program}.toml does not mention {option}");
            }
        }
    }
}

/// The keys of an example, also those that are commented out, and what stands in its sections.
fn uncommented(text: &str) -> (String, String) {
    let is_setting = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        let plain = key.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        line.starts_with('[') || (line.contains(" = ") && plain)
    };
    let lines = text.lines().map(|line| line.strip_prefix("#").unwrap_or(line));
    let lines: Vec<&str> = lines.filter(|line| is_setting(line)).collect();
    let first = lines.iter().position(|line| line.starts_with('[')).unwrap_or(lines.len());
    (lines[..first].join("\n") + "\n", lines[first..].join("\n"))
}

#[tokio::test]
async fn a_bad_file_is_said_in_the_log_and_disturbs_nobody() {
    let folder = Folder::new();
    let file = folder.write("relay.toml", "grace = \"1s\"\n");
    let relay = Relay::of(Program::relay().args(["--config"]).args([&file])).await;
    let service = local::echo().await;
    let file = folder.write("client.toml", &format!("local = \"{}\"\n", service.addr()));
    let program = Program::client().env("CLIENT_SERVER", relay.control.to_string());
    let mut client = Client::of(program.args(["--config"]).args([&file]));
    client.event("live").await;
    let mut visitor = Peer::connect(relay.public).await;
    visitor.send(b"before").await;
    visitor.expect(b"before").await;

    folder.replace("relay.toml", "grace = 1\n");
    folder.replace("client.toml", "lokal = 1\n");
    relay.logged("relay.toml:1: grace: time unit needed").await;
    client.logged("client.toml:1: unknown key 'lokal': did you mean 'local'?").await;
    visitor.send(b"after").await;
    visitor.expect(b"after").await;
    visit(relay.public).await;

    folder.replace("relay.toml", "grace = \"1s\"\n");
    folder.replace("client.toml", &format!("local = \"{}\"\n", service.addr()));
    for process in [&*relay, &*client] {
        process.logged("the configuration is good again").await;
    }
}

#[tokio::test]
async fn a_signal_makes_both_programs_read_their_file_again() {
    let folder = Folder::new();
    // What a file refers to is not watched.
    folder.write("grace", "1s");
    for (program, text) in [
        (Program::relay(), "grace = \"file:grace\"\n"),
        (
            Program::client().env("CLIENT_RECONNECT", "always"),
            "grace = \"file:grace\"\nlocal = 1\n",
        ),
    ] {
        let file = folder.write("settings.toml", text);
        let process = program.args(["--config"]).args([file]).start();
        let ready = process.logged_where("that it runs", |_| true);
        drop(ready.await);
        folder.write("grace", "2s");
        process.signal(Signal::HUP);
        process.logged("settings.toml is read again").await;
        process.logged("~ grace: 1s -> 2s").await;
        folder.write("grace", "1s");
    }
}

#[tokio::test]
async fn a_dry_run_shows_what_a_running_client_would_change() {
    let folder = Folder::new();
    let running = "grace = \"1s\"\n[tunnels.a]\nlocal = 1\n[tunnels.b]\nlocal = 2\n";
    let file = folder.write("client.toml", running);
    let candidate =
        "grace = \"2s\"\nconnections = 2\n[tunnels.a]\nlocal = 3\n[tunnels.c]\nlocal = 4\n";
    let candidate = folder.write("candidate.toml", candidate);
    let bad = folder.write("bad.toml", "grace = 1\n");
    let ask = async |args: &[&Path]| {
        let apply = Program::bare("client").env("XDG_RUNTIME_DIR", folder.path());
        apply.args(["apply", "--dry-run", "--config"]).args([&file]).args(args).output().await
    };
    let (status, _, error) = ask(&[]).await;
    assert_eq!(status, Some(1));
    assert!(error.starts_with("no client runs with"), "{error}");

    // The second time the socket of the first is still there: that one was killed.
    for _ in 0..2 {
        let program = Program::client().env("XDG_RUNTIME_DIR", folder.path());
        // Its own flags beat any file.
        let program = program.args(["--reconnect", "always", "--stall-timeout", "7s"]);
        let mut client = program.args(["--config"]).args([&file]).start();
        client.logged("cannot connect").await;
        assert_eq!(ask(&[]).await, (Some(0), String::new(), String::new()));
        let expected = "- b=127.0.0.1:2\n+ c=127.0.0.1:4\n~ a=127.0.0.1:1 -> a=127.0.0.1:3\n\
                        ~ grace: 1s -> 2s\n~ connections: 1 -> 2 (needs a restart)";
        assert_eq!(ask(&[&candidate]).await, (Some(0), expected.to_owned(), String::new()));
        let (status, differences, error) = ask(&[&bad]).await;
        assert_eq!((status, differences.as_str()), (Some(2), ""));
        assert!(error.contains("bad.toml:1: grace: time unit needed"), "{error}");
        client.kill().await;
    }
    let (status, _, _) = ask(&[]).await;
    assert_eq!(status, Some(1));
}

#[tokio::test]
async fn who_asks_a_client_and_says_nothing_holds_up_neither_its_file_nor_others_who_ask() {
    let folder = Folder::new();
    let file = folder.write("client.toml", "grace = \"1s\"\n");
    let program = || Program::client().env("XDG_RUNTIME_DIR", folder.path());
    let config = ["--config".as_ref(), file.as_os_str()];
    let client = program().args(["--reconnect", "always"]).args(config).start();
    client.logged("cannot connect").await;
    let mut sockets = std::fs::read_dir(folder.file("sallyport")).expect("a folder of sockets");
    let socket = sockets.next().expect("a socket").expect("its name").path();
    let mut silent = UnixStream::connect(socket).expect("a client that can be asked");

    let apply = program().args(["apply", "--dry-run"]).args(config);
    assert_eq!(apply.output().await.0, Some(0));
    folder.write("client.toml", "grace = \"2s\"\n");
    client.logged("the configuration changes: ~ grace: 1s -> 2s").await;
    silent.set_nonblocking(true).expect("an option");
    let heard = silent.read(&mut [0]).expect_err("nothing, not even an end");
    assert_eq!(heard.kind(), io::ErrorKind::WouldBlock, "it has not been given up yet");
}

#[tokio::test]
async fn a_changed_file_opens_and_closes_what_differs_and_leaves_the_rest_alone() {
    let folder = Folder::new();
    let (one, two) = (local::echo().await, local::speaks_first(b"two").await);
    let relay_file = folder.write("relay.toml", "max-visitors = 10\n");
    let relay = Relay::of(Program::relay().args(["--config"]).args([&relay_file])).await;
    let tunnel =
        |name: &str, local: &Local| format!("[tunnels.{name}]\nlocal = \"{}\"\n", local.addr());
    let (a, b) = (tunnel("a", &one), tunnel("b", &one));
    let file = folder.write("client.toml", &format!("{a}{b}"));
    let program = Program::client().env("CLIENT_SERVER", relay.control.to_string());
    let mut client = Client::of(program.args(["--config"]).args([&file]));
    let (stays, goes) = (client.live("a").await, client.live("b").await);
    let mut visitor = Peer::connect(stays).await;
    visitor.expect_echo(b"before").await;

    folder.replace("client.toml", &format!("{a}{}", tunnel("c", &two)));
    let comes = client.live("c").await;
    Peer::connect(comes).await.expect(b"two").await;
    eventually("the port of b to be closed", async || Peer::try_connect(goes).await.is_err()).await;

    folder.replace("relay.toml", "max-visitors = 1\n");
    relay.logged("~ max-visitors: 10 -> 1").await;
    Peer::connect(stays).await.expect_reset().await;
    visitor.expect_echo(b"after").await;
}
