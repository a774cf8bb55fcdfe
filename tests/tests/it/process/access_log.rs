//! The access log of a real process: with the other log, in a file, and what a signal does. What
//! strangers do is limited for a whole process, so it has to be looked at in one of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use hyper::Request;
use serde_json::Value;
use shared::control::protocol::HttpOptions;
use tests::process::{Program, Relay, Signal};
use tests::web::{self, Visitor, WebClient, WebService};
use tests::{Folder, Peer, eventually, local, scrape};

/// A relay that serves HTTP, and where.
async fn start(program: Program) -> (Relay, SocketAddr) {
    let relay = Relay::of(program.env("RELAY_HTTP", "127.0.0.1:0")).await;
    let http = relay.http.expect("a port for HTTP");
    (relay, http)
}

/// A request that finds no tunnel.
async fn ask(http: SocketAddr, path: &str) -> String {
    let mut visitor = Peer::connect(http).await;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: nobody.example\r\nAccept: text/html\r\n\
         User-Agent: x\" y\r\nConnection: close\r\n\r\n"
    );
    visitor.send(request.as_bytes()).await;
    String::from_utf8(visitor.read_to_end().await).expect("an answer in UTF-8")
}

async fn has_line(path: &Path, what: &str) {
    eventually(&format!("{what} in {}", path.display()), async || {
        fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.contains(what)))
    })
    .await;
}

#[tokio::test]
async fn requests_stand_in_the_log_with_fields_unless_it_is_to_be_otherwise() {
    let (relay, http) = start(Program::relay()).await;
    ask(http, "/a?token=hush").await;
    let line = relay.logged("request over").await;
    assert_eq!((&line["target"], &line["level"]), (&"access".into(), &"INFO".into()));
    assert_eq!((&line["path"], &line["status"]), (&"/a?token=***".into(), &404.into()));
    assert_eq!((&line["fault"], &line["outcome"]), (&"unknown_tunnel".into(), &"complete".into()));
    assert_eq!((&line["visitor"], &line["user_agent"]), (&"127.0.0.1".into(), &"x\" y".into()));

    let (relay, http) = start(Program::relay().args(["--access-log", "combined"])).await;
    ask(http, "/b").await;
    let is_it = |line: &str| line.contains("/b HTTP/1.1").then(|| line.to_owned());
    let (_, line) = relay.stderr.find("a line", 0, is_it).await;
    assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with(" \"-\" \"x\\\" y\""), "{line}");

    let (relay, http) = start(Program::relay().args(["--access-log", "off"])).await;
    ask(http, "/c").await;
    relay.signal(Signal::TERM);
    relay.logged("stopped").await;
    assert!(!relay.stderr.so_far().iter().any(|line| line.contains("/c")));
}

/// Serves the tunnel `app` by the service at `local`.
async fn serve(relay: &Relay, local: SocketAddr) -> WebClient {
    let tunnel = web::tunnel("app", HttpOptions::default());
    WebClient::try_serve_at(relay.control, &tunnel, local).await.expect("a tunnel")
}

#[tokio::test]
async fn those_who_leave_before_an_answer_have_no_status() {
    let (relay, http) = start(Program::relay().env("RELAY_DOMAIN", web::DOMAIN)).await;
    let service = local::silent().await;
    let client = serve(&relay, service.addr()).await;
    let mut visitor = Peer::connect(http).await;
    let request =
        format!("POST /a HTTP/1.1\r\nHost: app.{}\r\nContent-Length: 3\r\n\r\nabc", web::DOMAIN);
    visitor.send(request.as_bytes()).await;
    scrape::shows(relay.admin, "a request", |scrape| scrape.bytes("app", "in") == 3.0).await;
    drop(visitor);
    let line = relay.logged("request over").await;
    assert_eq!((&line["status"], &line["outcome"]), (&0.into(), &"visitor_left".into()), "{line}");
    assert_eq!((&line["tunnel"], &line["bytes_in"]), (&"app".into(), &3.into()));
    assert!(line.get("first_byte_seconds").is_none() && line.get("fault").is_none(), "{line}");

    let mut visitor = Peer::connect(http).await;
    visitor.send(b"GET /bad HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n").await;
    visitor.read_to_end().await;
    let line = relay.logged_where("a bad request", |line| line["path"] == "/bad").await;
    assert_eq!((&line["fault"], &line["status"]), (&"bad_request".into(), &400.into()), "{line}");
    assert_eq!((&line["host"], line.get("tunnel")), (&"a b".into(), None));
    assert!(line["bytes_out"].as_u64().is_some_and(|bytes| bytes > 20), "{line}");
    client.close().await;
}

#[tokio::test]
async fn a_flood_of_requests_that_get_nowhere_does_not_fill_the_log() {
    const REQUESTS: usize = 200;
    let program = Program::relay().env("RELAY_DOMAIN", web::DOMAIN).args(["--grace", "0s"]);
    let (mut relay, http) = start(program).await;
    let service = WebService::start().await;
    let client = serve(&relay, service.addr()).await;
    let mut visitor = Visitor::connect_to(http).await;
    for _ in 0..REQUESTS {
        let nobody = Request::get("/").header("host", "nobody.example").body(Bytes::new());
        visitor.ask(nobody.expect("a request")).await;
        let served = visitor.ask(web::get("/").body(Bytes::new()).expect("a request")).await;
        assert_eq!(served.status(), 200);
    }
    drop(visitor);
    client.close().await;
    relay.signal(Signal::TERM);
    relay.exit().await;
    let lines = relay.stderr.as_json();
    let over = |status: u16| {
        let is_it = |line: &&Value| line["message"] == "request over" && line["status"] == status;
        lines.iter().filter(is_it).count()
    };
    assert_eq!(over(200), REQUESTS);
    let left_out = lines.iter().filter_map(|line| line["left_out"].as_u64()).sum::<u64>();
    assert!(over(404) < REQUESTS / 2, "{}", over(404));
    assert_eq!(over(404) + left_out as usize, REQUESTS);
}

#[tokio::test]
async fn a_file_that_was_moved_away_begins_anew_at_a_signal_and_so_do_pages() {
    let folder = Folder::new();
    let (path, moved) = (folder.file("access.log"), folder.file("access.log.1"));
    let pages = Folder::new();
    pages.write("default.html", "first");
    let program = Program::relay().env("RELAY_ACCESS_LOG_FILE", &path);
    let (relay, http) = start(program.args(["--error-pages"]).args([pages.path()])).await;
    assert!(ask(http, "/one").await.ends_with("\r\n\r\nfirst"));
    has_line(&path, " path=\"/one\" ").await;
    fs::rename(&path, &moved).expect("a file");
    pages.write("default.html", "second");
    relay.signal(Signal::HUP);
    relay.logged("the access log goes on in").await;
    relay.logged("people see other error pages").await;
    assert!(ask(http, "/two").await.ends_with("\r\n\r\nsecond"));
    has_line(&path, " path=\"/two\" ").await;
    assert!(!fs::read_to_string(&moved).expect("a file").contains("/two"));
}

#[tokio::test]
async fn a_full_disk_stops_no_request_and_is_told() {
    let (relay, http) = start(Program::relay().args(["--access-log-file", "/dev/full"])).await;
    assert!(ask(http, "/").await.starts_with("HTTP/1.1 404 "));
    relay.logged("the access log cannot be written: No space left on device").await;
    scrape::shows(relay.admin, "the line to be counted", |scrape| {
        scrape.value("relay_log_lines_dropped_total") == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn pages_that_cannot_be_are_told_by_check() {
    let folder = Folder::new();
    folder.write("40x.html", "");
    let check = Program::relay().args(["check", "--error-pages"]).args([folder.path()]);
    let (status, _, said) = check.output().await;
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--error-pages: ") && said.contains("is called '40x'"), "{said}");
    let check = Program::relay().args(["check", "--access-log=off", "--access-log-file=x"]);
    let (status, _, said) = check.output().await;
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--access-log-file needs an access-log that is not off"), "{said}");
    let shown = Program::relay().args(["check", "--access-log=json"]).output().await.1;
    let line = shown.lines().find(|line| line.starts_with("access-log ="));
    assert!(line.is_some_and(|line| line.contains("\"json\"")), "{shown}");
}
