//! `client http 3000` and the like: one tunnel, and what is said of it.

use shared::control::protocol::{
    FromRelay, Hello, HttpVersion, TunnelAnswer, TunnelOutcome, TunnelRequest, Welcome,
};
use tests::process::{Client, Process, Program, Relay, visit};
use tests::rogue::{RogueRelay, RogueSession};
use tests::{Folder, local};

/// What a client that is started with these arguments asks its relay for.
async fn asked(program: Program, relay: &RogueRelay, args: &[&str]) -> Hello {
    let server = relay.addr().to_string();
    let _client = program.args(args).args(["--server", &server]).start();
    relay.greeted().await.hello
}

/// The one tunnel that a client asks for.
async fn one(args: &[&str]) -> TunnelRequest {
    let relay = RogueRelay::start().await;
    let hello = asked(Program::client(), &relay, args).await;
    let [tunnel] = &hello.tunnels[..] else { panic!("{args:?}: {:?}", hello.tunnels) };
    tunnel.clone()
}

fn entrances(tunnel: &TunnelRequest) -> String {
    serde_json::to_string(&tunnel.entrances).expect("JSON")
}

#[tokio::test]
async fn a_client_of_one_tunnel_asks_for_that() {
    let cases = [
        (
            &["http", "3000", "--name", "app"][..],
            "http://127.0.0.1:3000",
            r#"[{"kind":"http","subdomain":"app"}]"#,
        ),
        (
            &["http", "web.local:3000", "--subdomain", "app", "--path", "/api"],
            "http://web.local:3000",
            r#"[{"kind":"http","subdomain":"app","path":"/api"}]"#,
        ),
        (
            &["http", "unix:/run/app.sock", "--host", "a.example", "--host", "b.example"],
            "http+unix:/run/app.sock",
            r#"[{"kind":"http","host":"a.example"},{"kind":"http","host":"b.example"}]"#,
        ),
        (
            &["https", "8443", "--name", "app"],
            "https://localhost:8443",
            r#"[{"kind":"http","subdomain":"app"}]"#,
        ),
        (
            &["h2c", "50051", "--with", "subdomain=app"],
            "h2c://127.0.0.1:50051",
            r#"[{"kind":"http","subdomain":"app"}]"#,
        ),
        (
            &["tcp", "22", "--with", "port=20022"],
            "127.0.0.1:22",
            r#"[{"kind":"tcp","port":20022}]"#,
        ),
        (
            &["tls", "5433", "--subdomain", "db"],
            "tls://127.0.0.1:5433",
            r#"[{"kind":"tls","subdomain":"db"}]"#,
        ),
    ];
    for (args, local, expected) in cases {
        let tunnel = one(args).await;
        assert_eq!(
            (tunnel.local.as_str(), entrances(&tunnel).as_str()),
            (local, expected),
            "{args:?}"
        );
        let version = tunnel.http.map(|http| http.version);
        let is_http = args[0].starts_with('h').then_some(match args[0] {
            "h2c" => HttpVersion::Http2,
            _ => HttpVersion::Http1,
        });
        assert_eq!(version, is_http, "{args:?}");
    }
}

#[tokio::test]
async fn its_options_are_flags_or_pairs() {
    let folder = Folder::new();
    let logins = folder.write("logins", "ann:one\nben:two\n").display().to_string();
    let auth_file = format!("auth-file={logins}");
    let args = ["http", "3000", "--auth", "eve:three", "--with", &auth_file, "--with"];
    let args = [&args[..], &["add-header=X-A: b & c%", "--with", "compress=true"]].concat();
    let http = one(&args).await.http.expect("an HTTP tunnel");
    let known = |login: &[u8]| http.auth.iter().any(|digest| digest.is_of(login));
    assert!(known(b"ann:one") && known(b"ben:two") && known(b"eve:three"));
    assert_eq!(http.auth.len(), 3);
    assert_eq!(http.add_header, [("x-a".to_owned(), "b & c%".to_owned())]);
    assert!(http.compress);
}

#[tokio::test]
async fn without_a_name_it_has_one_that_others_do_not_have() {
    for args in [&["http", "3000"][..], &["tcp", "22"]] {
        let (first, second) = (one(args).await.name, one(args).await.name);
        assert_ne!(first, second);
        let words: Vec<&str> = first.as_str().split('-').collect();
        assert!(words.len() == 2 && words.iter().all(|word| word.len() == 6), "{first}");
    }
}

#[tokio::test]
async fn its_name_stays_while_it_connects_again_and_its_file_changes() {
    let folder = Folder::new();
    let file = folder.write("client.toml", "grace = \"1s\"\n[tunnels.ssh]\nlocal = 22\n");
    let relay = RogueRelay::start().await;
    let server = relay.addr().to_string();
    let config = file.display().to_string();
    let args = ["http", "3000", "--config", &config, "--server", &server];
    let client = Program::client().args(args).start();
    let session = relay.welcomed().await;
    let name = |session: &RogueSession| session.hello.tunnels[0].name.clone();
    let first = name(&session);
    assert_eq!(session.hello.tunnels.len(), 1, "none of the file");
    folder.replace("client.toml", "grace = \"2s\"\n[tunnels.ssh]\nlocal = 22\n");
    let changes = client.logged_where("what changes", |line| {
        line["message"].as_str().is_some_and(|what| what.contains("the configuration changes"))
    });
    let line = changes.await;
    assert!(line.to_string().contains("~ grace: 1s -> 2s"), "and nothing else: {line}");
    session.close().await;
    assert_eq!(name(&relay.greeted().await), first);
}

#[tokio::test]
async fn the_environment_names_no_tunnel_beside_it_and_the_command_line_may() {
    let relay = RogueRelay::start().await;
    let program = || Program::client().env("CLIENT_TUNNEL", "a=1").env("CLIENT_LOCAL", "2");
    let names = |hello: Hello| -> Vec<String> {
        hello.tunnels.iter().map(|tunnel| tunnel.name.to_string()).collect()
    };
    let args = ["http", "3000", "--name", "app"];
    assert_eq!(names(asked(program(), &relay, &args).await), ["app"]);
    let more = ["http", "3000", "--name", "app", "--tunnel", "b=3"];
    assert_eq!(names(asked(program(), &relay, &more).await), ["app", "b"]);
}

#[tokio::test]
async fn mistakes_are_named_and_secrets_are_not() {
    let cases = [
        (&["http"][..], "required arguments were not provided"),
        (&["http", "https://a"], "'https://a' is no target"),
        (&["http", "3000/path"], "'/path' behind the port"),
        (&["tcp", "22", "--subdomain", "a"], "unexpected argument '--subdomain'"),
        (
            &["tcp", "22", "--with", "compress=true"],
            "'compress' is for http, https and h2c tunnels",
        ),
        (&["http", "3000", "--with", "comprss=true"], "did you mean 'compress'?"),
        (&["http", "3000", "--with", "compress"], "expected KEY=VALUE"),
        (&["http", "3000", "--auth", "hunter2"], "'auth': expected USER:PASSWORD"),
        (&["http", "3000", "--with", "token=hunter2 "], "'token': expected characters of ASCII"),
        (&["http", "3000", "--host", "a.example", "--subdomain", "b"], "there is 'host', and"),
        (&["http", "3000", "--name", "A"], "1 to 63 characters of a-z"),
        (&["http", "3000", "--with", "token-file=/not/there"], "'token-file': /not/there: No such"),
        (&["4000", "http", "3000"], "there are two targets"),
    ];
    for (args, reason) in cases {
        let (status, printed, error) = Program::bare("client").args(args).output().await;
        assert_eq!((status, printed.as_str()), (Some(2), ""), "{args:?}: {error}");
        assert!(error.contains(reason), "{args:?}: {error}");
        assert!(!error.contains("hunter2"), "{args:?}: {error}");
    }
}

#[tokio::test]
async fn a_tcp_tunnel_without_a_name_serves_visitors() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let mut client = Client::begin(relay.control, &["tcp", &service.addr().to_string()]);
    let live = client.event("live").await;
    let public = live["public"].as_str().and_then(|public| public.strip_prefix("tcp://"));
    visit(public.expect("an address").parse().expect("an address")).await;
}

/// A client that has been told that its one tunnel is at these addresses.
async fn live(args: &[&str], public: &[&str]) -> (Process, RogueSession) {
    let relay = RogueRelay::start().await;
    let server = relay.addr().to_string();
    let client = Program::bare("client").args(args).args(["--server", &server]).start();
    let mut session = relay.greeted().await;
    let public = public.iter().map(|address| address.parse().expect("an address")).collect();
    let name = session.hello.tunnels[0].name.clone();
    let tunnels = vec![TunnelAnswer { name, outcome: TunnelOutcome::Open { public } }];
    let welcome = Welcome { session: 1, heartbeat_ms: 10_000, tunnels };
    session.control.send(&FromRelay::Welcome(welcome)).await.expect("a session");
    (client, session)
}

#[tokio::test]
async fn a_person_reads_the_urls_and_may_have_a_code_below() {
    let args = ["http", "3000", "--host", "a.example", "--host", "b.example", "--name", "app"];
    let urls = ["https://a.example", "https://b.example"];
    let expected = "app  https://a.example https://b.example -> http://127.0.0.1:3000";
    let pick = |line: &str| (line == expected).then_some(());
    let (client, _session) = live(&args, &urls).await;
    client.stdout.find(expected, 0, pick).await;
    assert_eq!(client.stdout.so_far().len(), 1);

    let (client, _session) = live(&[&args[..], &["--qr"]].concat(), &urls).await;
    client.stdout.find(expected, 0, pick).await;
    let is_code = |line: &str| line.starts_with('█') && line.chars().count() > 20;
    client.stdout.find("a code", 1, |line| is_code(line).then_some(())).await;

    let (client, _session) = live(&[&args[..], &["--qr", "--json"]].concat(), &urls).await;
    let event = r#""public":"https://a.example https://b.example""#;
    client.stdout.find("an event", 0, |line| line.contains(event).then_some(())).await;
    assert_eq!(client.stdout.as_json().len(), 1);
}

#[tokio::test]
async fn a_relay_that_gives_fewer_addresses_than_hosts_is_no_relay() {
    let args = ["http", "3000", "--host", "a.example", "--host", "b.example"];
    let (client, _session) = live(&args, &["https://a.example"]).await;
    client
        .stderr
        .find("the reason", 0, |line| line.contains("it opened other tunnels").then_some(()))
        .await;
}
