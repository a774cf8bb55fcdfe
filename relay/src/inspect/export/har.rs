//! HAR 1.2, which the tools of browsers read: exchanges as one JSON text.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use hyper::Version;
use serde_json::{Value, json};
use shared::kit::logging::Utc;

use crate::inspect::{Body, Exchange, Fields, MessageKind, Record, Speaker};

/// What stands for a time or a size that is not known.
const UNKNOWN: i64 = -1;

/// These exchanges, in this order. Those that are gone meanwhile are left out.
pub(crate) fn har(exchanges: &[Arc<Exchange>]) -> Value {
    let entries = exchanges.iter();
    let entries = entries.filter_map(|exchange| exchange.look(|record| entry(exchange, record)));
    json!({ "log": {
        "version": "1.2",
        "creator": { "name": "Sallyport", "version": env!("CARGO_PKG_VERSION") },
        "entries": entries.collect::<Vec<_>>(),
    } })
}

fn entry(exchange: &Exchange, record: &Record) -> Value {
    let times = &record.times;
    let between = |from: Option<Duration>, to: Option<Duration>| match (from, to) {
        (Some(from), Some(to)) => json!(millis(to.saturating_sub(from))),
        _ => json!(UNKNOWN),
    };
    // Zero where the standard wants a number.
    let or_zero = |value: Value| if value == UNKNOWN { json!(0) } else { value };
    let scheme = if record.is_tls { "https" } else { "http" };
    let mut entry = json!({
        "startedDateTime": Utc::from(exchange.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()).to_string(),
        "time": times.over.map_or_else(|| json!(0), |over| json!(millis(over))),
        "request": {
            "method": &*record.asked.method,
            "url": format!("{scheme}://{}{}", record.host, record.asked.target),
            "httpVersion": version(record.version),
            "cookies": [],
            "headers": headers(&record.asked.fields),
            "queryString": query(&record.asked.target),
            "headersSize": UNKNOWN,
            "bodySize": record.request_body.whole,
        },
        "response": response(record),
        "cache": {},
        "timings": {
            "blocked": times.placed.map_or_else(|| json!(UNKNOWN), |placed| json!(millis(placed))),
            "dns": UNKNOWN,
            "connect": match times.is_reused {
                true => json!(UNKNOWN),
                false => between(times.placed, times.connected),
            },
            "ssl": UNKNOWN,
            "send": 0,
            "wait": or_zero(between(times.connected, times.answered)),
            "receive": or_zero(between(times.answered, times.over)),
        },
        "_id": exchange.number,
        "_requestId": &*record.request_id,
    });
    if record.request_body.whole > 0 {
        entry["request"]["postData"] = post_data(record);
    }
    if let Some(visitor) = record.visitor {
        entry["_visitor"] = json!(visitor);
    }
    if let Some(messages) = &record.messages {
        // As the tools of browsers have it.
        let list = messages.list.iter().filter_map(|message| {
            let (opcode, data) = match message.kind {
                MessageKind::Text => (1, String::from_utf8_lossy(&message.data).into_owned()),
                MessageKind::Binary => (2, BASE64.encode(&message.data)),
                MessageKind::Close | MessageKind::Ping | MessageKind::Pong => return None,
            };
            let kind = match message.from {
                Speaker::Visitor => "send",
                Speaker::Service => "receive",
            };
            let time = exchange.began + message.at;
            let time = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(json!({
                "type": kind, "time": time.as_secs_f64(), "opcode": opcode, "data": data,
            }))
        });
        entry["_webSocketMessages"] = list.collect();
        entry["_resourceType"] = json!("websocket");
    }
    entry
}

fn response(record: &Record) -> Value {
    let Some(answer) = &record.answer else {
        return json!({
            "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
            "content": { "size": 0, "mimeType": "" }, "redirectURL": "",
            "headersSize": UNKNOWN, "bodySize": UNKNOWN,
        });
    };
    let first = |name: &str| {
        let mut fields = answer.fields.0.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.text().into_owned()).unwrap_or_default()
    };
    let status = hyper::StatusCode::from_u16(answer.status).ok();
    let mut content = content(&answer.body);
    content["mimeType"] = json!(first("content-type"));
    json!({
        "status": answer.status,
        "statusText": status.and_then(|status| status.canonical_reason()).unwrap_or_default(),
        "httpVersion": version(record.version),
        "cookies": [],
        "headers": headers(&answer.fields),
        "content": content,
        "redirectURL": first("location"),
        "headersSize": UNKNOWN,
        "bodySize": answer.body.whole,
    })
}

/// What is kept of a body.
fn content(body: &Body) -> Value {
    let kept: Vec<u8> = match &body.events {
        None => body.kept.clone(),
        Some(events) => {
            let lines = events.list.iter().map(|event| {
                let data = event.data.lines().map(|line| format!("data: {line}\n"));
                let kind = match &*event.kind {
                    "" => String::new(),
                    kind => format!("event: {kind}\n"),
                };
                kind + &data.collect::<String>() + "\n"
            });
            lines.collect::<String>().into_bytes()
        }
    };
    let mut content = json!({ "size": kept.len() });
    match String::from_utf8(kept) {
        Ok(text) => content["text"] = json!(text),
        Err(err) => {
            content["text"] = json!(BASE64.encode(err.as_bytes()));
            content["encoding"] = json!("base64");
        }
    }
    let note = body.left_out.map(|why| why.says());
    if let Some(note) = note.or_else(|| body.is_cut.then_some("cut")) {
        content["comment"] = json!(note);
    }
    content
}

fn post_data(record: &Record) -> Value {
    let mut fields = record.asked.fields.0.iter();
    let kind = fields.find(|field| &*field.name == "content-type");
    let mut data = json!({
        "mimeType": kind.map(|field| field.text().into_owned()).unwrap_or_default(),
        "text": String::from_utf8_lossy(&record.request_body.kept),
    });
    let note = record.request_body.left_out.map(|why| why.says());
    if let Some(note) = note.or_else(|| record.request_body.is_cut.then_some("cut")) {
        data["comment"] = json!(note);
    }
    data
}

fn headers(fields: &Fields) -> Value {
    let all = fields.0.iter();
    all.map(|field| json!({ "name": &*field.name, "value": field.text() })).collect()
}

fn query(target: &str) -> Value {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
