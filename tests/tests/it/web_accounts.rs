//! What an operator learns of requests: metrics, the access log, the API; and what visitors see when
//! there is no answer.

use std::collections::BTreeSet;
use std::fs;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, Response};
use relay::AccessLogFormat;
use serde_json::Value;
use shared::control::protocol::HttpOptions;
use tests::http::Multiplexed;
use tests::web::{DOMAIN, Visitor, WebClient, WebService, ask, get, whole, with_http};
use tests::{Folder, Local, Peer, World, eventually, local, scrape, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::metrics::promtool_finds_nothing_wrong_with;

/// A relay that writes down requests in a file.
async fn logging(folder: &Folder, adjust: impl FnOnce(&mut relay::Settings)) -> World {
    let file = folder.file("access.log");
    World::start_with(|settings| {
        with_http(settings);
        settings.web.access_log = AccessLogFormat::Json;
        settings.web.access_log_file = Some(file);
        settings.web.hold_requests = std::time::Duration::ZERO;
        adjust(settings);
    })
    .await
}

async fn serve(world: &World, service: &Local) -> WebClient {
    WebClient::open(world, HttpOptions::default(), service.addr()).await
}

/// The lines so far, the last of which may be on its way.
fn lines(folder: &Folder) -> Vec<Value> {
    let text = fs::read_to_string(folder.file("access.log")).expect("an access log");
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits for that many lines.
async fn written(folder: &Folder, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines"), async || lines(folder).len() >= count).await;
    lines(folder)
}

fn body() -> Bytes {
    Bytes::new()
}

/// A visitor that speaks HTTP/2 and knows that the relay does.
async fn http2(world: &World) -> Multiplexed {
    Multiplexed::connect(world.addrs.http.expect("a relay that serves HTTP")).await
}

fn http2_request(path: &str) -> Request<&'static str> {
    Request::get(format!("http://app.{DOMAIN}{path}")).body("").expect("a request")
}

#[tokio::test]
async fn requests_are_counted_by_status_and_those_of_the_relay_by_their_fault() {
    let service = WebService::start_with(|request| {
        let status: u16 = request.uri().path()[1..].parse().expect("a status");
        Response::builder().status(status).body(whole("1234567")).expect("an answer")
    })
    .await;
    let world = World::start_with(|settings| {
        with_http(settings);
        settings.web.hold_requests = std::time::Duration::ZERO;
    })
    .await;
    let client = WebClient::open(&world, HttpOptions::default(), service.addr()).await;
    let mut visitor = Visitor::connect(&world).await;
    for status in [200, 201, 302, 404, 500, 502] {
        let answer = visitor.ask(get(&format!("/{status}")).body(body()).unwrap()).await;
        assert_eq!(answer.status(), status);
    }
    let connections = "relay_http_connections{version=\"1\"}";
    assert_eq!(world.metrics().await.value(connections), Some(1.0));
    client.close().await;
    let answer = visitor.ask(get("/").body(body()).unwrap()).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-relay-error"]),
        (503, &"no_client".parse().unwrap())
    );
    let nobody = Request::get("/").header("host", "nobody.example").body(body()).unwrap();
    assert_eq!(visitor.ask(nobody).await.status(), 404);
    drop(visitor);

    let tunnel = "tunnel=\"app\"";
    let expected = [
        (format!("relay_requests{{{tunnel}}}"), 0.0),
        (format!("relay_requests_total{{status=\"2xx\",{tunnel}}}"), 2.0),
        (format!("relay_requests_total{{status=\"3xx\",{tunnel}}}"), 1.0),
        (format!("relay_requests_total{{status=\"4xx\",{tunnel}}}"), 1.0),
        (format!("relay_requests_total{{status=\"5xx\",{tunnel}}}"), 3.0),
        (format!("relay_request_faults_total{{code=\"no_client\",{tunnel}}}"), 1.0),
        (format!("relay_requests_aborted_total{{{tunnel}}}"), 0.0),
        (format!("relay_request_seconds_count{{{tunnel}}}"), 7.0),
        (format!("relay_request_first_byte_seconds_count{{{tunnel}}}"), 7.0),
        (format!("relay_bytes_total{{direction=\"out\",{tunnel}}}"), 6.0 * 7.0),
        ("relay_unrouted_requests_total{code=\"unknown_tunnel\"}".to_owned(), 1.0),
        ("relay_unrouted_requests_total{code=\"no_client\"}".to_owned(), 0.0),
        (connections.to_owned(), 0.0),
        ("relay_http_connections{version=\"2\"}".to_owned(), 0.0),
    ];
    for (series, value) in &expected {
        world.shows(series, |metrics| metrics.value(series) == Some(*value)).await;
    }
    let text = world.metrics().await.text;
    assert!(!text.contains("relay_visitors{tunnel=\"app\"}"), "{text}");
    promtool_finds_nothing_wrong_with(&text);
    world.stop().await;
}

#[tokio::test]
async fn whatever_visitors_say_becomes_no_label() {
    const REQUESTS: usize = 10_000;
    let service = WebService::start().await;
    let world = World::start_with(|settings| {
        with_http(settings);
        settings.web.access_log = AccessLogFormat::Off;
    })
    .await;
    let client = WebClient::open(&world, HttpOptions::default(), service.addr()).await;
    let mut visitor = Visitor::connect(&world).await;
    let served = get("/").body(body()).unwrap();
    assert_eq!(visitor.ask(served).await.status(), 200);
    let nobody = Request::get("/").header("host", "nobody.example").body(body()).unwrap();
    assert_eq!(visitor.ask(nobody).await.status(), 404);
    let names = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| line.starts_with("relay_"));
        lines.map(|line| line.rsplit_once(' ').expect("a sample").0.to_owned()).collect()
    };
    let one = "relay_requests_total{status=\"2xx\",tunnel=\"app\"}";
    world.shows("the first", |metrics| metrics.value(one) == Some(1.0)).await;
    let before = names(&world.metrics().await.text);

    for i in 0..REQUESTS {
        let (host, path) = match i % 4 {
            0 => (format!("evil-{i}.{DOMAIN}"), format!("/evil/{i}")),
            1 => (format!("evil-{i}.example"), format!("/t/evil-{i}/")),
            2 => (format!("app.{DOMAIN}"), format!("/evil-{i}?evil={i}")),
            _ => (format!("{i}.evil"), format!("/?tunnel=evil-{i}")),
        };
        let request = Request::get(&path).header("host", host).header("user-agent", path);
        visitor.ask(request.body(body()).unwrap()).await;
    }
    let all = 1.0 + REQUESTS as f64 / 4.0;
    world.shows("all of them", |metrics| metrics.value(one) == Some(all)).await;
    let after = world.metrics().await.text;
    assert_eq!(names(&after), before);
    assert!(!after.contains("evil"));
    drop(visitor);
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn each_request_is_written_down_with_who_visited_and_without_secrets() {
    let folder = Folder::new();
    let service = WebService::start().await;
    let world = logging(&folder, |settings| {
        settings.trust_proxy = "127.0.0.0/8".parse().expect("a network");
    })
    .await;
    let client = WebClient::open(&world, HttpOptions::default(), service.addr()).await;
    let request = Request::post("/a?q=1&Access-Token=hush&code=hush")
        .header("host", format!("app.{DOMAIN}:8080"))
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-request-id", "my-own")
        .header("user-agent", "browser/1.0")
        .header("referer", "https://ann:hush@other.example/?sig=hush")
        .header("cookie", "session=hush")
        // ann:hush
        .header("authorization", "Basic YW5uOmh1c2g=");
    let answer = ask(&world, request.body("12345").unwrap()).await;
    assert_eq!(answer.headers()["x-request-id"], "my-own");
    let line = &written(&folder, 1).await[0];
    let expected = [
        ("request", "my-own".into()),
        ("visitor", "192.0.2.7".into()),
        ("user", "ann".into()),
        ("tunnel", "app".into()),
        ("host", format!("app.{DOMAIN}:8080").into()),
        ("method", "POST".into()),
        ("path", "/a?q=1&Access-Token=***&code=***".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 200.into()),
        ("fault", Value::Null),
        ("outcome", "complete".into()),
        ("bytes_in", 5.into()),
        ("bytes_out", 2.into()),
        ("user_agent", "browser/1.0".into()),
        ("referer", "https://***@other.example/?sig=***".into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    let seconds = |name: &str| line[name].as_f64().expect("a time");
    assert!(
        seconds("first_byte_seconds") > 0.0 && seconds("first_byte_seconds") <= seconds("seconds")
    );
    let text = fs::read_to_string(folder.file("access.log")).expect("an access log");
    assert!(!text.contains("hush"), "{text}");
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_from_a_whole_one() {
    let folder = Folder::new();
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.";
    let service = local::answers(|| half).await;
    let world = logging(&folder, |_| ()).await;
    let client = serve(&world, &service).await;
    let mut visitor = Visitor::connect(&world).await;
    let answer = visitor.begin(get("/1").body(body()).unwrap()).await;
    assert!(within("the end", answer.into_body().collect()).await.is_err());
    let sender = http2(&world).await;
    let answer = within("a head", sender.begin(http2_request("/2"))).await;
    assert!(within("the end", answer.expect("a head").into_body().collect()).await.is_err());
    for (line, protocol) in written(&folder, 2).await.iter().zip(["HTTP/1.1", "HTTP/2.0"]) {
        assert_eq!((&line["protocol"], &line["outcome"]), (&protocol.into(), &"aborted".into()));
        assert_eq!((&line["status"], &line["bytes_out"]), (&200.into(), &10.into()), "{line}");
    }
    let series = "relay_requests_aborted_total{tunnel=\"app\"}";
    assert_eq!(world.metrics().await.value(series), Some(2.0));
    drop((visitor, sender));
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn visitors_who_leave_are_counted_whether_there_was_an_answer_or_not() {
    let folder = Folder::new();
    let world = logging(&folder, |_| ()).await;
    let service = local::silent().await;
    let client = serve(&world, &service).await;
    let in_flight = |count| move |metrics: &scrape::Scrape| metrics.requests("app") == count;
    let request = format!("GET / HTTP/1.1\r\nHost: app.{DOMAIN}\r\n\r\n");
    let mut visitor = Peer::connect(world.addrs.http.expect("HTTP")).await;
    visitor.send(request.as_bytes()).await;
    world.shows("a request", in_flight(1.0)).await;
    drop(visitor);
    world.shows("none", in_flight(0.0)).await;
    let sender = http2(&world).await;
    let mut asking = Box::pin(sender.begin(http2_request("/")));
    tokio::select! {
        _ = &mut asking => panic!("nobody answers"),
        () = world.shows("a request", in_flight(1.0)) => (),
    }
    drop(asking);
    world.shows("none", in_flight(0.0)).await;
    let none = "relay_requests_total{status=\"none\",tunnel=\"app\"}";
    assert_eq!(world.metrics().await.value(none), Some(2.0));
    drop(sender);
    client.close().await;

    let endless = Local::start(async |mut socket: TcpStream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let piece = [7; 16 * 1024];
        drop(socket.write_all(head).await);
        while socket.write_all(&piece).await.is_ok() {}
    })
    .await;
    let client = serve(&world, &endless).await;
    let mut visitor = Peer::connect(world.addrs.http.expect("HTTP")).await;
    visitor.send(request.as_bytes()).await;
    visitor.expect(b"HTTP/1.1 200 OK\r\n").await;
    drop(visitor);
    eventually("the line of the answer", async || {
        let is_it = |line: &Value| line["status"] == 200 && line["outcome"] == "aborted";
        lines(&folder).iter().any(is_it)
    })
    .await;
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_connection_that_changes_to_another_protocol_is_one_request() {
    let folder = Folder::new();
    let service = Local::start(async |mut socket: TcpStream| {
        let mut head = [0; 4096];
        drop(socket.read(&mut head).await);
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        drop(socket.write_all(answer).await);
        let (mut reader, mut writer) = socket.split();
        drop(tokio::io::copy(&mut reader, &mut writer).await);
        drop(writer.shutdown().await);
    })
    .await;
    let world = logging(&folder, |_| ()).await;
    let client = serve(&world, &service).await;
    let mut visitor = Peer::connect(world.addrs.http.expect("HTTP")).await;
    let head = format!(
        "GET /x HTTP/1.1\r\nHost: app.{DOMAIN}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    );
    visitor.send(head.as_bytes()).await;
    visitor.expect(b"HTTP/1.1 101 ").await;
    visitor.half_close().await;
    visitor.read_to_end().await;
    let line = &written(&folder, 1).await[0];
    assert_eq!((&line["status"], &line["outcome"]), (&101.into(), &"complete".into()), "{line}");
    let series = "relay_requests_total{status=\"1xx\",tunnel=\"app\"}";
    assert_eq!(world.metrics().await.value(series), Some(1.0));
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn people_see_the_operators_pages_and_head_sees_none() {
    let folder = Folder::new();
    folder.write("404.html", "<h1>{{status}} {{code}}</h1>");
    folder.write("5xx.html", "ours");
    let world = World::start_with(|settings| {
        with_http(settings);
        settings.web.error_pages = Some(folder.path().to_owned());
    })
    .await;
    let nobody = |method: &str, accept: &str| {
        let request = Request::builder().method(method).uri("/").header("host", "nobody.example");
        request.header("accept", accept).body(body()).expect("a request")
    };
    let page = "<h1>404 unknown_tunnel</h1>";
    let answer = ask(&world, nobody("GET", "text/html")).await;
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (404, page.as_bytes()));
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    let head = ask(&world, nobody("HEAD", "text/html")).await;
    assert_eq!((head.status().as_u16(), head.body().len()), (404, 0));
    assert_eq!(head.headers()["content-length"], page.len().to_string());
    let json = ask(&world, nobody("GET", "text/html;q=0.1, application/json")).await;
    let problem: Value = serde_json::from_slice(json.body()).expect("JSON");
    assert_eq!((&problem["code"], &problem["side"]), (&"unknown_tunnel".into(), &"visitor".into()));

    // They change while the relay runs; what is no good changes nothing.
    let shows = async |expected: &str| {
        eventually(&format!("the page `{expected}`"), async || {
            ask(&world, nobody("GET", "text/html")).await.body() == expected.as_bytes()
        })
        .await;
    };
    folder.write("404.html", "another");
    world.relay_reconfigure.look_at_files();
    shows("another").await;
    folder.write("404.html", "a third");
    folder.write("nonsense.html", "");
    world.relay_reconfigure.look_at_files();
    shows("another").await;
    fs::remove_file(folder.file("nonsense.html")).expect("a file");
    world.relay_reconfigure.look_at_files();
    shows("a third").await;
    world.stop().await;
}

#[tokio::test]
async fn the_api_tells_how_the_relay_and_its_tunnels_are() {
    let service = WebService::start_with(|request| {
        let status = if request.uri().path() == "/bad" { 500 } else { 200 };
        Response::builder().status(status).body(whole("ok")).expect("an answer")
    })
    .await;
    let mut world = World::start_with(with_http).await;
    let health = async |world: &World| api(world, "/api/health").await;
    let waiting = health(&world).await;
    assert_eq!(
        (&waiting["status"], &waiting["transport"]["state"]),
        (&"ok".into(), &"waiting".into())
    );
    let echo = local::echo().await;
    let public = world.expose(echo.addr()).await;
    let client = WebClient::open(&world, HttpOptions::default(), service.addr()).await;
    let mut visitor = Visitor::connect(&world).await;
    for path in ["/", "/", "/bad"] {
        visitor.ask(get(path).body(body()).unwrap()).await;
    }
    let mut tcp = Peer::connect(public).await;
    tcp.expect_echo(b"hello").await;

    let now = health(&world).await;
    assert_eq!((&now["sessions"], &now["tunnels"]), (&2.into(), &2.into()), "{now}");
    assert_eq!(now["version"], env!("CARGO_PKG_VERSION"));
    assert!(now["uptime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    let transport = &now["transport"];
    assert_eq!((&transport["state"], &transport["tls"]), (&"connected".into(), &false.into()));
    assert_eq!(transport["listeners"]["control"], world.addrs.control.to_string());
    assert_eq!(transport["listeners"]["http"], world.addrs.http.expect("HTTP").to_string());

    eventually("the last request to be over", async || {
        api(&world, "/api/tunnels").await["tunnels"][0]["requests"] == 3
    })
    .await;
    let told = api(&world, "/api/tunnels").await;
    let [app, default] = &told["tunnels"].as_array().expect("a list")[..] else { panic!("{told}") };
    assert_eq!((&app["name"], &app["kind"]), (&"app".into(), &"http".into()));
    assert_eq!(app["public"][0], client.public.as_str());
    assert_eq!(app["by_status"], serde_json::json!({ "2xx": 2, "5xx": 1 }));
    assert_eq!((&app["errors"], &app["last_status"]), (&1.into(), &500.into()));
    assert_eq!((&app["in_flight"], &app["bytes_out"]), (&0.into(), &6.into()));
    assert!(app["average_latency_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(app["clients"][0]["standing"], "live");
    assert_eq!((&default["name"], &default["kind"]), (&"default".into(), &"tcp".into()));
    assert_eq!(default["public"][0], format!("tcp://{DOMAIN}:{}", public.port()));
    assert_eq!((&default["in_flight"], &default["requests"]), (&1.into(), &0.into()));
    assert_eq!((&default["bytes_in"], &default["last_status"]), (&5.into(), &Value::Null));

    drop(visitor);
    client.close().await;
    world.relay_stop.gracefully.cancel();
    let stopping = health(&world).await;
    assert_eq!(
        (&stopping["status"], &stopping["transport"]["state"]),
        (&"stopping".into(), &"closing".into())
    );
    tcp.half_close().await;
    tcp.expect_end().await;
    world.stop().await;
}

async fn api(world: &World, path: &str) -> Value {
    let (status, json) = scrape::get(world.addrs.admin, path).await;
    assert_eq!(status, 200, "{json}");
    serde_json::from_str(&json).expect("JSON")
}

#[tokio::test]
async fn a_file_or_folder_that_is_none_is_told_before_anything_runs() {
    let start = async |adjust: fn(&mut relay::Settings)| {
        let mut settings = relay::Settings::loopback();
        adjust(&mut settings);
        let config = relay::Config::new(settings).expect("settings that can run");
        format!("{:#}", relay::Relay::bind(config).await.expect_err("no relay"))
    };
    let said = start(|settings| settings.web.error_pages = Some("/nowhere/pages".into())).await;
    assert!(said.contains("error-pages: /nowhere/pages: No such file"), "{said}");
    let said = start(|settings| settings.web.access_log_file = Some("/nowhere/log".into())).await;
    assert!(said.contains("--access-log-file: /nowhere/log: No such file"), "{said}");
}
