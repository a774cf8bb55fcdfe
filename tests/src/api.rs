//! Somebody who asks the API of a relay.

use std::net::SocketAddr;

use serde_json::Value;

use crate::peer::Peer;

/// Somebody who asks the API of a relay.
#[derive(Clone, Debug)]
pub struct Caller {
    admin: SocketAddr,
    /// Headers that are sent with every request, each with its end of line.
    headers: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// The body, `null` if there is none.
    pub json: Value,
}

impl Caller {
    /// Whoever is at the relay's own machine and says nothing of who that is.
    pub fn nobody(admin: SocketAddr) -> Self {
        Self { admin, headers: String::new() }
    }

    /// The holder of a token.
    pub fn holder(admin: SocketAddr, token: &str) -> Self {
        Self::nobody(admin).with("Authorization", &format!("Bearer {token}"))
    }

    /// The same, who sends this header as well.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let headers = format!("{}{name}: {value}\r\n", self.headers);
        Self { headers, ..self.clone() }
    }

    /// Asks for what is below `/api/v1`.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &Value::Null).await
    }

    /// The same with any method, and with a body of JSON unless it is `null`.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let (headers, length) = (&self.headers, body.len());
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}{kind}\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let mut peer = Peer::connect(self.admin).await;
        peer.send(request.as_bytes()).await;
        let answer = String::from_utf8(peer.read_to_end().await).expect("an answer in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer with a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let json = match body {
            "" => Value::Null,
            body => serde_json::from_str(body).unwrap_or_else(|err| panic!("{err}: {body}")),
        };
        Answer { status: status.expect("a status"), head: head.to_owned(), json }
    }
}

impl Answer {
    /// The answer, which has to have this status.
    ///
    /// # Panics
    ///
    /// It has another one.
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.json);
        self
    }

    /// A problem, which has to have this status and code.
    ///
    /// # Panics
    ///
    /// It is none, or another one.
    pub fn is_problem(self, status: u16, code: &str) {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        assert_eq!((self.status, &self.json["code"]), (status, &code.into()), "{}", self.json);
        assert_eq!(self.json["status"], status);
        assert!(self.json["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }

    /// The text of `field` in each entry of a page.
    pub fn each(&self, field: &str) -> Vec<String> {
        let items = self.json["items"].as_array().unwrap_or_else(|| panic!("{}", self.json));
        let text = |item: &Value| match &item[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        items.iter().map(text).collect()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}
