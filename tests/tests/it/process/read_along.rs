//! What others on the same machine can read of a program that runs: not its secrets.

use std::fs;

use shared::token::Token;
use tests::process::{Client, Process, Program, Relay, visit};
use tests::{Folder, local};

const SECRET: &str = "correct horse battery staple";

/// What `ps` shows, and what the process was started with besides.
fn shown(process: &Process) -> String {
    let file = |name| fs::read(format!("/proc/{}/{name}", process.pid())).expect("a process");
    String::from_utf8_lossy(&[file("cmdline"), file("environ")].concat()).into_owned()
}

#[tokio::test]
async fn a_secret_in_a_file_is_not_among_arguments_or_variables() {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET).display().to_string();
    let relay = Relay::start(&["--token-file", &secret]).await;
    let service = local::echo().await;
    let args = ["--server", &relay.control.to_string(), "--local", &service.addr().to_string()];
    let program = Program::client().args(args).args(["--token-file", &secret]);
    let mut client = Client::of(program);
    client.event("live").await;
    visit(relay.public).await;
    for process in [&*relay, &*client] {
        let shown = shown(process);
        assert!(shown.contains("--token-file") && !shown.contains(SECRET), "{shown}");
    }
}

/// It would be too late to hide it: a process ends, and whoever reads `ps` has seen it.
#[tokio::test]
async fn a_secret_among_the_arguments_is_refused_and_not_repeated() {
    for program in ["relay", "client"] {
        let (status, printed, said) =
            Program::bare(program).args(["--token", SECRET]).output().await;
        assert_eq!(status, Some(2), "{program}: {said}");
        assert!(said.contains("can be read by everybody on this machine"), "{program}: {said}");
        assert!(!(printed + &said).contains(SECRET), "{program}: {said}");
        let token = Token::random().to_string();
        let within = [
            format!("{token} "),
            format!("\"{token}\"\n"),
            format!("web=3000,{token}"),
            format!("tls://{token}@localhost:1"),
        ];
        let alone = [&[token.as_str()][..], &["login", &token], &["--token-file", &token]];
        let within = within.iter().map(|arg| vec!["--server", arg]);
        for args in alone.into_iter().map(<[_]>::to_vec).chain(within) {
            let (status, printed, said) = Program::bare(program).args(&args).output().await;
            assert_eq!(status, Some(2), "{program} {args:?}: {said}");
            assert!(said.contains("can be read by everybody"), "{program} {args:?}: {said}");
            assert!(!(printed + &said).contains(&token), "{program}: {said}");
        }
        // Nor does the help tell what is in the environment.
        let help = Program::bare(program).env(&format!("{}_TOKEN", program.to_uppercase()), SECRET);
        let (_, printed, _) = help.args(["--help"]).output().await;
        assert!(!printed.contains(SECRET), "{program}: {printed}");
    }
}
