//! TLS as an operator meets it: lines to paste, files that change, mistakes on the command line.

use tests::process::{Client, Program, Relay, Signal, visit};
use tests::{Authority, Folder, Secured, local};

/// The arguments of a client, as the relay's log shows them.
async fn pasted(relay: &Relay) -> Vec<String> {
    let line = relay.logged("clients can use TLS: client ").await;
    let line = line["message"].as_str().expect("a message");
    let (_, arguments) = line.split_once(": client ").expect("a command");
    arguments.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn the_line_in_the_log_connects_a_client_and_goes_on_doing_so_after_a_restart() {
    let folder = Folder::new();
    let data = folder.file("data").display().to_string();
    let service = local::echo().await;
    let start =
        || Program::relay().args(["--tls", "self-signed", "--require-tls", "--data", &data]);

    let mut relay = Relay::of(start()).await;
    let arguments = pasted(&relay).await;
    let pin = arguments.last().expect("a pin").clone();
    let connect = |arguments: &[String]| {
        Client::of(Program::client().args(arguments).args(["--local", &service.addr().to_string()]))
    };
    let mut client = connect(&arguments);
    client.event("live").await;
    visit(relay.public).await;
    relay.signal(Signal::TERM);
    relay.exit().await;

    let again = Relay::of(start()).await;
    let arguments = pasted(&again).await;
    assert_eq!(arguments.last(), Some(&pin));
    connect(&arguments).event("live").await;
}

#[tokio::test]
async fn a_relay_that_keeps_nothing_says_so() {
    let relay = Relay::start(&["--tls", "self-signed"]).await;
    relay.logged("this pin is another one after each start: keep it with --data DIR").await;
}

#[tokio::test]
async fn a_certificate_is_read_again_when_it_changes_and_at_a_signal_without_any_file_of_settings()
{
    let secured = Secured::new();
    let file = |name| secured.folder.file(name).display().to_string();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let relay = Relay::start(&["--tls-cert", &certificate, "--tls-key", &key]).await;
    let service = local::echo().await;
    let server = format!("tls://{}", relay.control);
    let local = service.addr().to_string();
    let ca = secured.ca.display().to_string();
    let mut client = Client::of(
        Program::client().args(["--server", &server, "--local", &local, "--tls-ca", &ca]),
    );
    client.event("live").await;

    let identity = secured.authority.relay("127.0.0.1");
    secured.replace(&identity);
    let seen = relay.logged("new clients see another certificate").await;
    assert_eq!(seen["pin"], identity.pin().to_string());
    secured.folder.replace("key.pem", "no key");
    relay.logged("TLS at the control port stays as it is: ").await;
    relay.signal(Signal::HUP);
    relay.logged("SIGHUP: there is no configuration file to read again").await;
    visit(relay.public).await;
}

#[tokio::test]
async fn mistakes_with_tls_are_said_before_anything_runs() {
    let (secured, other) = (Secured::new(), Secured::of(|_| Authority::new().relay("a")));
    let file = |secured: &Secured, name| secured.folder.file(name).display().to_string();
    let (certificate, key) = (file(&secured, "cert.pem"), file(&secured, "key.pem"));
    let other_key = file(&other, "key.pem");
    let pin = secured.authority.relay("a").pin().to_string();
    let cases: [(&str, &[&str], &str); 14] = [
        ("relay", &["--tls-cert", &certificate], "--tls-cert needs tls-key as well"),
        ("relay", &["--require-tls"], "--require-tls needs TLS"),
        (
            "relay",
            &["--tls", "self-signed", "--tls-cert", "a", "--tls-key", "b"],
            "does not go with",
        ),
        ("relay", &["--tls-cert", &certificate, "--tls-key", &other_key], "is not the key of"),
        ("relay", &["--tls-cert", &key, "--tls-key", &key], "holds no certificate"),
        ("relay", &["--tls-cert", "/not/there", "--tls-key", &key], "tls-cert: /not/there: is not"),
        (
            "relay",
            &["--tls-cert", &certificate, "--tls-key", "/not/there"],
            "tls-key: /not/there: ",
        ),
        ("relay", &["--tls-min", "1.1"], "[possible values: 1.2, 1.3]"),
        ("client", &["--tls-pin", &pin], "tls-pin needs TLS: --tls, or --server tls://"),
        ("client", &["--tls", "--tls-pin", "sha256:abc"], "a pin is sha256: and 32 bytes"),
        (
            "client",
            &["--tls", "--tls-pin", &pin, "--tls-ca", &certificate],
            "does not go with tls-ca",
        ),
        ("client", &["--tls", "--server", "tcp://a:1"], "does not go with --server tcp://"),
        ("client", &["--server", "wss://a:1"], "use tls:// or tcp://"),
        ("client", &["--tls", "--tls-ca", "/not/there"], "--tls-ca: /not/there: is not there"),
    ];
    for (program, arguments, expected) in cases {
        let (status, _, error) = Program::bare(program).args(arguments).output().await;
        assert_eq!(status, Some(2), "{arguments:?}: {error}");
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}
