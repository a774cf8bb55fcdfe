//! Flags, environment variables, help, and what is said to mistakes.

use tests::process::{Client, Program, Relay, own_host, visit};
use tests::{Peer, local};

const RELAY_FLAGS: &[&str] = &[
    "config",
    "control",
    "public",
    "public-name",
    "ports",
    "admin",
    "admin-host",
    "data",
    "database",
    "tls",
    "tls-cert",
    "tls-key",
    "require-tls",
    "tls-min",
    "tls-client-ca",
    "http",
    "https",
    "domain",
    "board",
    "hold-requests",
    "request-timeout",
    "keep-alive",
    "access-log",
    "access-log-file",
    "error-pages",
    "reserved-names",
    "any-host",
    "resolver",
    "domain-first-look",
    "domain-recheck",
    "domain-grace",
    "max-domains-per-owner",
    "dns-update",
    "dns-update-key-file",
    "dns-update-zone",
    "dns-hook",
    "dns-address",
    "certs",
    "acme",
    "acme-directory",
    "acme-email",
    "acme-agree-tos",
    "acme-eab-kid",
    "acme-eab-key-file",
    "acme-challenge",
    "acme-wildcard",
    "acme-ca",
    "statistics",
    "statistics-minutes",
    "history",
    "history-addresses",
    "grace",
    "max-visitors",
    "stall-timeout",
    "half-closed-timeout",
    "hold",
    "hold-visitors",
    "anonymous",
    "token-file",
    "jwt-key",
    "jwt-audience",
    "jwt-issuer",
    "max-visitors-in-all",
    "max-visitors-per-source",
    "max-visitors-per-owner",
    "new-visitors-per-source",
    "new-visitors-per-tunnel",
    "rate-per-tunnel",
    "rate-per-owner",
    "max-sessions-per-owner",
    "max-tunnels-per-session",
    "max-held-ports-per-owner",
    "max-held-ports-per-source",
    "max-handshakes",
    "penalise-after",
    "heartbeat",
    "threads",
    "allow",
    "deny",
    "ban",
    "never-ban",
    "trust-proxy",
    "inspect-memory",
    "inspect-body",
    "inspect-keep",
    "inspect-mask",
    "log",
    "log-format",
    "audit-log",
];

const CLIENT_FLAGS: &[&str] = &[
    "config",
    "server",
    "tls",
    "tls-ca",
    "tls-pin",
    "tls-name",
    "tls-client-cert",
    "tls-client-key",
    "tls-min",
    "token-file",
    "insecure",
    "local",
    "tunnel",
    "connections",
    "reconnect",
    "grace",
    "connect-timeout",
    "stall-timeout",
    "half-closed-timeout",
    "json",
    "qr",
    "status",
    "log",
    "log-format",
];

/// The variable of a flag of `program`.
fn variable(program: &str, flag: &str) -> String {
    format!("{program}_{flag}").to_uppercase().replace('-', "_")
}

#[tokio::test]
async fn help_fits_a_terminal_and_explains_every_flag_and_its_variable() {
    for (program, flags) in [("relay", RELAY_FLAGS), ("client", CLIENT_FLAGS)] {
        let (status, help, _) = Program::bare(program).args(["--help"]).output().await;
        assert_eq!(status, Some(0));
        for flag in flags {
            let variable = variable(program, flag);
            assert!(help.contains(&format!("--{flag}")), "{program} --{flag}:\n{help}");
            let shown = [format!("[env: {variable}=]"), format!("[env: {variable}]")];
            assert!(shown.iter().any(|env| help.contains(env)), "{variable}:\n{help}");
        }
        let lines: Vec<&str> = help.lines().collect();
        let described = lines.iter().filter(|line| line.contains("[env: ")).count();
        assert_eq!(described, flags.len(), "a flag of {program} that this test does not know");
        for line in &lines {
            assert!(line.chars().count() <= 80, "{program}: {line}");
        }

        let (status, short, _) = Program::bare(program).args(["-h"]).output().await;
        assert_eq!(status, Some(0));
        assert!(short.lines().all(|line| line.chars().count() <= 80), "{short}");
    }
}

#[tokio::test]
async fn version_is_name_and_number() {
    for program in ["relay", "client"] {
        let (status, version, _) = Program::bare(program).args(["--version"]).output().await;
        assert_eq!(status, Some(0));
        assert_eq!(version, format!("{program} {}", env!("CARGO_PKG_VERSION")));
    }
}

/// Values that are none: the flag, the value, and what the message says of it.
const BAD_RELAY: &[(&str, &str, &str)] = &[
    ("control", "nonsense", "'nonsense' is neither PORT (0 to 65535) nor HOST:PORT"),
    ("control", "", "neither PORT"),
    ("public", "70000", "'70000' is neither PORT"),
    ("admin", "127.0.0.1", "'127.0.0.1' is neither PORT"),
    ("ports", "2-1", "a range of ports is FIRST-LAST"),
    ("ports", "22", "such as 20000-20999, or 0 for any free port"),
    ("grace", "soon", "expected number"),
    ("grace", "10", "time unit needed"),
    ("max-visitors", "0", "0 is not in 1..=16384"),
    ("max-visitors", "many", "invalid digit"),
    ("stall-timeout", "0s", "must be longer than zero"),
    ("half-closed-timeout", "0s", "must be longer than zero"),
    ("hold", "-1s", "expected number"),
    ("hold-visitors", "long", "expected number"),
    ("admin-host", "relay:80", "a host is a name such as relay.example, or an address"),
    ("statistics", "1m", "must be between 1h and a year, or 0s"),
    ("statistics-minutes", "0s", "must be longer than zero"),
    ("statistics-minutes", "59m", "must be between 1h and a year"),
    ("history", "400d", "must be a year at most"),
    ("public-name", "relay:80", "a host is a name such as relay.example, or an address"),
    ("heartbeat", "0ms", "must be between 50ms and 1h"),
    ("heartbeat", "x", "expected number"),
    ("grace", "300000000000years", "must be a year at most"),
    ("threads", "0", "0 is not in 1..=256"),
    ("threads", "1000", "1000 is not in 1..=256"),
    ("log", "relay=loud", "error parsing level filter: expected one of"),
    ("allow", "", "an empty list: leave it out where there is no limit"),
    ("deny", " ", "an empty list: leave it out where there is no limit"),
    ("never-ban", "", "an empty list: leave it out where there is no limit"),
    ("trust-proxy", "", "an empty list: leave it out where there is no limit"),
    ("database", "postgres://db/name?pass=hunter2", "the URL's parameter 'pass' is not known"),
    ("jwt-audience", "", "a value is required"),
    ("jwt-issuer", "", "a value is required"),
    ("board", "board.example.com", "needs http or https as well"),
    ("domain", "relay", "expected a domain such as tunnel.example.com"),
    ("reserved-names", "a,B", "expected 1 to 63 characters of a-z, 0-9 and -"),
    ("resolver", "dns.example", "expected an address, such as 9.9.9.9"),
    ("domain-recheck", "0s", "must be longer than zero"),
    ("domain-grace", "x", "expected number"),
    ("dns-update", "53", "expected HOST or HOST:PORT"),
    ("dns-update", "ns.example", "needs dns-update-key-file as well"),
    ("dns-update-zone", "example.com", "needs dns-update as well"),
    ("dns-address", "127.0.0.1", "needs dns-update or dns-hook as well"),
    ("dns-address", "relay", "invalid IP address"),
    ("dns-update-key-file", "/dev/null", "expected a key as `tsig-keygen` makes it"),
    ("log", "[[[", "'[[[' is no filter"),
    ("log-format", "xml", "[possible values: text, json]"),
    ("log-format", "", "[possible values: text, json]"),
    ("access-log", "xml", "[possible values: off, text, json, common, combined]"),
    ("error-pages", "/nowhere/pages", "error-pages: /nowhere/pages: No such file or directory"),
];

/// See [`BAD_RELAY`].
const BAD_CLIENT: &[(&str, &str, &str)] = &[
    ("server", "4444", "needs a host as well, such as relay.example:4444"),
    ("server", "relay", "'relay' is neither PORT"),
    ("server", "relay:0", "the port must not be 0"),
    ("local", "0", "'0' is no target: use PORT, HOST:PORT, unix:/path, or a URL"),
    ("local", "ftp://127.0.0.1:80", "'ftp://' is not known: use http://, https://"),
    ("local", "http://127.0.0.1:80/path", "'/path' behind the port"),
    ("local", "unix:", "unix: needs a path, such as unix:/run/app.sock"),
    ("tunnel", "22", "a tunnel is NAME=TARGET, such as ssh=22"),
    ("tunnel", "SSH=22", "1 to 63 characters of a-z, 0-9 and -"),
    ("tunnel", "ssh=22?port=0", "'port=0': expected a port, 1 to 65535"),
    ("tunnel", "ssh=22?prot=1", "the option 'prot' is not known: did you mean 'port'?"),
    ("tunnel", "ssh=22?check=udp", "'check=udp': expected `tcp` or a URL"),
    ("tunnel", "ssh=22?withdraw=true", "'withdraw' needs a 'check'"),
    ("tunnel", "ssh=22?compress=true", "'compress' is for http, https and h2c tunnels"),
    ("tunnel", "web=http://80?port=1", "'port' is for tcp tunnels, and this one is http"),
    ("tunnel", "web=http://80?auth=hunter2", "'web=http://80?auth=***' for '--tunnel"),
    ("tunnel", "ssh=22 ssh=23", "the tunnel `ssh` is there twice: give each its own name"),
    ("reconnect", "sometimes", "[possible values: never, on-failure, always]"),
    ("grace", "soon", "expected number"),
    ("connections", "0", "0 is not in 1..=16"),
    ("connections", "17", "17 is not in 1..=16"),
    ("connect-timeout", "0s", "must be longer than zero"),
    ("connect-timeout", "5", "time unit needed"),
    ("stall-timeout", "0s", "must be longer than zero"),
    ("stall-timeout", "long", "expected number"),
    ("half-closed-timeout", "0s", "must be longer than zero"),
    ("tunnel", "ssh=22?allow=", "'allow=': an empty list: leave it out"),
    ("log", "[[[", "'[[[' is no filter"),
    ("log", "client=loud", "error parsing level filter: expected one of"),
    ("log-format", "xml", "[possible values: text, json]"),
];

#[tokio::test]
async fn a_bad_value_is_named_with_its_flag_and_the_reason() {
    for (program, cases) in [("relay", BAD_RELAY), ("client", BAD_CLIENT)] {
        for &(flag, value, reason) in cases {
            let by_flag = Program::bare(program).args([format!("--{flag}={value}")]);
            let by_variable = Program::bare(program).env(&variable(program, flag), value);
            for started in [by_flag, by_variable] {
                let (status, printed, error) = started.output().await;
                let case = format!("{program} --{flag}={value}: {error}");
                assert_eq!(status, Some(2), "{case}");
                assert_eq!(printed, "", "{case}");
                assert!(error.contains(reason), "{case}");
                assert!(error.contains(flag), "{case}");
                assert!(error.contains("--help"), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn mistakes_of_usage_end_with_status_2() {
    let cases = [
        ("relay", &["--contrl", "1"][..], "a similar argument exists: '--control'"),
        ("relay", &["4444"], "unrecognized subcommand '4444'"),
        ("relay", &["--control", "1", "--control", "2"], "cannot be used multiple times"),
        ("relay", &["chekc"], "a similar subcommand exists: 'check'"),
        ("client", &["chekc"], "'chekc' is no target: use PORT, HOST:PORT"),
        ("client", &["3000", "4000"], "'4000'"),
        ("client", &["3000", "--local", "4000"], "there is TARGET, and --local as well"),
        ("client", &["--server"], "a value is required for '--server <HOST:PORT>'"),
    ];
    for (program, args, reason) in cases {
        let (status, _, error) = Program::bare(program).args(args).output().await;
        assert_eq!(status, Some(2), "{program} {args:?}: {error}");
        assert!(error.contains(reason) && error.contains("--help"), "{program} {args:?}: {error}");
    }
}

#[tokio::test]
async fn the_environment_is_as_good_as_flags() {
    let service = local::speaks_first(b"one").await;
    let other = local::speaks_first(b"two").await;
    // The harness starts every relay with its addresses in variables; here is one more.
    let relay = Relay::of(Program::relay().env("RELAY_MAX_VISITORS", "1")).await;
    let tunnels = format!("one={} two={}", service.addr(), other.addr());
    let mut client = Client::of(
        Program::client()
            .env("CLIENT_SERVER", relay.control.to_string())
            .env("CLIENT_TUNNEL", tunnels),
    );
    let one = client.live("one").await;
    let two = client.live("two").await;
    let mut first = Peer::connect(one).await;
    first.expect(b"one").await;
    Peer::connect(two).await.expect(b"two").await;
    // RELAY_MAX_VISITORS.
    Peer::connect(one).await.expect_reset().await;
}

#[tokio::test]
async fn a_flag_beats_its_variable() {
    let host = own_host();
    let relay = Relay::start(&["--public", &format!("{host}:0")]).await;
    assert_eq!(relay.public.ip(), host);
    let service = local::echo().await;
    let nowhere = local::nobody().await;
    let program = Program::client()
        .env("CLIENT_LOCAL", nowhere.to_string())
        .env("CLIENT_SERVER", nowhere.to_string())
        .args(["--server", &relay.control.to_string()])
        .args(["--local", &service.addr().to_string()]);
    let mut client = Client::of(program);
    client.event("live").await;
    visit(relay.public).await;
}

#[tokio::test]
async fn a_person_reads_one_line_for_each_tunnel_on_stdout() {
    let relay = Relay::start(&[]).await;
    let service = local::echo().await;
    let local = service.addr();
    let client = Program::bare("client")
        .args(["--server", &relay.control.to_string(), "--local", &local.to_string()])
        .start();
    let expected = format!("default  tcp://{} -> {local}", relay.public);
    let pick = |line: &str| (line == expected).then_some(());
    client.stdout.find(&expected, 0, pick).await;
    assert_eq!(client.stdout.so_far().len(), 1);
}

#[tokio::test]
async fn what_a_json_web_token_is_not_good_for_is_said_of_each_command() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
    for (args, says) in [
        (&["token", "show"][..], "is not shown"),
        (&["token", "narrow", "--tunnel", "web"], "cannot be narrowed"),
    ] {
        let tool = Program::bare("client").args(args).env("CLIENT_TOKEN", jwt);
        let (status, _, log) = tool.output().await;
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains(&format!("a JSON Web Token {says}")), "{args:?}: {log}");
    }
}
