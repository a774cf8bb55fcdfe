//! Where a client looks for its token, and which one it takes.

use std::fs;

use tests::process::{Client, Program, Relay};
use tests::{Folder, local};

use super::kept::Kept;

/// All the places that there are, the first to be looked at first.
const PLACES: [&str; 4] = ["environment", "file", "credential", "login"];

/// Somebody with a token in each place, all of which the relay lets in.
struct User {
    home: Folder,
    relay: Relay,
    // Its folder goes after it.
    _kept: Kept,
    /// The tokens and their ids, in the order of [`PLACES`].
    tokens: Vec<(String, String)>,
}

impl User {
    async fn new() -> Self {
        let (home, kept) = (Folder::new(), Kept::in_a_file());
        kept.ask(&["user", "create", "ann"]).await;
        let mut tokens = Vec::new();
        for place in PLACES {
            tokens.push(kept.token("ann", place, &[]).await);
        }
        let relay = kept.relay().await;
        home.write("token-file", &tokens[1].0);
        fs::create_dir(home.file("credentials")).expect("a new folder");
        fs::write(home.file("credentials/token"), format!("{}\n", tokens[2].0)).expect("a file");
        let login = Program::bare("client").env("HOME", home.path()).with_input(&tokens[3].0);
        let server = relay.control.to_string();
        let (status, _, said) = login.args(["login", "--server", &server]).output().await;
        assert_eq!(status, Some(0), "{said}");
        Self { home, relay, _kept: kept, tokens }
    }

    /// A program that finds tokens in these places.
    fn with(&self, program: Program, places: &[&str]) -> Program {
        let mut program = program;
        for place in places {
            program = match *place {
                "environment" => program.env("CLIENT_TOKEN", &self.tokens[0].0),
                "file" => program.env("CLIENT_TOKEN_FILE", self.home.file("token-file")),
                "credential" => program.env("CREDENTIALS_DIRECTORY", self.home.file("credentials")),
                _ => program.env("HOME", self.home.path()),
            };
        }
        program.env("CLIENT_SERVER", self.relay.control.to_string())
    }

    /// Checks that a client that finds tokens in these places shows the one in `place`.
    async fn shows(&self, places: &[&str], place: usize) {
        let service = local::echo().await;
        let program = self.with(Program::client(), places);
        let mut client = Client::of(program.args(["--local", &service.addr().to_string()]));
        client.event("live").await;
        let id = self.tokens[place].1.as_str();
        let what = format!("{places:?} to be let in by the token of `{}`", PLACES[place]);
        self.relay
            .logged_where(&what, |line| line["event"] == "admitted" && line["token"] == id)
            .await;
    }
}

#[tokio::test]
async fn what_is_said_now_goes_before_what_the_service_has_and_that_before_what_was_stored() {
    let user = User::new().await;
    for (places, taken) in [
        (&["environment", "credential", "login"][..], 0),
        (&["file", "credential", "login"], 1),
        (&["credential", "login"], 2),
        (&["login"], 3),
    ] {
        user.shows(places, taken).await;
        // Whoever looks at the token looks at the same one.
        let show = user.with(Program::bare("client"), places).args(["token", "show"]);
        let (_, printed, said) = show.output().await;
        assert_eq!(printed, format!("id: {}", user.tokens[taken].1), "{places:?}: {said}");
    }
    // Two that are both meant are one too many.
    let both = user.with(Program::client(), &["environment", "file"]);
    let (status, _, said) = both.args(["check"]).output().await;
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("give one of them") && said.contains("token-file"), "{said}");
}

#[tokio::test]
async fn a_service_that_was_given_no_token_starts_and_looks_elsewhere() {
    let user = User::new().await;
    fs::remove_file(user.home.file("credentials/token")).expect("a file");
    user.shows(&["credential", "login"], 3).await;
    let open = Relay::start(&[]).await;
    let service = local::echo().await;
    let args = ["--server", &open.control.to_string(), "--local", &service.addr().to_string()];
    let program = Program::client().env("CREDENTIALS_DIRECTORY", user.home.file("credentials"));
    Client::of(program.args(args)).event("live").await;
}

#[tokio::test]
async fn a_token_that_is_not_good_is_an_error_and_not_passed_over_for_the_next_one() {
    let user = User::new().await;
    for (file, place) in [("token-file", "file"), ("credentials/token", "credential")] {
        for (text, reason) in [("hunter2", "can be guessed"), ("", "there is no token in it")] {
            fs::write(user.home.file(file), text).expect("a file");
            let check = user.with(Program::client(), &[place, "login"]).args(["check"]);
            let (status, _, said) = check.output().await;
            assert_eq!(status, Some(2), "{place}: {said}");
            assert!(said.contains(reason) && said.contains(file), "{place}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
