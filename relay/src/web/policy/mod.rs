//! What a tunnel's owner wants done with its requests. A rule is a file.
//!
//! A request meets the rules in this order, and the first that does not let it on decides:
//!
//! 1. `https`: without TLS it is sent to the same place with it
//! 2. `redirect`: a path that has moved
//! 3. `rate`: how often one source may come
//! 4. `token`: the access token of the tunnel
//! 5. `login`: a user and a password, which `guesses` keeps from being tried out
//! 6. `bearer`: a JSON Web Token
//! 7. the longest body
//! 8. `webhook`: a signature, for which the body is read
//!
//! What was for the relay alone is taken out of it then, and `headers` decide what else the local
//! service sees. Its answer goes through `compress`, and every answer through `https` again, which
//! tells browsers to come by TLS.
//!
//! Redirects come first, so that nobody sends a password where others can read it. Whoever comes
//! too often is turned away before anything is hashed for them, and a body is read last, for as few
//! as possible.

mod bearer;
mod compress;
mod compressed;
mod guesses;
mod headers;
mod https;
mod login;
mod rate;
mod redirect;
#[cfg(test)]
mod tests;
mod token;
mod webhook;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::http::{HeaderValue, StatusCode};
use shared::control::protocol::{Balance, HttpOptions, HttpVersion};

use self::bearer::Bearer;
use self::headers::Headers;
use self::https::Https;
use self::login::Login;
use self::rate::Rate;
use self::redirect::Redirects;
use self::token::Token;
use super::fault::Fault;

pub(crate) use self::compress::{Coding, announce, choose};
pub(crate) use self::compressed::Compressed;
pub(crate) use self::login::credentials;
pub(crate) use self::webhook::{MOST_SIGNED, Webhook};

/// What is done with the requests of a tunnel.
#[derive(Debug)]
pub(crate) struct Policy {
    options: HttpOptions,
    pub(crate) version: HttpVersion,
    pub(crate) balance: Balance,
    /// How long the local service may take to begin its answer, if the owner says so.
    pub(crate) timeout: Option<Duration>,
    /// The longest body of a request, in bytes.
    pub(crate) max_body: Option<u64>,
    /// Who has to have signed requests.
    pub(crate) webhook: Option<Webhook>,
    /// Whether answers are compressed.
    pub(crate) compress: bool,
    https: Https,
    redirects: Redirects,
    rate: Option<Rate>,
    token: Option<Token>,
    login: Option<Login>,
    bearer: Option<Bearer>,
    headers: Headers,
}

/// How a request has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The host that it is for, as the visitor writes it. Empty: it names none.
    pub(crate) host: String,
    /// What was taken away in front of its path.
    pub(crate) prefix: Option<String>,
    pub(crate) visitor: IpAddr,
    /// The visitor came by TLS.
    pub(crate) is_tls: bool,
    /// The port that visitors reach by TLS.
    pub(crate) https_port: u16,
}

/// What a request is answered that is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fault(Fault),
    /// It is sent elsewhere.
    Redirect {
        status: StatusCode,
        location: HeaderValue,
    },
}

/// What makes no sense about the options of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadOption {
    option: &'static str,
    reason: String,
}

impl Policy {
    /// The policy that these options describe.
    ///
    /// # Errors
    ///
    /// The first option that makes no sense.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, BadOption> {
        if options.jwt.is_some() && !options.auth.is_empty() {
            let reason = "a request has one Authorization: it cannot have a password and a token";
            return Err(BadOption::new("jwt", reason));
        }
        Ok(Self {
            options: options.clone(),
            version: options.version,
            balance: options.balance,
            timeout: options.timeout_ms.map(Duration::from_millis),
            max_body: options.max_body,
            webhook: options.webhook.as_ref().map(Webhook::new).transpose()?,
            compress: options.compress,
            https: Https::new(options)?,
            redirects: Redirects::new(&options.redirect)?,
            rate: options.rate.map(Rate::new),
            token: options.token.clone().map(Token::new),
            login: Login::new(&options.auth),
            bearer: options.jwt.as_ref().map(Bearer::new).transpose()?,
            headers: Headers::new(options)?,
        })
    }

    /// Whether a request may go on to `target`, as far as its head tells.
    ///
    /// # Errors
    ///
    /// What it is answered instead.
    pub(crate) fn admit(
        &self,
        head: &Parts,
        target: &PathAndQuery,
        arrival: &Arrival,
    ) -> Result<(), Verdict> {
        let now = Instant::now();
        self.https.check(target, arrival)?;
        self.redirects.check(target, arrival)?;
        if let Some(rate) = &self.rate {
            rate.check(arrival.visitor, now)?;
        }
        if let Some(token) = &self.token {
            token.check(&head.headers, target)?;
        }
        if let Some(login) = &self.login {
            login.check(&head.headers, arrival.visitor, now)?;
        }
        if let Some(bearer) = &self.bearer {
            bearer.check(&head.headers, arrival.visitor, now)?;
        }
        Ok(())
    }

    /// Takes away what was for the relay alone.
    pub(crate) fn forget(&self, head: &mut Parts, target: &mut PathAndQuery) {
        if self.token.is_some() {
            token::forget(&mut head.headers, target);
        }
        if self.login.is_some() {
            login::forget(&mut head.headers);
        }
    }

    /// What else the local service is to see of a request: the last step before it is sent.
    pub(crate) fn prepare(&self, request: &mut Parts) {
        self.headers.apply(request);
    }

    /// What browsers are told with every answer that goes out by TLS (`Strict-Transport-Security`).
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.https.hsts.as_ref()
    }
}

/// Whether they say the same, whatever has happened under each of them.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl BadOption {
    fn new(option: &'static str, reason: impl fmt::Display) -> Self {
        Self { option, reason: reason.to_string() }
    }
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.reason)
    }
}
