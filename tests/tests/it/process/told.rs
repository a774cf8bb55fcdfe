//! Whoever cannot be served is told, whatever the log's filter and wherever output goes.

use tests::process::Program;
use tests::{Folder, local};

#[tokio::test]
async fn the_reason_of_the_end_is_said_whatever_the_log_leaves_out() {
    let service = local::echo().await;
    let taken = service.addr().to_string();
    let nobody = local::nobody().await.to_string();
    for format in ["text", "json"] {
        for filter in ["off", "relay=debug", "client=debug", "info"] {
            let relay = Program::relay().args(["--control", &taken]);
            let client = Program::client().args(["--server", &nobody]);
            for (program, reason) in [(relay, taken.as_str()), (client, "cannot connect")] {
                let args = ["--log", filter, "--log-format", format];
                let (status, _, error) = program.args(args).output().await;
                assert_eq!(status, Some(1), "{filter}: {error}");
                assert_eq!(error.matches(reason).count(), 1, "{filter} {format}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error_and_a_reader_that_has_gone_is_none() {
    for program in ["relay", "client"] {
        for args in [&["check"][..], &["completions", "bash"], &["--help"], &["--version"]] {
            let full = Program::bare(program).args(args).with_stdout_full();
            let (status, _, error) = full.output().await;
            assert_eq!(status, Some(1), "{program} {args:?}: {error}");
            assert!(error.contains("No space left on device"), "{program} {args:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{program} {args:?}: {error}");
            let gone = Program::bare(program).args(args).with_stdout_closed();
            let (status, _, error) = gone.output().await;
            assert_eq!((status, error.as_str()), (Some(0), ""), "{program} {args:?}");
        }
    }
}

#[tokio::test]
async fn a_filter_of_the_log_that_comes_from_its_usual_variable_is_said_to() {
    let folder = Folder::new();
    let file = folder.write("settings.toml", "log = \"warn\"\n");
    for program in ["relay", "client"] {
        let check = || Program::bare(program).env("RUST_LOG", "debug").args(["check"]);
        let log = async |check: Program| {
            let (_, shown, _) = check.output().await;
            let line = shown.lines().find(|line| line.starts_with("log = ")).expect("the filter");
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(log(check()).await, "log = \"debug\" # RUST_LOG");
        let file = check().args(["--config"]).args([&file]);
        assert_eq!(log(file).await, "log = \"warn\" # settings.toml:1");
        assert_eq!(log(check().env("RUST_LOG", "=no=")).await, "log = \"info\" # default");
    }
}

/// What a reference stands for may be a secret, or the wrong file altogether.
#[tokio::test]
async fn what_a_bad_value_refers_to_is_not_told() {
    let folder = Folder::new();
    folder.write("secret", "hunter2 hunter2");
    for (program, key) in [
        ("relay", "grace = "),
        ("relay", "public-name = "),
        ("relay", "threads = "),
        ("client", "server = "),
        ("client", "local = "),
        ("client", "log-format = "),
        ("client", "[tunnels.a]\nlocal = "),
        ("client", "[tunnels.a]\nlocal = 1\ncheck = "),
        ("client", "[tunnels.a]\nlocal = 1\nport = "),
    ] {
        for value in ["file:secret", "${SECRET}"] {
            let file = folder.write("bad.toml", &format!("{key}\"{value}\"\n"));
            let check = Program::bare(program).env("SECRET", "hunter2 hunter2");
            let check = check.args(["check", "--config"]).args([file]);
            let (status, _, error) = check.output().await;
            assert_eq!(status, Some(2), "{key}{value}: {error}");
            assert!(error.contains(&format!("'{value}'")), "{key}{value}: {error}");
            assert!(!error.contains("hunter2"), "{key}{value}: {error}");
        }
    }
}
