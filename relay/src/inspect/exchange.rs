//! An exchange: a request, as its visitor sent it and as the local service gets it, and its answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::Version;
use hyper::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use hyper::http::{request, response};
use parking_lot::Mutex;

use super::Speaker;
use super::body::Body;
use super::cost;
use super::fields::{Fields, target};
use super::inspection::On;
use super::messages::Messages;
use super::names::Names;
use super::shelf::Placed;

/// So many answers that only announce another one (1xx) are kept. A service may send any number.
const MOST_INTERIM: usize = 16;

/// A request and its answer, which may be going on.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Unlike that of any other exchange or capture of the relay, and larger than of those before.
    pub(crate) number: u64,
    pub(crate) began: SystemTime,
    start: Instant,
    names: Arc<Names>,
    /// So much of each body is kept, in bytes. `None`: nothing.
    most: Option<usize>,
    /// `None`: it had to make room.
    record: Mutex<Option<Box<Record>>>,
}

/// What is known of an exchange.
#[derive(Debug)]
pub(crate) struct Record {
    /// The number of the request, which the local service is told.
    pub(crate) request_id: Box<str>,
    pub(crate) version: Version,
    /// The visitor came by TLS.
    pub(crate) is_tls: bool,
    /// Where from, if that may be kept.
    pub(crate) visitor: Option<IpAddr>,
    /// The host that the visitor asked for.
    pub(crate) host: Box<str>,
    /// It is one that was sent again.
    pub(crate) replay_of: Option<u64>,
    /// As the visitor sent it.
    pub(crate) asked: Head,
    /// As the local service gets it.
    pub(crate) sent: Option<Head>,
    pub(crate) request_body: Body,
    pub(crate) request_trailers: Fields,
    /// What was announced before the answer.
    pub(crate) interim: Vec<(u16, Fields)>,
    pub(crate) answer: Option<Answer>,
    pub(crate) messages: Option<Messages>,
    pub(crate) times: Times,
    /// How it ended. `None`: it has not.
    pub(crate) ended: Option<Ended>,
    /// What the heads take up.
    heads: usize,
}

/// The first lines of a request, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: Box<str>,
    /// The path with its query.
    pub(crate) target: Box<str>,
    /// Something of the target was a secret.
    pub(crate) is_masked: bool,
    pub(crate) fields: Fields,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    pub(crate) trailers: Fields,
    /// Why the relay gave it and no local service, if it did.
    pub(crate) fault: Option<&'static str>,
}

/// When what happened, after the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// A client was found.
    pub(crate) placed: Option<Duration>,
    /// There was a connection to the local service.
    pub(crate) connected: Option<Duration>,
    /// It had served others before.
    pub(crate) is_reused: bool,
    /// The local service began to answer.
    pub(crate) answered: Option<Duration>,
    pub(crate) over: Option<Duration>,
}

/// How an exchange ended, as the access log says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended(pub(crate) &'static str);

/// What a request arrives with.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) head: &'a request::Parts,
    pub(crate) request_id: &'a str,
    pub(crate) host: &'a str,
    /// Its path as the visitor wrote it.
    pub(crate) target: &'a str,
    pub(crate) is_tls: bool,
    pub(crate) visitor: Option<IpAddr>,
    pub(crate) replay_of: Option<u64>,
}

/// Takes down an exchange while it goes on. Nobody waits for it.
#[derive(Debug)]
pub(crate) struct Tap {
    exchange: Arc<Exchange>,
    placed: Placed,
    on: Arc<On>,
}

impl Exchange {
    pub(super) fn new(
        number: u64,
        arrived: &Arrived<'_>,
        visitor: Option<IpAddr>,
        names: &Arc<Names>,
        most: Option<usize>,
    ) -> Arc<Self> {
        let Arrived { head, request_id, host, is_tls, replay_of, .. } = arrived;
        let asked = Head::of(head, arrived.target, names);
        let record = Record {
            request_id: (*request_id).into(),
            version: head.version,
            is_tls: *is_tls,
            visitor,
            host: (*host).into(),
            replay_of: *replay_of,
            request_body: Body::of(&head.headers, names, most),
            request_trailers: Fields::default(),
            interim: Vec::new(),
            heads: asked.cost() + cost::of(request_id.len()) + cost::of(host.len()),
            asked,
            sent: None,
            answer: None,
            messages: None,
            times: Times::default(),
            ended: None,
        };
        Arc::new(Self {
            number,
            began: SystemTime::now(),
            start: Instant::now(),
            names: Arc::clone(names),
            most,
            record: Mutex::new(Some(Box::new(record))),
        })
    }

    /// What `look` makes of it. `None`: it had to make room.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> Option<T> {
        self.record.lock().as_deref().map(look)
    }

    /// Lets go of what is in it.
    pub(super) fn let_go(&self) {
        let record = self.record.lock().take();
        drop(record);
    }
}

impl Head {
    fn of(head: &request::Parts, written: &str, names: &Names) -> Self {
        let (target, is_masked) = target(written, names);
        let fields = Fields::of(&head.headers, names);
        Self { method: head.method.as_str().into(), target, is_masked, fields }
    }

    fn cost(&self) -> usize {
        cost::of(self.method.len()) + cost::of(self.target.len()) + self.fields.cost()
    }
}

impl Record {
    fn cost(&self) -> usize {
        let answer = self.answer.as_ref().map_or(0, |answer| answer.body.cost());
        let messages = self.messages.as_ref().map_or(0, Messages::cost);
        size_of::<Exchange>()
            + cost::of(size_of::<Self>())
            + self.heads
            + self.request_body.cost()
            + answer
            + messages
    }
}

impl Tap {
    pub(super) fn new(exchange: Arc<Exchange>, placed: Placed, on: Arc<On>) -> Self {
        let tap = Self { exchange, placed, on };
        tap.note(|_, _| ());
        tap
    }

    /// A client is there that may serve it.
    pub(crate) fn placed(&self) {
        self.note(|record, at| record.times.placed = Some(at));
    }

    /// There is a connection to the local service, which has served others before if it `is_reused`.
    pub(crate) fn connected(&self, is_reused: bool) {
        self.note(|record, at| {
            (record.times.connected, record.times.is_reused) = (Some(at), is_reused);
        });
    }

    /// This is how the local service gets it.
    pub(crate) fn sends(&self, head: &request::Request<impl Sized>) {
        let names = &self.exchange.names;
        let target = head.uri().path_and_query().map_or("/", |target| target.as_str());
        let (target, is_masked) = self::target(target, names);
        let method = head.method().as_str().into();
        let fields = Fields::of(head.headers(), names);
        let sent = Head { method, target, is_masked, fields };
        self.note(|record, _| {
            record.heads += sent.cost();
            // Another try: what was sent before is not what was answered.
            if let Some(before) = record.sent.replace(sent) {
                record.heads -= before.cost();
            }
        });
    }

    /// Something of the request's body passes, or of what follows on it.
    pub(crate) fn inward(&self, data: &[u8]) {
        self.note(|record, at| match &mut record.messages {
            Some(messages) => messages.push(Speaker::Visitor, data, at),
            None => record.request_body.push(data, at),
        });
    }

    /// The same of the answer.
    pub(crate) fn outward(&self, data: &[u8]) {
        self.note(|record, at| match (&mut record.messages, &mut record.answer) {
            (Some(messages), _) => messages.push(Speaker::Service, data, at),
            (None, Some(answer)) => answer.body.push(data, at),
            (None, None) => (),
        });
    }

    /// What comes behind the body of the request.
    pub(crate) fn inward_trailers(&self, trailers: &HeaderMap) {
        let trailers = Fields::of(trailers, &self.exchange.names);
        self.note(|record, _| {
            record.heads += trailers.cost();
            record.request_trailers = trailers;
        });
    }

    /// What comes behind the body of the answer.
    pub(crate) fn outward_trailers(&self, trailers: &HeaderMap) {
        let trailers = Fields::of(trailers, &self.exchange.names);
        self.note(|record, _| {
            if let Some(answer) = &mut record.answer {
                record.heads += trailers.cost();
                answer.trailers = trailers;
            }
        });
    }

    /// The local service has announced an answer.
    pub(crate) fn announced(&self, status: u16, headers: &HeaderMap) {
        let fields = Fields::of(headers, &self.exchange.names);
        self.note(|record, _| {
            if record.interim.len() < MOST_INTERIM {
                record.heads += fields.cost() + size_of::<(u16, Fields)>();
                record.interim.push((status, fields));
            }
        });
    }

    /// The local service answers.
    pub(crate) fn answered(&self, head: &response::Response<impl Sized>) {
        let (names, most) = (&self.exchange.names, self.exchange.most);
        let body = Body::of(head.headers(), names, most);
        let answer = Answer {
            status: head.status().as_u16(),
            fields: Fields::of(head.headers(), names),
            body,
            trailers: Fields::default(),
            fault: None,
        };
        self.note(|record, at| {
            record.times.answered = Some(at);
            record.heads += answer.fields.cost();
            record.answer = Some(answer);
        });
    }

    /// The relay answers by itself, because of `fault` if something is wrong.
    pub(crate) fn answers_itself(
        &self,
        head: &response::Response<impl Sized>,
        fault: Option<&'static str>,
    ) {
        let names = &self.exchange.names;
        let answer = Answer {
            status: head.status().as_u16(),
            fields: Fields::of(head.headers(), names),
            body: Body::of(head.headers(), names, None),
            trailers: Fields::default(),
            fault,
        };
        self.note(|record, _| {
            // Unless it is what the local service said that could not be passed on.
            record.heads += answer.fields.cost();
            if let Some(before) = record.answer.replace(answer) {
                record.heads -= before.fields.cost() + before.trailers.cost();
            }
        });
    }

    /// Another protocol follows on the answer.
    pub(crate) fn changes(&self, answer: &HeaderMap) {
        let is_websocket = answer
            .get(UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let mut agreed = answer.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
        let is_deflated = agreed.any(|agreed| {
            agreed.to_str().is_ok_and(|agreed| agreed.contains("permessage-deflate"))
        });
        let (names, most) = (&self.exchange.names, self.exchange.most);
        self.note(|record, _| {
            record.request_body.changes();
            if let Some(answer) = &mut record.answer {
                answer.body.changes();
            }
            if let Some(most) = most.filter(|_| is_websocket) {
                record.messages = Some(Messages::new(names, most, is_deflated));
            }
        });
    }

    /// It is over, and this is how.
    pub(crate) fn over(&self, outcome: &'static str) {
        let at = self.exchange.start.elapsed();
        self.change(|record| {
            record.times.over = Some(at);
            record.ended = Some(Ended(outcome));
            record.request_body.end(at);
            if let Some(answer) = &mut record.answer {
                answer.body.end(at);
            }
        });
        self.placed.is_over();
    }

    fn note(&self, note: impl FnOnce(&mut Record, Duration)) {
        if !self.on.is_over() {
            let at = self.exchange.start.elapsed();
            self.change(|record| note(record, at));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        let taken = {
            let mut record = self.exchange.record.lock();
            // Nothing of what had to make room comes back.
            let Some(record) = record.as_deref_mut() else { return };
            change(record);
            record.cost()
        };
        if !self.placed.takes(taken) {
            self.exchange.let_go();
        }
    }
}
