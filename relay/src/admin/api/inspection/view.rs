//! What is shown of exchanges and captures.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use hyper::Version;
use serde::Serialize;
use utoipa::ToSchema;

use crate::inspect::{
    Body, Capture, Captured, Ending, Exchange, Fields, Guess, Head, LOOKED_AT, Message,
    MessageKind, Record, Speaker, Times, guess,
};

/// An exchange at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExchangeLine {
    pub(super) id: u64,
    /// When the request came, in seconds since 1970 with their fractions.
    began: f64,
    request_id: String,
    method: String,
    host: String,
    /// Without secrets.
    target: String,
    /// Missing: there was no answer, or there is none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why the relay answered it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    /// Missing while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// How long it took, or has taken so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_seconds: Option<f64>,
    /// Bytes of the request's body.
    bytes_in: u64,
    /// Bytes of the answer's body.
    bytes_out: u64,
    /// Messages of a WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    /// The exchange whose request was sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<u64>,
}

/// All of an exchange.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExchangeWhole {
    #[serde(flatten)]
    line: ExchangeLine,
    version: &'static str,
    tls: bool,
    /// Where the visitor is, if the relay keeps that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    visitor: Option<std::net::IpAddr>,
    request: RequestView,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseView>,
    timing: Timing,
    /// Messages of a WebSocket, the last ones that there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<MessagesView>,
}

/// A request.
#[derive(Debug, Serialize, ToSchema)]
struct RequestView {
    /// As the visitor sent it.
    received: HeadView,
    /// As the local service got it. Missing: it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<HeadView>,
    body: BodyView,
    trailers: Vec<FieldView>,
}

/// The first lines of a request.
#[derive(Debug, Serialize, ToSchema)]
struct HeadView {
    method: String,
    target: String,
    headers: Vec<FieldView>,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
struct ResponseView {
    status: u16,
    headers: Vec<FieldView>,
    body: BodyView,
    trailers: Vec<FieldView>,
    /// Answers that announced it.
    interim: Vec<InterimView>,
}

/// An answer that announced another one.
#[derive(Debug, Serialize, ToSchema)]
struct InterimView {
    status: u16,
    headers: Vec<FieldView>,
}

/// A header.
#[derive(Debug, Serialize, ToSchema)]
struct FieldView {
    name: String,
    value: String,
    /// There was a secret in it, which is not kept.
    masked: bool,
}

/// A body, as it was before it was compressed.
#[derive(Debug, Serialize, ToSchema)]
struct BodyView {
    /// How many bytes passed.
    bytes: u64,
    /// It is longer than what is kept of it.
    cut: bool,
    /// Why something of it is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'static str>,
    /// How it was compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    coding: Option<&'static str>,
    /// What is kept of it, without secrets, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The same if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// The events of a stream, instead of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventView>>,
}

/// An event of a stream.
#[derive(Debug, Serialize, ToSchema)]
struct EventView {
    /// How long after the beginning.
    after_seconds: f64,
    event: String,
    id: String,
    data: String,
}

/// How long what took. What did not happen is missing.
#[derive(Debug, Serialize, ToSchema)]
struct Timing {
    /// Until a client was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_seconds: Option<f64>,
    /// From there until there was a connection to the local service.
    #[serde(skip_serializing_if = "Option::is_none")]
    connecting_seconds: Option<f64>,
    /// The connection was there before.
    connection_reused: bool,
    /// From there until the local service began to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_seconds: Option<f64>,
    /// From there to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_seconds: Option<f64>,
}

/// Messages of a WebSocket.
#[derive(Debug, Serialize, ToSchema)]
struct MessagesView {
    /// How many there were.
    count: u64,
    /// Not all of them are kept, or not whole.
    cut: bool,
    list: Vec<MessageView>,
}

/// A message of a WebSocket, or a frame that says something of the connection.
#[derive(Debug, Serialize, ToSchema)]
struct MessageView {
    after_seconds: f64,
    from: Side,
    kind: Kind,
    /// Its payload on the way.
    bytes: u64,
    compressed: bool,
    cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Who has said something.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Side {
    Visitor,
    Service,
}

/// What a message is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = MessageKind)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A raw visit at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CaptureLine {
    pub(super) id: u64,
    /// When it began, in seconds since 1970 with their fractions.
    began: f64,
    /// Its number in the log.
    visit: String,
    /// Where the visitor is, if the relay keeps that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    visitor: Option<std::net::SocketAddr>,
    /// Bytes from the visitor.
    bytes_in: u64,
    /// Bytes to the visitor.
    bytes_out: u64,
    /// Not all of them are kept.
    cut: bool,
    /// How it ended. Missing while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndingView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_seconds: Option<f64>,
}

/// How a raw visit ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Ending)]
#[serde(rename_all = "snake_case")]
enum EndingView {
    Ended,
    ResetByVisitor,
    ResetByService,
    CutOff,
}

/// All of a raw visit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CaptureWhole {
    #[serde(flatten)]
    line: CaptureLine,
    /// When the local service was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_seconds: Option<f64>,
    /// What its bytes look like, which is a guess. Missing: like nothing that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    guess: Option<GuessView>,
    chunks: Vec<ChunkView>,
}

/// What the bytes of a raw visit look like.
#[derive(Debug, Serialize, ToSchema)]
struct GuessView {
    protocol: &'static str,
    /// What can be read of it, by its name.
    details: BTreeMap<&'static str, String>,
}

/// Bytes that passed at once.
#[derive(Debug, Serialize, ToSchema)]
struct ChunkView {
    after_seconds: f64,
    from: Side,
    base64: String,
}

pub(super) fn seconds_since_1970(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl ExchangeLine {
    pub(super) fn of(exchange: &Exchange, record: &Record) -> Self {
        let answer = record.answer.as_ref();
        Self {
            id: exchange.number,
            began: seconds_since_1970(exchange.began),
            request_id: record.request_id.to_string(),
            method: record.asked.method.to_string(),
            host: record.host.to_string(),
            target: record.asked.target.to_string(),
            status: answer.map(|answer| answer.status),
            fault: answer.and_then(|answer| answer.fault),
            outcome: record.ended.map(|ended| ended.0),
            whole_seconds: record.times.over.as_ref().map(Duration::as_secs_f64),
            bytes_in: record.request_body.whole,
            bytes_out: answer.map_or(0, |answer| answer.body.whole),
            messages: record.messages.as_ref().map(|messages| messages.whole),
            replay_of: record.replay_of,
        }
    }
}

impl ExchangeWhole {
    pub(super) fn of(exchange: &Exchange, record: &Record) -> Self {
        Self {
            line: ExchangeLine::of(exchange, record),
            version: match record.version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            tls: record.is_tls,
            visitor: record.visitor,
            request: RequestView {
                received: (&record.asked).into(),
                sent: record.sent.as_ref().map(HeadView::from),
                body: (&record.request_body).into(),
                trailers: fields(&record.request_trailers),
            },
            response: record.answer.as_ref().map(|answer| ResponseView {
                status: answer.status,
                headers: fields(&answer.fields),
                body: (&answer.body).into(),
                trailers: fields(&answer.trailers),
                interim: record
                    .interim
                    .iter()
                    .map(|(status, headers)| InterimView {
                        status: *status,
                        headers: fields(headers),
                    })
                    .collect(),
            }),
            timing: (&record.times).into(),
            websocket: record.messages.as_ref().map(|messages| MessagesView {
                count: messages.whole,
                cut: messages.is_cut,
                list: messages.list.iter().map(MessageView::from).collect(),
            }),
        }
    }
}

fn fields(fields: &Fields) -> Vec<FieldView> {
    let field = |field: &crate::inspect::Field| FieldView {
        name: field.name.to_string(),
        value: field.text().into_owned(),
        masked: field.is_masked,
    };
    fields.0.iter().map(field).collect()
}

/// Bytes as text, or else as base64.
fn text_or_base64(bytes: &[u8], is_cut: bool) -> (Option<String>, Option<String>) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // The last character of what is cut may be cut as well.
        Err(err) if is_cut && err.error_len().is_none() => {
            std::str::from_utf8(&bytes[..err.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => (Some(text.to_owned()), None),
        None => (None, Some(BASE64.encode(bytes))),
    }
}

impl From<&Head> for HeadView {
    fn from(head: &Head) -> Self {
        let (method, target) = (head.method.to_string(), head.target.to_string());
        Self { method, target, headers: fields(&head.fields) }
    }
}

impl From<&Body> for BodyView {
    fn from(body: &Body) -> Self {
        let (text, base64) = match &body.events {
            Some(_) => (None, None),
            None => text_or_base64(&body.kept, body.is_cut || body.left_out.is_some()),
        };
        let event = |event: &crate::inspect::Event| EventView {
            after_seconds: event.at.as_secs_f64(),
            event: event.kind.clone(),
            id: event.id.clone(),
            data: event.data.clone(),
        };
        Self {
            bytes: body.whole,
            cut: body.is_cut,
            left_out: body.left_out.map(|why| why.says()),
            coding: body.coding.map(|coding| coding.name()),
            text,
            base64,
            events: body.events.as_ref().map(|events| events.list.iter().map(event).collect()),
        }
    }
}

impl From<&Times> for Timing {
    fn from(times: &Times) -> Self {
        let between = |from: Option<Duration>, to: Option<Duration>| {
            Some(to?.saturating_sub(from?).as_secs_f64())
        };
        Self {
            waiting_seconds: times.placed.as_ref().map(Duration::as_secs_f64),
            connecting_seconds: between(times.placed, times.connected),
            connection_reused: times.is_reused,
            first_byte_seconds: between(times.connected, times.answered),
            transfer_seconds: between(times.answered, times.over),
        }
    }
}

impl From<&Message> for MessageView {
    fn from(message: &Message) -> Self {
        let (text, base64) = match message.kind {
            MessageKind::Text => text_or_base64(&message.data, true),
            _ => (None, Some(BASE64.encode(&message.data))),
        };
        Self {
            after_seconds: message.at.as_secs_f64(),
            from: message.from.into(),
            kind: match message.kind {
                MessageKind::Text => Kind::Text,
                MessageKind::Binary => Kind::Binary,
                MessageKind::Close => Kind::Close,
                MessageKind::Ping => Kind::Ping,
                MessageKind::Pong => Kind::Pong,
            },
            bytes: message.whole,
            compressed: message.is_compressed,
            cut: message.is_cut,
            left_out: message.left_out.map(|why| why.says()),
            text,
            base64,
        }
    }
}

impl From<Speaker> for Side {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::Visitor => Self::Visitor,
            Speaker::Service => Self::Service,
        }
    }
}

impl CaptureLine {
    pub(super) fn of(capture: &Capture, captured: &Captured) -> Self {
        let [bytes_in, bytes_out] = captured.whole;
        Self {
            id: capture.number,
            began: seconds_since_1970(capture.began),
            visit: captured.visit.to_string(),
            visitor: captured.visitor,
            bytes_in,
            bytes_out,
            cut: captured.is_cut,
            ended: captured.ended.map(|(_, ending)| match ending {
                Ending::Ended => EndingView::Ended,
                Ending::ResetByVisitor => EndingView::ResetByVisitor,
                Ending::ResetByService => EndingView::ResetByService,
                Ending::CutOff => EndingView::CutOff,
            }),
            whole_seconds: captured.ended.map(|(at, _)| at.as_secs_f64()),
        }
    }
}

impl CaptureWhole {
    pub(super) fn of(capture: &Capture, captured: &Captured) -> Self {
        let chunks = captured.chunks.iter().map(|chunk| ChunkView {
            after_seconds: chunk.at.as_secs_f64(),
            from: chunk.from.into(),
            base64: BASE64.encode(captured.bytes(chunk)),
        });
        let said = |by| captured.said(by, LOOKED_AT);
        let guess = guess(&said(Speaker::Visitor), &said(Speaker::Service));
        Self {
            guess: guess.map(|Guess { protocol, details }| GuessView {
                protocol,
                details: details.into_iter().collect(),
            }),
            line: CaptureLine::of(capture, captured),
            connected_seconds: captured.connected.as_ref().map(Duration::as_secs_f64),
            chunks: chunks.collect(),
        }
    }
}
