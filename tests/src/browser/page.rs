//! A page of a browser that does what a test tells it, over the protocol of its developer tools.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::wait::{eventually, within};

/// What a page complains of, besides failed requests, which tests make on purpose.
const COMPLAINTS: [&str; 4] = [
    "Runtime.exceptionThrown",
    "Runtime.consoleAPICalled",
    "Log.entryAdded",
    "Page.javascriptDialogOpening",
];

/// A page.
#[derive(Debug)]
pub struct Page {
    line: Line,
    /// What has been complained of.
    complaints: Vec<String>,
}

/// A connection to a part of the browser.
#[derive(Debug)]
struct Line {
    socket: WebSocketStream<TcpStream>,
    asked: u64,
}

impl Line {
    async fn connect(at: SocketAddr, path: &str) -> Self {
        let stream = within("a connection", TcpStream::connect(at)).await.expect("a browser");
        let uri = format!("ws://{at}{path}").parse().expect("an address");
        let builder = ClientBuilder::from_uri(uri);
        let (socket, _) =
            within("a WebSocket", builder.connect_on(stream)).await.expect("a WebSocket");
        Self { socket, asked: 0 }
    }

    /// What is answered, with all that has happened until then.
    async fn ask(&mut self, method: &str, params: Value) -> (Value, Vec<Value>) {
        self.asked += 1;
        let id = self.asked;
        let text = json!({ "id": id, "method": method, "params": params }).to_string();
        self.socket.send(Message::text(text)).await.expect("a browser that listens");
        let mut happened = Vec::new();
        loop {
            let message = within(method, self.socket.next()).await.expect("a browser that answers");
            let message = message.expect("a message");
            let message: Value = serde_json::from_slice(message.as_payload()).expect("JSON");
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return (message["result"].clone(), happened);
            }
            happened.push(message);
        }
    }
}

impl Page {
    /// A page of the browser that listens there.
    pub(super) async fn first(at: SocketAddr, path: &str) -> Self {
        let mut browser = Line::connect(at, path).await;
        let (made, _) = browser.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let id = made["targetId"].as_str().expect("a page").to_owned();
        let line = Line::connect(at, &format!("/devtools/page/{id}")).await;
        let mut page = Self { line, complaints: Vec::new() };
        for domain in ["Runtime", "Log", "Page"] {
            page.tell(&format!("{domain}.enable"), json!({})).await;
        }
        page
    }

    async fn tell(&mut self, method: &str, params: Value) -> Value {
        let (answer, happened) = self.line.ask(method, params).await;
        for event in happened {
            let is_one = COMPLAINTS.iter().any(|kind| event["method"] == *kind);
            // A status that is no success is also logged, and is what some tests are about.
            if is_one && event["params"]["entry"]["source"] != "network" {
                self.complaints.push(event["params"].to_string());
            }
        }
        answer
    }

    /// Goes to an address. It may not be shown yet.
    pub async fn go(&mut self, address: &str) {
        self.tell("Page.navigate", json!({ "url": address })).await;
    }

    /// Runs this script before those of each page that is gone to from now on.
    pub async fn before_each(&mut self, script: &str) {
        self.tell("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    /// The value of an expression, which may be a promise.
    ///
    /// # Panics
    ///
    /// It fails.
    pub async fn value(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let answer = self.tell("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true. While the page is another one, it is not.
    pub async fn shows(&mut self, what: &str, expression: &str) {
        let params =
            json!({ "expression": format!("Boolean({expression})"), "returnByValue": true });
        eventually(what, async || {
            self.tell("Runtime.evaluate", params.clone()).await["result"]["value"] == true
        })
        .await;
    }

    /// Presses a key, which may be a character.
    pub async fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let params = json!({ "type": kind, "key": key, "code": key, "text": text });
            self.tell("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Moves the pointer there.
    pub async fn point(&mut self, x: u32, y: u32) {
        let params = json!({ "type": "mouseMoved", "x": x, "y": y });
        self.tell("Input.dispatchMouseEvent", params).await;
    }

    /// Makes the window as large as that.
    pub async fn resize(&mut self, width: u32, height: u32) {
        let is_phone = width < 500;
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone,
        });
        self.tell("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// Makes the system one that is dark, or light.
    pub async fn colours(&mut self, scheme: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Whatever errors, warnings and breaches of the page's policy there were so far.
    pub async fn complaints(&mut self) -> Vec<String> {
        self.value("0").await;
        self.complaints.clone()
    }
}
