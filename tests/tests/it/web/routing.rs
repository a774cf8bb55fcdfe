//! Each request goes to the tunnel of its host and path, whatever came before it on a connection.

use futures::StreamExt;
use futures::stream;
use tests::http::{Frames, Line, Multiplexed, Outcome, Recorder, Reply};
use tests::{RunningClient, World, local};

use super::{APP, app, world_of, world_with};

/// A host and a path, which tunnel they lead to, and the path that it sees.
const CASES: &[(&str, &str, &str, &str)] = &[
    (APP, "/", "app", "/"),
    ("APP.T.Example.", "/apix", "app", "/apix"),
    ("app.t.example:8080", "/api", "api", "/api"),
    ("app.t.example.:80", "/api/", "api", "/api/"),
    ("app.t.example:", "/api?x=/v1", "api", "/api?x=/v1"),
    (APP, "/api/v1", "v1", "/api/v1"),
    (APP, "/api/v1/../x", "v1", "/api/v1/../x"),
    (APP, "/api/v1x", "api", "/api/v1x"),
    (APP, "/API", "app", "/API"),
    (APP, "//api", "app", "//api"),
    (APP, "/%61pi", "app", "/%61pi"),
    (APP, "/t/other/", "app", "/t/other/"),
    ("own.example", "/api/x", "own", "/api/x"),
    ("OWN.example", "/t/app/", "own", "/t/app/"),
    ("xn--bcher-kva.example", "/b", "own", "/b"),
    ("other.t.example", "/", "other", "/"),
    ("127.0.0.1", "/t/app/x?y", "app", "/x?y"),
    ("[::1]:80", "/t/app/api/v1/", "v1", "/api/v1/"),
    ("[0:0::1]", "/t/other/?", "other", "/?"),
    ("anything.example", "/t/app/apix", "app", "/apix"),
    ("localhost", "/t/app//evil.example", "app", "//evil.example"),
];

/// A world with these five tunnels, which name themselves in what they answer.
async fn many() -> (World, RunningClient, std::net::SocketAddr, Vec<Recorder>) {
    let options = [
        ("app", "subdomain=app"),
        ("api", "subdomain=app&path=/api"),
        ("v1", "subdomain=app&path=/api/v1"),
        ("own", "host=own.example&host=xn--bcher-kva.example"),
        ("other", "subdomain=other"),
    ];
    let (mut tunnels, mut services) = (Vec::new(), Vec::new());
    for (name, options) in options {
        let answer = move |target: &str| Reply::ok(&format!("{name} {target}"));
        let service = Recorder::start_with(move |seen| answer(&seen.target)).await;
        tunnels.push(format!("{name}=http://{}?{options}", service.addr()));
        services.push(service);
    }
    let (world, client, http) = world_of(&tunnels).await;
    (world, client, http, services)
}

#[tokio::test]
async fn ten_thousand_requests_of_all_hosts_and_paths_on_one_connection_go_where_they_belong() {
    let (world, client, http, services) = many().await;
    let mut line = Line::connect(http).await;
    for at in 0..10_000 {
        let (host, path, name, seen) = CASES[at % CASES.len()];
        let answer = line.ask(host, path).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!((answer.status, &*text), (200, &*format!("{name} {seen}")), "{host}{path}");
    }
    drop(line);

    let visitor = Multiplexed::connect(http).await;
    let requests = stream::iter(0..5_000).map(async |at| {
        let (host, path, name, seen) = CASES[at % CASES.len()];
        let answer = visitor.get(host, path).await;
        let text = String::from_utf8_lossy(answer.body());
        assert_eq!((answer.status().as_u16(), &*text), (200, &*format!("{name} {seen}")));
    });
    requests.buffer_unordered(50).collect::<()>().await;
    drop(visitor);
    for service in services {
        assert_eq!(service.ill_formed(), Vec::<String>::new());
    }
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn where_there_is_no_tunnel_it_says_so() {
    let (world, client, http, _services) = many().await;
    let mut line = Line::connect(http).await;
    let nowhere = [
        ("nobody.t.example", "/"),
        ("x.app.t.example", "/"),
        ("t.example", "/"),
        ("app.t.example.evil.example", "/"),
        ("localhost", "/"),
        ("localhost", "/t/nobody/"),
        ("localhost", "/t/nobody"),
        ("localhost", "/t/APP/"),
        ("localhost", "/t/own/"),
        ("localhost", "/t//"),
        ("localhost", "/T/app/"),
        ("[::1]", "/"),
    ];
    for (host, path) in nowhere {
        let answer = line.ask(host, path).await;
        let code = answer.headers.of("x-relay-error");
        assert_eq!((answer.status, code), (404, Some("unknown_tunnel")), "{host}{path}");
    }
    let answer = line.ask("localhost", "/t/app?a=b").await;
    assert_eq!((answer.status, answer.headers.of("location")), (308, Some("/t/app/?a=b")));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_request_that_names_two_hosts_is_refused() {
    let (world, client, http, services) = many().await;
    let both = [
        "GET http://app.t.example/ HTTP/1.1\r\nHost: other.t.example\r\n\r\n",
        "GET http://app.t.example:81/ HTTP/1.1\r\nHost: app.t.example:82\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.t.example\r\nHost: other.t.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.t.example, other.t.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@app.t.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.t.example/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ];
    for request in both {
        let mut line = Line::connect(http).await;
        line.send(request).await;
        assert_eq!(line.answer().await.status, 400, "{request:?}");
    }
    let mut frames = Frames::connect(http).await;
    let of = |authority, host| {
        let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        [&fields[..], &[(":authority", authority), ("host", host)]].concat()
    };
    frames.headers(1, &of(APP, "other.t.example"), true).await;
    let Outcome::Answered(400, _) = frames.outcome(1).await else { panic!("not refused") };
    frames.headers(3, &of(APP, APP), true).await;
    assert_eq!(frames.outcome(3).await, Outcome::Answered(200, b"app /".to_vec()));
    let agree = "GET http://app.t.example/a HTTP/1.1\r\nHost: APP.t.example\r\n\r\n";
    let mut line = Line::connect(http).await;
    line.send(agree).await;
    assert_eq!(line.answer().await.text(), "app /a");
    drop((frames, line));

    assert_eq!(services[0].seen().len(), 2);
    assert!(services[1..].iter().all(|service| service.seen().is_empty()));
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn what_keeps_a_request_from_its_answer_is_told_apart() {
    let (silent, nobody) = (local::silent().await, local::nobody().await);
    let garbage = local::answers(|| b"no HTTP at all\r\n\r\n").await;
    let tunnels = [
        format!("silent=http://{}?timeout=1s", silent.addr()),
        format!("nobody=http://{nobody}"),
        format!("garbage=http://{}", garbage.addr()),
    ];
    let (world, client, http) = world_with(&tunnels, |settings| {
        settings.web.hold_requests = std::time::Duration::ZERO;
    })
    .await;
    let mut line = Line::connect(http).await;
    let faults = [
        ("silent", 504, "local_timeout"),
        ("nobody", 502, "local_refused"),
        ("garbage", 502, "local_broken"),
    ];
    for (name, status, code) in faults {
        let answer = line.ask(&format!("{name}.t.example"), "/").await;
        let found = (answer.status, answer.headers.of("x-relay-error"));
        assert_eq!(found, (status, Some(code)), "{name}: {}", answer.text());
    }
    // Who is too slow may be the visitor.
    for (body, status, code) in [("body", 504, "local_timeout"), ("bo", 408, "request_timeout")] {
        let head = "POST / HTTP/1.1\r\nHost: silent.t.example\r\nContent-Length: 4\r\n\r\n";
        let mut line = Line::connect(http).await;
        line.send([head, body].concat()).await;
        let answer = line.answer().await;
        let found = (answer.status, answer.headers.of("x-relay-error"));
        assert_eq!(found, (status, Some(code)), "{body}");
    }
    client.finish().await;
    world.shows("no client", |m| m.value("relay_sessions") == Some(0.0)).await;
    let answer = line.ask("silent.t.example", "/").await;
    assert_eq!((answer.status, answer.headers.of("x-relay-error")), (503, Some("no_client")));
    assert!(answer.headers.of("retry-after").is_some());
    drop(line);
    world.stop().await;
}

#[tokio::test]
async fn a_host_may_be_left_out_by_http_1_0_alone() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    line.send("GET /t/app/x HTTP/1.0\r\n\r\n").await;
    let answer = line.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "/x"));
    line.expect_end().await;
    drop(line);
    assert_eq!(service.ill_formed(), Vec::<String>::new());
    client.finish().await;
    world.stop().await;
}
