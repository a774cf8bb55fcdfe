//! The files that the board is made of.

use std::net::SocketAddr;

use tests::api::Answer;
use tests::{Peer, World};

/// All files together, compressed, in bytes.
const MOST: usize = 200_000;

/// What every file comes with, sorted.
const HEADERS: [&str; 14] = [
    "cache-control",
    "content-encoding: gzip",
    "content-length",
    "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "content-type",
    "cross-origin-opener-policy: same-origin",
    "cross-origin-resource-policy: same-origin",
    "date",
    "etag",
    "permissions-policy: camera=(), display-capture=(), geolocation=(), microphone=(), \
     payment=(), usb=()",
    "referrer-policy: no-referrer",
    "vary: accept-encoding",
    "x-content-type-options: nosniff",
    "connection: close",
];

/// The head of an answer, and its body.
async fn ask(admin: SocketAddr, path: &str, headers: &str) -> (Answer, Vec<u8>) {
    let mut peer = Peer::connect(admin).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n");
    peer.send(request.as_bytes()).await;
    let answer = peer.read_to_end().await;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = answer[end + 4..].to_vec();
    (Answer { status, head, json: serde_json::Value::Null }, body)
}

const BROWSER: &str = "Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\n";

/// The paths of all files that the page names.
async fn paths(admin: SocketAddr) -> Vec<String> {
    let (_, page) = ask(admin, "/", "Accept: text/html\r\n").await;
    let page = String::from_utf8(page).expect("text");
    let named = page.split('"').filter(|text| text.starts_with("/board/"));
    let mut named: Vec<_> = named.map(str::to_owned).collect();
    named.sort();
    named.dedup();
    named
}

#[tokio::test]
async fn every_file_is_small_and_comes_with_what_keeps_it_safe() {
    let world = World::start().await;
    let admin = world.addrs.admin;
    let paths = paths(admin).await;
    assert!(paths.len() > 20, "{paths:?}");
    let mut expected = HEADERS.to_vec();
    expected.sort_unstable();
    let mut size = 0;
    for path in ["/login".to_owned()].iter().chain(&paths) {
        let (answer, body) = ask(admin, path, BROWSER).await;
        assert_eq!(answer.status, 200, "{path}");
        size += body.len();
        let mut found: Vec<_> = answer.head.lines().skip(1).collect();
        found.sort_unstable();
        let fits = |(found, expected): (&&str, &&str)| found.starts_with(expected);
        assert!(found.len() == expected.len(), "{path}: {found:#?}");
        assert!(found.iter().zip(&expected).all(fits), "{path}: {found:#?}");
        let cache =
            if path == "/login" { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!(answer.header("cache-control"), Some(cache), "{path}");

        let seen = format!("{BROWSER}If-None-Match: {}\r\n", answer.header("etag").expect("a tag"));
        let (again, body) = ask(admin, path, &seen).await;
        assert_eq!((again.status, body.len()), (304, 0), "{path}");
        let (plain, _) = ask(admin, path, "").await;
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        assert_ne!(plain.header("etag"), answer.header("etag"), "{path}");
    }
    assert!(size < MOST, "{size} bytes");
    world.stop().await;
}

#[tokio::test]
async fn programs_are_told_where_to_ask_and_files_of_another_version_are_not_there() {
    let world = World::start().await;
    let admin = world.addrs.admin;
    for accept in ["", "Accept: */*\r\n", "Accept: text/html;q=0, text/plain\r\n"] {
        let (answer, body) = ask(admin, "/", accept).await;
        assert_eq!((answer.status, body.starts_with(b"try /metrics")), (404, true), "{accept}");
        assert_eq!(answer.header("vary"), Some("accept"));
    }
    for path in ["/board/x/app.js", "/board/app.js", "/board/", "/board/x/../../etc/passwd"] {
        let (answer, _) = ask(admin, path, BROWSER).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    world.stop().await;
}
