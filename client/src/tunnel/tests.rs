use shared::control::protocol::{BadTunnelName, MAX_HTTP_OPTIONS};

use super::*;

#[test]
fn a_tunnel_is_a_name_and_a_target() {
    let cases = [
        ("ssh=22", "ssh", "127.0.0.1:22", None),
        ("db=tcp://10.0.0.5:5432?port=20010", "db", "10.0.0.5:5432", Some(20010)),
        ("web=app.local:3000", "web", "app.local:3000", None),
        ("app=unix:/run/app.sock", "app", "unix:/run/app.sock", None),
        ("app=unix:/run/a=b.sock?port=20011", "app", "unix:/run/a=b.sock", Some(20011)),
        ("v6=[::1]:80", "v6", "[::1]:80", None),
    ];
    for (text, name, local, port) in cases {
        let tunnel: TunnelConfig = text.parse().unwrap();
        let Kind::Tcp { port: found, .. } = tunnel.kind else { panic!("{:?}", tunnel.kind) };
        let found = (tunnel.name.as_str(), tunnel.local.to_string(), found);
        assert_eq!(found, (name, local.to_owned(), port), "{text}");
    }
}

#[test]
fn a_tunnel_is_shown_as_it_would_be_written() {
    let written = [
        "ssh=127.0.0.1:22",
        "db=10.0.0.5:5432?port=20010",
        "web=127.0.0.1:80?port=20011&check=http://127.0.0.1:80/healthz?deep",
        "web=127.0.0.1:80?check=tcp&check-interval=1m30s&check-timeout=500ms\
         &check-failures=5&check-successes=1&withdraw=true",
        "web=unix:/run/app.sock?port=20012&check=tcp&proxy=v2",
        "ssh=127.0.0.1:22?allow=10.0.0.0/8,2001:db8::/32&deny=10.1.0.0/16",
        "app=http://127.0.0.1:3000",
        "app=h2c+unix:/run/app.sock?subdomain=api&path=/v1",
        "app=https://app.local:8443?host=a.example&host=b.example&check=https://app.local:8443/up\
         &verify=off",
        "app=http://127.0.0.1:3000?check=tcp&allow=10.0.0.0/8&rate=20/1m&max-body=10MB&timeout=30s\
         &rewrite-host=true&add-header=x-stage:%20a%20%26%20b%25&add-header=x-b:%20c\
         &remove-header=cookie&remove-header=x-c&compress=true&redirect=/old%20/new%23top\
         &redirect-https=true&hsts=1h&balance=least-busy",
        "app=http://127.0.0.1:3000?rewrite-host=app.local:8080&redirect=/a%20https://b.example/",
        "db=tls://127.0.0.1:5433?subdomain=db&deny=10.1.0.0/16",
        "db=tls://127.0.0.1:5433?host=db.example",
    ];
    for text in written {
        assert_eq!(text.parse::<TunnelConfig>().unwrap().to_string(), text);
    }
}

#[test]
fn a_check_has_sensible_times_of_its_own() {
    let tunnel: TunnelConfig = "web=80?check=tcp".parse().unwrap();
    assert_eq!(tunnel.check, Some(HealthCheck::new(Probe::Connect)));
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("22", "a tunnel is NAME=TARGET, such as ssh=22"),
        (
            "ssh=0",
            "'0' is no target: use PORT, HOST:PORT, unix:/path, or a URL such as http://HOST:PORT",
        ),
        (
            "ssh=",
            "'' is no target: use PORT, HOST:PORT, unix:/path, or a URL such as http://HOST:PORT",
        ),
        ("ssh=unix:", "unix: needs a path, such as unix:/run/app.sock"),
        ("web=ftp://a:1", "'ftp://' is not known: use http://, https://, h2c://, tls:// or tcp://"),
        ("ssh=22?prot=1", "the option 'prot' is not known: did you mean 'port'?"),
        ("ssh=22?port=0", "'port=0': expected a port, 1 to 65535"),
        ("ssh=22?port=70000", "'port=70000': expected a port, 1 to 65535"),
        ("ssh=22?port", "'port=': expected a port, 1 to 65535"),
        (
            "ssh=22?check=udp",
            "'check=udp': expected `tcp` or a URL such as \
          http://127.0.0.1:3000/healthz",
        ),
        ("ssh=22?check=tcp&check-failures=0", "'check-failures=0': expected a number, 1 or more"),
        ("ssh=22?check=tcp&check-interval=0s", "'check-interval=0s': must be longer than zero"),
        ("ssh=22?withdraw=yes", "'withdraw=yes': expected `true` or `false`"),
        (
            "ssh=22?allow=10.0.0.0/8,office",
            "'allow=10.0.0.0/8,office': 'office' is no network: use an address, or one with \
             a length as in 10.0.0.0/8",
        ),
        ("ssh=22?proxy=v3", "'proxy=v3': expected `v1` or `v2`"),
        ("ssh=22?check-timeout=1s", "'check-timeout' needs a 'check'"),
        ("ssh=22?withdraw=true", "'withdraw' needs a 'check'"),
        ("ssh=22?port=1&port=2", "'port' is there twice"),
        ("ssh=22?path=/a", "'path' is for http, https and h2c tunnels, and this one is tcp"),
        (
            "ssh=22?host=a.example",
            "'host' is for http, https, h2c and tls tunnels, and this one is tcp",
        ),
        ("a=http://1?port=1", "'port' is for tcp tunnels, and this one is http"),
        ("a=https://1?proxy=v2", "'proxy' is for tcp tunnels, and this one is https"),
        ("a=h2c://1?verify=off", "'verify' is for https tunnels, and this one is h2c"),
        (
            "a=tls://1?compress=true",
            "'compress' is for http, https and h2c tunnels, and this one is tls",
        ),
        ("a=http://1?host=app", "'host=app': expected the name of a host, such as app.example.com"),
        ("a=http://1?host=a.example&host=A.example", "'host=A.example': it is there twice"),
        (
            "a=http://1?host=a.example&subdomain=b",
            "there is 'host', and 'subdomain' as well: give one of them",
        ),
        (
            "a=http://1?path=api",
            "'path=api': expected a path of up to 8 plain segments, such as /api/v1",
        ),
        (
            "ab--c=http://1",
            "the name 'ab--c' cannot be a subdomain: give the tunnel a 'subdomain' or a 'host'",
        ),
        ("a=http://1?token=", "'token': expected characters of ASCII without blanks"),
        ("a=http://1?token=s%20t", "'token': expected characters of ASCII without blanks"),
        (
            "a=http://1?token=s&token-file=f",
            "there is 'token', and 'token-file' as well: give one of them",
        ),
        ("a=http://1?auth=hunter2", "'auth': expected USER:PASSWORD"),
        (
            "a=http://1?rewrite-host=a%20b",
            "'rewrite-host=a b': expected a host such as app.example:8080, or `true` for that of the local service",
        ),
        ("a=http://1?add-header=X", "'add-header=X': expected a header such as 'X-Stage: beta'"),
        (
            "a=http://1?add-header=X:%0d%0a",
            "'add-header=X:\r\n': a header's value is one line of printable ASCII characters",
        ),
        ("a=http://1?remove-header=Host", "'remove-header=Host': use 'rewrite-host'"),
        (
            "a=http://1?max-body=0",
            "'max-body=0': a size is a number of bytes, or one with kB, MB, GB or TB, such as 10MB",
        ),
        (
            "a=http://1?timeout=5",
            "'timeout=5': time unit needed, for example 5sec or 5ms; a time is a number and a unit, such as 30s or 5m",
        ),
        ("a=http://1?hsts=1ms", "'hsts=1ms': must be whole seconds"),
        ("a=http://1?compress=yes", "'compress=yes': expected `true` or `false`"),
        (
            "a=http://1?redirect=/a",
            "'redirect=/a': expected a path, a blank, and a path or URL, such as '/old /new' or '/docs https://docs.example/'",
        ),
        (
            "a=http://1?rate=20",
            "'rate=20': a frequency is a number and a time, such as 50/1s or 20/1m",
        ),
        (
            "a=http://1?balance=best",
            "'balance=best': expected one of: newest, least-busy, random, sticky",
        ),
        ("a=http://1?webhook=gitlab", "'webhook=gitlab': expected one of: github, stripe, slack"),
        ("a=http://1?webhook=github", "'webhook' needs a 'webhook-secret'"),
        ("a=http://1?webhook-secret=s", "'webhook-secret' needs a 'webhook'"),
        ("a=http://1?webhook-secret-file=s", "'webhook-secret-file' needs a 'webhook'"),
        ("a=http://1?jwt-key=f", "'jwt-key' needs a 'jwt-audience'"),
        ("a=http://1?jwt-audience=a", "'jwt-audience' needs a 'jwt-key'"),
        ("a=http://1?jwt-issuer=a", "'jwt-issuer' needs a 'jwt-key'"),
        ("a=https://1?verify=no", "'verify=no': expected `on` or `off`"),
        ("a=https://1?verify=off&ca=f", "there is 'verify', and 'ca' as well: give one of them"),
        (
            "a=http://1?path=%2",
            "'path': a % and two hexadecimal digits stand for a byte, and a plain % is %25",
        ),
        ("a=http://1?token-file=", "'token-file=': a value is required"),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<TunnelConfig>().unwrap_err().to_string(), error, "{text}");
    }
    assert_eq!("SSH=22".parse::<TunnelConfig>(), Err(BadTunnel::Name(BadTunnelName)));
}

fn entrances(text: &str) -> String {
    let tunnel: TunnelConfig = text.parse().unwrap();
    let entrances = tunnel.entrances(Some(7));
    assert_eq!(tunnel.addresses(), entrances.len(), "{text}");
    serde_json::to_string(&entrances).unwrap()
}

#[test]
fn a_tunnel_asks_for_its_entrances() {
    let cases = [
        ("a=22", r#"[{"kind":"tcp","prefer":7}]"#),
        ("a=http://1", r#"[{"kind":"http","subdomain":"a"}]"#),
        ("a=h2c://1?subdomain=b&path=/x", r#"[{"kind":"http","subdomain":"b","path":"/x"}]"#),
        (
            "a=https://1?host=A.example&host=bücher.example&path=/x",
            r#"[{"kind":"http","host":"a.example","path":"/x"},{"kind":"http","host":"xn--bcher-kva.example","path":"/x"}]"#,
        ),
        ("a=tls://1", r#"[{"kind":"tls","subdomain":"a"}]"#),
        ("ab--c=tls://1?host=a.example", r#"[{"kind":"tls","host":"a.example"}]"#),
    ];
    for (text, expected) in cases {
        assert_eq!(entrances(text), expected, "{text}");
    }
}

#[test]
fn a_tunnel_changes_while_it_is_open_unless_the_public_reaches_it_elsewhere() {
    let same = |one: &str, other: &str| {
        let (one, other) = (one.parse::<TunnelConfig>().unwrap(), other.parse().unwrap());
        one != other && one.has_entrances_of(&other)
    };
    assert!(same("a=http://1", "a=https://2?compress=true"));
    assert!(same("a=http://1", "a=h2c+unix:/b?subdomain=a"));
    assert!(!same("a=http://1", "a=1") && !same("a=http://1", "a=tls://1"));
    assert!(!same("a=http://1", "a=http://1?path=/x"));
    assert!(!same("a=http://1?host=a.example", "a=http://1?host=a.example&host=b.example"));
}

fn told(text: &str) -> String {
    let tunnel: TunnelConfig = text.parse().unwrap();
    serde_json::to_string(tunnel.http().expect("an HTTP tunnel")).unwrap()
}

#[test]
fn the_relay_is_told_what_it_does_with_requests() {
    let cases = [
        ("a=http://1", "{}"),
        ("a=h2c://1?balance=sticky", r#"{"version":"http2","balance":"sticky"}"#),
        (
            "a=http://1?rewrite-host=true&add-header=X-A:b&remove-header=Cookie",
            r#"{"rewrite_host":"127.0.0.1:1","add_header":[["x-a","b"]],"remove_header":["cookie"]}"#,
        ),
        ("a=http://app?rewrite-host=true", r#"{"rewrite_host":"app"}"#),
        ("a=https://[::1]?rewrite-host=true", r#"{"rewrite_host":"[::1]"}"#),
        ("a=http+unix:/a?rewrite-host=true", r#"{"rewrite_host":"localhost"}"#),
        ("a=http://1?rewrite-host=b.example", r#"{"rewrite_host":"b.example"}"#),
        (
            "a=http://1?max-body=1kB&timeout=1500ms&compress=true&redirect-https=true&hsts=1m",
            r#"{"max_body":1000,"timeout_ms":1500,"compress":true,"redirect_https":true,"hsts":60}"#,
        ),
        (
            "a=http://1?redirect=/a%20/b&rate=20/m&webhook=slack&webhook-secret=s%20t",
            r#"{"redirect":[["/a","/b"]],"rate":"20/1m","webhook":{"from":"slack","secret":"s t"}}"#,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(told(text), expected, "{text}");
    }
    assert_eq!("a=1".parse::<TunnelConfig>().unwrap().http(), None);
}

#[test]
fn secrets_are_told_as_digests_and_shown_as_fingerprints() {
    let text = "a=http://1?token=hunter2&auth=ann:hunter3&auth=ben:hunter4&webhook=github\
                &webhook-secret=hunter5";
    let told = told(text);
    assert_eq!(told.matches("hunter").count(), 1, "the relay checks signatures: {told}");
    let tunnel: TunnelConfig = text.parse().unwrap();
    for shown in [tunnel.to_string(), format!("{tunnel:?}")] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
    let shown = tunnel.to_string();
    assert_eq!(shown.matches("auth=(secret ").count(), 2, "{shown}");
    let other: TunnelConfig = text.replace("hunter4", "hunter6").parse().unwrap();
    assert_ne!(shown, other.to_string());
}

#[test]
fn what_stands_in_files_is_read_and_the_files_are_shown() {
    let folder = std::env::temp_dir().join(format!("sallyport-tunnels-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let token = file("token", "hunter2\n");
    let logins = file("logins", "ann:hunter3\nben:hunter4\n");
    let keys = file("keys", r#"{"keys":[]}"#);
    let secret = file("secret", "hunter5");
    let text = format!(
        "a=http://127.0.0.1:1?token-file={token}&auth-file={logins}&jwt-key={keys}\
         &jwt-audience=app&jwt-issuer=me&webhook=stripe&webhook-secret-file={secret}"
    );
    let given = "a=http://1?token=hunter2&auth=ann:hunter3&auth=ben:hunter4&webhook=stripe\
                 &webhook-secret=hunter5";
    let jwt = r#""jwt":{"keys":"{\"keys\":[]}","audience":"app","issuer":"me"},"webhook""#;
    assert_eq!(told(&text), told(given).replace(r#""webhook""#, jwt));
    assert_eq!(text.parse::<TunnelConfig>().unwrap().to_string(), text);

    let key_errors = [
        ("-----BEGIN PRIVATE KEY-----", "it is a private key"),
        (r#"{"keys":[{"kty":"EC","d":"x"}]}"#, "it is a private key"),
        ("nonsense", "expected a public key as PEM, or a JSON Web Key Set"),
    ];
    for (key, error) in key_errors {
        file("keys", key);
        let err = text.parse::<TunnelConfig>().unwrap_err().to_string();
        assert!(err.starts_with("'jwt-key': ") && err.contains(error), "{err}");
    }
    let ca = file("ca", "nonsense");
    let err = format!("a=https://1?ca={ca}").parse::<TunnelConfig>().unwrap_err().to_string();
    assert!(err.starts_with("'ca': ") && err.contains("holds no certificate"), "{err}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn options_that_are_too_long_together_are_told_with_their_tunnel() {
    let header = |n: usize| format!("add-header=X-{n}:{}", "v".repeat(500));
    let headers = |many: usize| (0..many).map(header).collect::<Vec<_>>().join("&");
    assert!(told(&format!("web=http://1?{}", headers(11))).len() <= MAX_HTTP_OPTIONS);
    let err = format!("web=http://1?{}", headers(13)).parse::<TunnelConfig>().unwrap_err();
    let BadTunnel::TooLong(name, bytes) = &err else { panic!("{err}") };
    assert!(name.as_str() == "web" && *bytes > MAX_HTTP_OPTIONS);
    assert!(err.to_string().starts_with("the options of the tunnel `web` are "), "{err}");
}

#[test]
fn options_are_shown_in_the_order_of_their_table() {
    let text = "a=https://1?host=a.example&path=/a&check=tcp&withdraw=true&allow=::1&token=t\
                &auth=a:b&webhook=slack&webhook-secret=s&rate=1/s&max-body=1&timeout=1s\
                &rewrite-host=true&add-header=a:b&remove-header=c&compress=true&redirect=/a%20/b\
                &redirect-https=true&hsts=1s&balance=random&verify=off";
    let tunnel: TunnelConfig = text.parse().unwrap();
    let shown: Vec<_> = tunnel.options().iter().map(|option| option.name).collect();
    let mut names = TunnelConfig::OPTIONS.to_vec();
    names.retain(|name| shown.contains(name));
    assert_eq!(shown, names);
    let named = text.split(['?', '&']).skip(1).map(|option| option.split('=').next().unwrap());
    assert!(named.eq(shown), "{tunnel}");
}
