//! What there is to say of a request.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use data_encoding::BASE64;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, REFERER, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri, Version};
use serde::{Serialize, Serializer};
use shared::kit::logging::{Utc, harmless};

use crate::metrics::FaultCode;
use crate::web::mask;
use crate::web::policy::credentials;

/// So many characters of a path and its query are shown. Longer ones are no addresses that somebody
/// reads.
const LONGEST_PATH: usize = 2048;

/// The same of a host: what DNS allows, and a port.
const LONGEST_HOST: usize = 260;

/// The same of a user, a method and an id.
const LONGEST_NAME: usize = 64;

/// The same of `User-Agent`, which browsers fill with some 150.
const LONGEST_AGENT: usize = 300;

/// The same of `Referer`.
const LONGEST_REFERER: usize = 1024;

/// What a request asks for, as far as the log is to tell. All of it is shared with the request, and
/// nothing is copied.
#[derive(Debug)]
pub(crate) struct Asked {
    visitor: IpAddr,
    method: Method,
    target: Uri,
    version: Version,
    id: HeaderValue,
    host: Option<HeaderValue>,
    user: Option<Box<str>>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Became<'a> {
    /// Whose it is, if it is anybody's: the tunnel and its owner.
    pub(crate) tunnel: Option<(&'a str, Option<&'a str>)>,
    /// Zero: it was not answered.
    pub(crate) status: u16,
    pub(crate) fault: Option<FaultCode>,
    /// A local service answered it.
    pub(crate) served: bool,
    pub(crate) outcome: Outcome,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) length: Duration,
    /// From its arrival to the beginning of the answer.
    pub(crate) first_byte: Option<Duration>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// All of the answer went to the visitor's connection.
    Complete,
    /// The answer did not come to its end, whoever broke it off.
    Aborted,
    /// The same because something of it waited for too long to be taken.
    #[serde(rename = "timeout")]
    TimedOut,
    /// The visitor left, or was cut off, before there was an answer.
    VisitorLeft,
}

/// One line, whatever it looks like. What is not known is left out.
#[derive(Debug, Serialize)]
pub(super) struct Entry<'a> {
    /// When the request came.
    #[serde(serialize_with = "displayed")]
    pub(super) time: Utc,
    pub(super) request: Cow<'a, str>,
    pub(super) visitor: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tunnel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<&'a str>,
    pub(super) host: Cow<'a, str>,
    pub(super) method: Cow<'a, str>,
    pub(super) path: Cow<'a, str>,
    pub(super) protocol: &'static str,
    pub(super) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<&'static str>,
    pub(super) outcome: Outcome,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    #[serde(rename = "seconds", serialize_with = "in_seconds")]
    pub(super) length: Duration,
    #[serde(
        rename = "first_byte_seconds",
        serialize_with = "maybe_in_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) first_byte: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) referer: Option<Cow<'a, str>>,
}

impl Asked {
    pub(super) fn new<B>(request: &Request<B>, visitor: IpAddr, id: &HeaderValue) -> Self {
        let headers = request.headers();
        let header = |name: HeaderName| headers.get(name).cloned();
        Self {
            visitor,
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            id: id.clone(),
            host: header(HOST),
            user: user(headers),
            user_agent: header(USER_AGENT),
            referer: header(REFERER),
        }
    }

    /// Somebody who is believed said who the visitor really is.
    pub(crate) fn comes_from(&mut self, visitor: IpAddr) {
        self.visitor = visitor;
    }

    fn host(&self) -> Cow<'_, str> {
        let host = match self.target.host() {
            Some(host) => Cow::Borrowed(host),
            None => self.host.as_ref().map(text).unwrap_or_default(),
        };
        // What stands in front of an `@` has no place there, and may be a password.
        match host.rfind('@') {
            Some(at) => Cow::Owned(host[at + 1..].to_owned()),
            None => host,
        }
    }
}

/// What the log says of a request, for whoever keeps it longer: harmless, cut, and without secrets.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: String,
    pub(crate) visitor: IpAddr,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) fault: Option<&'static str>,
    pub(crate) outcome: &'static str,
}

impl Facts {
    pub(crate) fn of(asked: &Asked, became: &Became<'_>) -> Self {
        let Entry { request, visitor, method, host, path, fault, outcome, .. } =
            Entry::new(asked, became);
        Self {
            id: request.into_owned(),
            visitor,
            method: method.into_owned(),
            host: host.into_owned(),
            path: path.into_owned(),
            fault,
            outcome: outcome.label(),
        }
    }
}

impl<'a> Entry<'a> {
    pub(super) fn new(asked: &'a Asked, became: &Became<'a>) -> Self {
        let path = asked.target.path_and_query().map_or("*", PathAndQuery::as_str);
        let shown = |header: &'a Option<HeaderValue>, most| {
            header.as_ref().map(|value| cut(text(value), most))
        };
        // Who is not let in may have typed a password in the wrong place.
        let user = asked.user.as_deref().filter(|_| became.status != 401);
        let (tunnel, owner) = became.tunnel.unzip();
        Self {
            time: Utc::ago(became.length),
            request: cut(text(&asked.id), LONGEST_NAME),
            visitor: asked.visitor,
            user: user.map(|user| harmless(user, LONGEST_NAME)),
            tunnel,
            owner: owner.flatten(),
            host: cut(asked.host(), LONGEST_HOST),
            method: harmless(asked.method.as_str(), LONGEST_NAME),
            path: cut(mask::path(path), LONGEST_PATH),
            protocol: protocol(asked.version),
            status: became.status,
            fault: became.fault.map(FaultCode::label),
            outcome: became.outcome,
            bytes_in: became.bytes_in,
            bytes_out: became.bytes_out,
            length: became.length,
            first_byte: became.first_byte,
            user_agent: shown(&asked.user_agent, LONGEST_AGENT),
            referer: asked
                .referer
                .as_ref()
                .map(|value| cut(mask::url(text(value)), LONGEST_REFERER)),
        }
    }
}

impl Outcome {
    /// As a word.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::TimedOut => "timeout",
            Self::VisitorLeft => "visitor_left",
        }
    }
}

/// The user of Basic authentication (RFC 7617), never the password.
fn user(headers: &HeaderMap) -> Option<Box<str>> {
    let credentials = BASE64.decode(credentials(headers, "basic")?.as_bytes()).ok()?;
    // Without a colon it is no user: it may be all password.
    let end = credentials.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8_lossy(&credentials[..end]);
    (!user.is_empty()).then(|| user.into())
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// As [`harmless`].
fn cut(text: Cow<'_, str>, most: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => harmless(text, most),
        Cow::Owned(text) => Cow::Owned(harmless(&text, most).into_owned()),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/3.0",
    }
}

fn displayed<S: Serializer>(time: &Utc, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

fn in_seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn maybe_in_seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}
