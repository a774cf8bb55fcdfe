//! Tokens and secrets are nowhere but where somebody has put them: not in anything that the two
//! programs write, show or answer, at their most talkative.

use std::fs;

use shared::token::Token;
use tests::process::{Client, Process, Program, Relay, Signal, visit};
use tests::scrape::get;
use tests::{Folder, Local, local};

use super::kept::Kept;

const SHARED: &str = "correct horse battery staple";
const SHARED_LATER: &str = "wrong donkey accumulator pin";
const JWT_KEY: &str = "a-key-that-is-long-enough-for-HS256-and-then-some";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJlYXZlc2Ryb3BwZXIifQ.bm90LWEtc2lnbmF0dXJl";

/// What must not be seen, and what was looked through.
#[derive(Default)]
struct Search {
    secrets: Vec<String>,
    seen: Vec<(String, String)>,
}

impl Search {
    /// Nobody may see `token`. Its beginning is its id, which anybody may.
    fn token(&mut self, token: &str) {
        self.secrets.push(token[token.len() - 44..token.len() - 8].to_owned());
    }

    /// A text to look through.
    fn text(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.seen.push((what.into(), text.into()));
    }

    /// Everything that `process` has written, and what `ps` shows of it while it runs.
    fn process(&mut self, what: &str, process: &Process) {
        for (output, lines) in [("stdout", &process.stdout), ("stderr", &process.stderr)] {
            self.text(format!("{output} of {what}"), lines.so_far().join("\n"));
        }
        if let Ok(arguments) = fs::read(format!("/proc/{}/cmdline", process.pid())) {
            self.text(format!("arguments of {what}"), String::from_utf8_lossy(&arguments));
        }
    }

    /// What a command says, whether it succeeds or not.
    async fn command(&mut self, what: &str, program: Program) {
        let (_, printed, said) = program.output().await;
        self.text(what, printed + "\n" + &said);
    }

    /// Fails the test if anything that was seen has a secret in it, or if there was nothing to see.
    fn ends(self) {
        for (what, text) in &self.seen {
            for secret in &self.secrets {
                let place = text.find(secret.as_str());
                let line = place.and_then(|at| text[..at + secret.len()].lines().last());
                assert!(line.is_none(), "a secret is in {what}: {line:?}");
            }
        }
        let talkative = |(_, text): &&(String, String)| text.contains("\"level\":\"DEBUG\"");
        assert!(self.seen.iter().filter(talkative).count() > 5, "the logs say little");
    }
}

/// The part of the world that all clients share.
struct Setting {
    relay: Relay,
    folder: Folder,
    service: Local,
}

impl Setting {
    /// A client at its most talkative, with the tunnel `name`.
    fn client(&self, name: &str) -> Program {
        let server = self.relay.control.to_string();
        let tunnel = format!("{name}={}", self.service.addr());
        let args = ["--server", &server, "--log", "trace", "--tunnel", &tunnel];
        Program::client().env("XDG_RUNTIME_DIR", self.folder.path()).args(args)
    }

    /// A client with this token that is let in by TLS, after a visit.
    async fn visited(&self, name: &str, token: &str) -> Client {
        let line = self.relay.logged("clients can use TLS: client ").await;
        let pin = line["message"].as_str().and_then(|line| line.rsplit(' ').next());
        let args = ["--tls", "--tls-pin", pin.expect("a pin")];
        let mut client = Client::of(self.client(name).env("CLIENT_TOKEN", token).args(args));
        let public = client.live(name).await;
        visit(public).await.expect_echo(b"what a visitor says").await;
        client
    }
}

#[tokio::test]
async fn no_token_is_in_any_log_answer_or_list_of_arguments() {
    let (kept, folder) = (Kept::in_a_file(), Folder::new());
    kept.ask(&["user", "create", "ann"]).await;
    let mut tokens = Vec::new();
    for name in ["shown", "filed", "revoked", "narrow"] {
        tokens.push(kept.token("ann", name, &[]).await);
    }
    let [(shown, _), (filed, _), (revoked, id), (wide, _)] = &tokens[..] else { unreachable!() };
    let unknown = Token::random().to_string();
    let mut mistyped = shown.clone();
    mistyped.replace_range(shown.len() - 3.., "aaa");
    let secrets = [SHARED, SHARED_LATER, JWT_KEY, JWT].map(str::to_owned).into();
    let mut search = Search { secrets, ..Search::default() };

    let secret = folder.write("secret", SHARED).display().to_string();
    let key = folder.write("jwt-key", &format!("hs256:{JWT_KEY}")).display().to_string();
    let data = kept.folder.file("data").display().to_string();
    let text = format!(
        "data = {data:?}\ntoken-file = {secret:?}\njwt-key = {key:?}\ntls = \"self-signed\"\n"
    );
    let config = folder.write("relay.toml", &text).display().to_string();
    let program = || Program::relay().args(["--config", &config, "--log", "trace"]);
    let relay = Relay::of(program()).await;
    let service = local::echo().await;
    let setting = Setting { relay, folder, service };

    // Those who are let in, by whatever they show.
    let (_, narrowed, said) = {
        let narrow = Program::bare("client").env("CLIENT_TOKEN", wide);
        narrow.args(["token", "narrow", "--tunnel", "narrow"]).output().await
    };
    search.text("what narrowing says", said);
    let mut clients = vec![
        ("shown", setting.visited("shown", shown).await),
        ("narrow", setting.visited("narrow", narrowed.trim()).await),
        ("shared", setting.visited("shared", SHARED).await),
    ];
    let token_file = setting.folder.write("token", filed).display().to_string();
    let client_config = setting.folder.write("client.toml", "grace = \"1s\"\n");
    let client_config = client_config.display().to_string();
    let by_file = || {
        let program = setting.client("filed").args(["--token-file", &token_file]);
        program.args(["--config", &client_config])
    };
    let mut client = Client::of(by_file());
    client.live("filed").await;
    clients.push(("filed", client));

    // Those who are not, or not any more.
    let mut client = setting.visited("revoked", revoked).await;
    kept.ask(&["token", "revoke", id]).await;
    assert_eq!(client.exit().await.code(), Some(1));
    clients.push(("revoked", client));
    for (what, token, status) in
        [("unknown", &*unknown, 1), ("mistyped", &mistyped, 2), ("jwt", JWT, 1)]
    {
        let mut client = Client::of(setting.client(what).env("CLIENT_TOKEN", token));
        assert_eq!(client.exit().await.code(), Some(status), "{what}");
        clients.push((what, client));
    }

    // What is asked while they run.
    for token in [shown, filed, revoked, wide, narrowed.trim(), &unknown, &mistyped] {
        search.token(token);
    }
    for path in ["/metrics", "/snapshot", "/bans", "/healthz"] {
        let (status, body) = get(setting.relay.admin, path).await;
        assert_eq!(status, 200);
        search.text(path, body);
    }
    search.command("relay check", program().args(["check"])).await;
    search
        .command("client check", setting.client("a").env("CLIENT_TOKEN", shown).args(["check"]))
        .await;
    search.command("client check with a file", by_file().args(["check"])).await;
    let apply = Program::bare("client").env("XDG_RUNTIME_DIR", setting.folder.path());
    let apply = apply.env("CLIENT_TOKEN", shown).args(["--config", &client_config]);
    search.command("client apply", apply.args(["apply", "--dry-run"])).await;
    let show = Program::bare("client").env("CLIENT_TOKEN", shown).args(["token", "show"]);
    search.command("client token show", show).await;
    search.command("relay token list", kept.tool(&["token", "list", "--json"])).await;
    search.command("relay user list", kept.tool(&["user", "list"])).await;

    // Another shared secret, which ends the session that came with the one before.
    setting.folder.replace("secret", SHARED_LATER);
    setting.relay.signal(Signal::HUP);
    setting.relay.logged("the configuration changes: ").await;
    for (what, client) in &mut clients {
        search.process(&format!("the client `{what}`"), client);
        if client.is_running() {
            client.signal(Signal::TERM);
        }
        client.exit().await;
        search.process(&format!("the client `{what}` at its end"), client);
    }
    let mut relay = setting.relay;
    search.process("the relay", &relay);
    relay.signal(Signal::TERM);
    relay.exit().await;
    search.process("the relay at its end", &relay);
    search.ends();
}
