//! What the relay shows to Prometheus, as Prometheus would fetch it.

use std::net::SocketAddr;

use serde_json::Value;

use crate::peer::Peer;
use crate::wait::eventually;

/// One answer of `/metrics`.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The text itself.
    pub text: String,
}

/// Fetches `path` from the HTTP server at `addr`: the status and the body.
pub async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    ask(addr, "GET", path).await
}

/// Does `method` with `path` at the HTTP server at `addr`: the status and the body.
pub async fn ask(addr: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut peer = Peer::connect(addr).await;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    peer.send(request.as_bytes()).await;
    parse(peer.read_to_end().await)
}

/// The status and the body of a whole answer.
///
/// # Panics
///
/// It is none, or cut off.
pub fn parse(answer: Vec<u8>) -> (u16, String) {
    let answer = String::from_utf8(answer).expect("an answer in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer with a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { joined(body) } else { body.to_owned() };
    (status.expect("an answer with a status"), body)
}

/// The text of a body that came in chunks.
///
/// # Panics
///
/// The last one is missing.
fn joined(mut chunks: &str) -> String {
    let mut text = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n").expect("the length of a chunk");
        let length = usize::from_str_radix(length, 16).expect("a length in hexadecimal");
        if length == 0 {
            return text;
        }
        text.push_str(&rest[..length]);
        chunks = &rest[length + "\r\n".len()..];
    }
}

/// Fetches the metrics.
pub async fn scrape(admin: SocketAddr) -> Scrape {
    let (status, text) = get(admin, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    Scrape { text }
}

impl Scrape {
    /// The value of a series, written as Prometheus writes it: `name` or `name{label="value"}`
    /// with the labels in the order of the alphabet.
    pub fn value(&self, series: &str) -> Option<f64> {
        let mut lines = self.text.lines().filter(|line| !line.starts_with('#'));
        let value = lines.find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            (name == series).then_some(value)
        })?;
        Some(value.parse().expect("a value that is a number"))
    }

    /// How many visitors `tunnel` has. A tunnel has no series before its first visit.
    pub fn visitors(&self, tunnel: &str) -> f64 {
        self.value(&format!("relay_visitors{{tunnel=\"{tunnel}\"}}")).unwrap_or(0.0)
    }

    /// How many visits of `tunnel` have ended in this way. There is no series before the first.
    pub fn visits(&self, tunnel: &str, outcome: &str) -> f64 {
        let series = format!("relay_visitors_total{{outcome=\"{outcome}\",tunnel=\"{tunnel}\"}}");
        self.value(&series).unwrap_or(0.0)
    }

    /// How many requests for `tunnel` are going on. There is no series before the first.
    pub fn requests(&self, tunnel: &str) -> f64 {
        self.value(&format!("relay_requests{{tunnel=\"{tunnel}\"}}")).unwrap_or(0.0)
    }

    /// How many requests for `tunnel` were given up because something of them waited for too long.
    pub fn timed_out(&self, tunnel: &str) -> f64 {
        let series = format!("relay_requests_timed_out_total{{tunnel=\"{tunnel}\"}}");
        self.value(&series).unwrap_or(0.0)
    }

    /// How many bytes of `tunnel` have gone `in` or `out`.
    pub fn bytes(&self, tunnel: &str, direction: &str) -> f64 {
        let series = format!("relay_bytes_total{{direction=\"{direction}\",tunnel=\"{tunnel}\"}}");
        self.value(&series).unwrap_or(0.0)
    }

    /// How many TLS handshakes have ended in this way.
    pub fn tls_handshakes(&self, outcome: &str) -> f64 {
        let series = format!("relay_tls_handshakes_total{{outcome=\"{outcome}\"}}");
        self.value(&series).unwrap_or_default()
    }

    /// How many handshakes have ended in this way.
    pub fn handshakes(&self, outcome: &str) -> f64 {
        let series = format!("relay_handshakes_total{{outcome=\"{outcome}\"}}");
        self.value(&series).unwrap_or_else(|| panic!("no series {series}"))
    }
}

/// What the relay is doing, as it shows it to an operator.
pub async fn snapshot(admin: SocketAddr) -> Value {
    let (status, json) = get(admin, "/snapshot").await;
    assert_eq!(status, 200, "{json}");
    serde_json::from_str(&json).expect("JSON")
}

/// Waits until the metrics show what `expected` looks for.
pub async fn shows(admin: SocketAddr, what: &str, mut expected: impl FnMut(&Scrape) -> bool) {
    eventually(what, async || expected(&scrape(admin).await)).await;
}
