//! `client login` and `client logout`: a token that its user gives once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tests::process::{Client, Program, Relay, visit};
use tests::{Folder, local};

/// What clients of these relays have to know.
const SECRET: &str = "correct horse battery staple";

/// A tool of the client, for a user with this home.
fn tool(home: &Folder, args: &[&str]) -> Program {
    Program::bare("client").env("HOME", home.path()).args(args)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_token_is_given_once_and_kept_where_nobody_else_reads_it_until_it_is_forgotten() {
    let relay = Relay::of(Program::relay().env("RELAY_TOKEN", SECRET)).await;
    let service = local::echo().await;
    let home = Folder::new();
    let server = relay.control.to_string();
    let run = || {
        let args = ["--server", &server, "--local", &service.addr().to_string()];
        Client::of(Program::client().env("HOME", home.path()).args(args))
    };
    let mut without = run();
    assert_eq!(without.exit().await.code(), Some(1));
    without.logged("wants a token").await;

    // Through a pipe, with the line feed that `echo` puts behind it.
    let login = tool(&home, &["login", "--server", &server]).with_input(&format!("{SECRET}\n"));
    let (status, printed, said) = login.output().await;
    assert_eq!((status, printed.as_str()), (Some(0), ""), "{said}");
    let [stored] = files(home.path()).try_into().expect("one file and nothing else");
    assert!(stored.starts_with(home.file(".config/sallyport/tokens")), "{}", stored.display());
    assert!(said.contains(&stored.display().to_string()) && !said.contains(SECRET), "{said}");
    assert_eq!((mode(&stored), mode(stored.parent().expect("a folder"))), (0o600, 0o700));
    let mut with = run();
    with.event("live").await;
    visit(relay.public).await;

    // For this relay, and for no other.
    let other = Relay::of(Program::relay().env("RELAY_TOKEN", SECRET)).await;
    let args = ["--server", &other.control.to_string(), "--local", &service.addr().to_string()];
    let elsewhere = Client::of(Program::client().env("HOME", home.path()).args(args));
    elsewhere.logged("wants a token").await;

    let logout = || tool(&home, &["logout", "--server", &server]);
    let (status, _, said) = logout().output().await;
    assert_eq!((status, files(home.path())), (Some(0), vec![]), "{said}");
    run().logged("wants a token").await;
    let (status, _, said) = logout().output().await;
    assert_eq!(status, Some(0), "it is as it should be");
    assert!(said.contains("there is no token for"), "{said}");
}

#[tokio::test]
async fn another_token_takes_the_place_of_the_first_and_a_bad_one_does_not() {
    let home = Folder::new();
    let configuration = home.file("configuration").display().to_string();
    let login = |input: &str| {
        let login = tool(&home, &["login", "--server", "tls://relay.example:4444"]);
        login.env("XDG_CONFIG_HOME", &configuration).with_input(input).output()
    };
    assert_eq!(login(SECRET).await.0, Some(0));
    let kept = || files(home.path()).iter().map(|file| fs::read_to_string(file).ok()).collect();
    let text = Some(format!("{SECRET}\n"));
    assert_eq!(kept(), [text]);
    for (bad, reason) in [
        ("", "the token is not good"),
        ("hunter2", "can be guessed"),
        ("sally_no_token_at_all", "the token is not good"),
    ] {
        let (status, _, said) = login(bad).await;
        assert_eq!(status, Some(1), "{bad}: {said}");
        assert!(said.contains(reason), "{bad}: {said}");
        assert!(bad.is_empty() || !said.contains(bad), "{said}");
    }
    assert_eq!(login("quite another secret").await.0, Some(0));
    let text = Some("quite another secret\n".to_owned());
    let all: Vec<Option<String>> = kept();
    assert_eq!(all, [text], "and nothing is left of the first");
}

#[tokio::test]
async fn whoever_has_no_folder_for_it_is_told() {
    for args in [["login"], ["logout"]] {
        let (status, _, said) =
            Program::bare("client").args(args).with_input(SECRET).output().await;
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("HOME and XDG_CONFIG_HOME are not set"), "{said}");
    }
}
