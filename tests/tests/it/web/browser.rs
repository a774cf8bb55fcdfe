//! A real browser: a page with all that belongs to it, a WebSocket and events, over one connection.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Request, Response};
use parking_lot::Mutex;
use relay::AccessLogFormat;
use serde_json::{Value, json};
use tests::pattern::Pattern;
use tests::web::{Answered, whole};
use tests::{Authority, Browser, Folder, eventually, sockets, within, within_time};
use tokio::sync::{mpsc, watch};

use super::{app, world_with};

/// What the browser asks for. It knows by itself that this is on the same machine.
const HOST: &str = "app.localhost";

/// The page, which tells what has become of it.
const PAGE: &str = include_str!("browser.html");

/// So many of each kind belong to it: scripts, styles and images.
const OF_KIND: [usize; 3] = [17, 16, 17];

/// So many events come.
const EVENTS: usize = 30;

/// A local service with the page and everything that belongs to it.
struct Site {
    page: String,
    assets: BTreeMap<String, (&'static str, Bytes)>,
    asked: Mutex<HashMap<String, usize>>,
    /// How many events the page has seen.
    seen: watch::Sender<usize>,
    reports: mpsc::Sender<Value>,
}

impl Site {
    fn new(reports: mpsc::Sender<Value>) -> Self {
        let (mut tags, mut assets) = (String::new(), BTreeMap::new());
        let [scripts, styles, images] = OF_KIND;
        for number in 0..scripts {
            let name = format!("/{number}.js");
            tags.push_str(&format!("<script src=\"{name}\"></script>\n"));
            let text = format!("scripts.push({number}); /* {} */", padding(number));
            assets.insert(name, ("text/javascript", text.into()));
        }
        for number in 0..styles {
            let name = format!("/{number}.css");
            tags.push_str(&format!("<link rel=\"stylesheet\" href=\"{name}\">\n"));
            let text = format!(":root {{ --style{number}:{number} }} /* {} */", padding(number));
            assets.insert(name, ("text/css", text.into()));
        }
        for number in 0..images {
            let name = format!("/{number}.bmp");
            tags.push_str(&format!("<img src=\"{name}\">\n"));
            assets.insert(name, ("image/bmp", image(number)));
        }
        let page = PAGE.replace("{assets}", &tags).replace("{events}", &EVENTS.to_string());
        Self { page, assets, asked: Mutex::default(), seen: watch::Sender::new(0), reports }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Answered> {
        let path = request.uri().path().to_owned();
        *self.asked.lock().entry(path.clone()).or_default() += 1;
        let (kind, body) = match &*path {
            "/" => ("text/html", whole(self.page.clone())),
            "/events" => ("text/event-stream", self.events()),
            "/report" => {
                let report = request.into_body().collect().await.expect("a whole report");
                let report = serde_json::from_slice(&report.to_bytes()).expect("a report in JSON");
                self.reports.send(report).await.expect("a test that waits for it");
                ("text/plain", whole(""))
            }
            _ if path.starts_with("/seen/") => {
                self.seen.send_replace(path["/seen/".len()..].parse().expect("a number"));
                ("text/plain", whole(""))
            }
            _ => {
                let (kind, body) = self.assets.get(&path).expect("something that there is");
                (*kind, whole(body.clone()))
            }
        };
        let response =
            Response::builder().header(CONTENT_TYPE, kind).header(CACHE_CONTROL, "max-age=3600");
        response.body(body).expect("an answer")
    }

    /// Each event waits until the page has seen those before it.
    fn events(&self) -> Answered {
        let events = stream::unfold((0, self.seen.subscribe()), async |(number, mut seen)| {
            if number == EVENTS || seen.wait_for(|seen| *seen >= number).await.is_err() {
                return None;
            }
            let event = Frame::data(Bytes::from(format!("data: {number}\n\n")));
            Some((Ok(event), (number + 1, seen)))
        });
        StreamBody::new(events).boxed_unsync()
    }
}

/// Sizes from a hundred bytes to half a megabyte.
fn size(number: usize) -> usize {
    128 << (number % 13)
}

fn padding(number: usize) -> String {
    let bytes = Pattern::new(number).take(size(number));
    bytes.into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// An image (BMP) that is one wider than its number.
fn image(number: usize) -> Bytes {
    const HEAD: u32 = 54;
    let width = number as u32 + 1;
    let row = (3 * width).next_multiple_of(4);
    let height = (size(number) as u32 / row).max(1);
    let mut image = b"BM".to_vec();
    for field in [HEAD + row * height, 0, HEAD, 40, width, height] {
        image.extend(field.to_le_bytes());
    }
    // One plane of 24 bits, as they are.
    image.extend([1, 0, 24, 0]);
    image.extend([0; 24]);
    image.extend(Pattern::new(number).take((row * height) as usize));
    image.into()
}

#[tokio::test]
async fn a_browser_shows_a_page_with_its_assets_a_websocket_and_events() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let identity = authority.relay(HOST);
    let certificates = Folder::new();
    identity.write(&certificates, "app.crt", "app.key");
    let (send, mut reports) = mpsc::channel(1);
    let site = Arc::new(Site::new(send));
    let answering = Arc::clone(&site);
    let service = sockets::beside(move |request| {
        let site = Arc::clone(&answering);
        async move { site.answer(request).await }
    })
    .await;
    let log = folder.file("access.log");
    let (world, client, _) = world_with(&app(service.addr()), |settings| {
        settings.web.https = Some("127.0.0.1:0".parse().expect("an address"));
        settings.web.domain = Some("localhost".parse().expect("a domain"));
        settings.certificates.folder = Some(certificates.path().to_owned());
        settings.web.access_log = AccessLogFormat::Json;
        settings.web.access_log_file = Some(log.clone());
    })
    .await;

    let https = world.addrs.https.expect("a port for TLS");
    let browser = Browser::open(HOST, https, &identity);
    // It has much to do before it begins.
    let report = within_time(tests::wait::PATIENCE * 6, "the page's report", reports.recv()).await;
    let report = report.expect("a report");
    assert_eq!(report["error"], Value::Null);
    assert_eq!(report["page"], "h2");
    let all = site.assets.len();
    assert_eq!(all, 50);
    assert_eq!(report["protocols"], json!(vec!["h2"; all]));
    let hex = |(_, bytes): &(_, Bytes)| HEXLOWER.encode(digest(&SHA256, bytes).as_ref());
    let digests: BTreeMap<_, _> = site.assets.iter().map(|(name, one)| (name, hex(one))).collect();
    assert_eq!(report["digests"], json!(digests));
    let [scripts, styles, images] = OF_KIND;
    assert_eq!(report["scripts"], json!((0..scripts).collect::<Vec<_>>()));
    let styles: Vec<_> = (0..styles).map(|number| number.to_string()).collect();
    assert_eq!(report["styles"], json!(styles));
    assert_eq!(report["images"], json!((1..=images).collect::<Vec<_>>()));
    assert_eq!(report["events"], json!((0..EVENTS).collect::<Vec<_>>()));
    assert_eq!(report["socket"], json!({ "echoes": vec![true; 4], "code": 1000, "clean": true }));
    // What it has looked at is what has come, for it has come once.
    let asked = site.asked.lock().clone();
    assert!(site.assets.keys().all(|name| asked[name] == 1), "{asked:?}");

    // The WebSocket, too, was one of HTTP/2 (RFC 8441).
    let mut lines = Vec::new();
    eventually("all lines of the log", async || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        lines =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>();
        ["/", "/socket", "/events", "/report"]
            .iter()
            .all(|path| lines.iter().any(|line| line["path"] == *path))
    })
    .await;
    assert!(lines.iter().all(|line| line["protocol"] == "HTTP/2.0"), "{lines:?}");
    let socket = lines.iter().find(|line| line["path"] == "/socket").expect("a line");
    assert_eq!((&socket["method"], &socket["status"]), (&json!("CONNECT"), &json!(200)));
    drop(browser);
    within("the client to end", client.finish()).await;
    world.stop().await;
}
