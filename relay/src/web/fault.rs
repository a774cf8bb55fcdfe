//! Why a request is not answered by the local service.

use std::time::Duration;

use hyper::StatusCode;

use crate::metrics::FaultCode as Code;

/// Why a request is not answered by the local service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It makes no sense, for this reason.
    BadRequest(&'static str),
    /// It names another host than the TLS connection that it came by.
    Misdirected,
    /// Nobody has a tunnel there.
    UnknownTunnel,
    /// Whoever is at this address may not visit.
    Denied,
    /// It has no access token, or a wrong one.
    TokenNeeded,
    /// It has no user and password, or wrong ones.
    LoginNeeded,
    /// It has no JSON Web Token, or one that is not good, for this reason.
    JwtNeeded(Option<&'static str>),
    /// Its sender has not signed it.
    Unsigned,
    /// It asks for a method that is not passed on.
    MethodNotAllowed,
    /// Its header is too large.
    HeaderTooLarge,
    /// Its body is too large.
    BodyTooLarge,
    /// So many come from there that this one has to wait for so long.
    TooMany(Duration),
    /// So many wrong passwords have come from there that the next one has to wait for so long.
    TooManyGuesses(Duration),
    /// The tunnel or its owner has as many visitors as it may have.
    OverLimit,
    /// As many requests from there are under way as may be.
    TooManyAtOnce,
    /// It took too long to arrive.
    RequestTimeout,
    /// No client serves the tunnel.
    NoClient,
    /// The client has no room for one more, or does not take it.
    ClientBusy,
    /// The local service takes no connection.
    LocalRefused,
    /// The local service answers something else than HTTP, or breaks off.
    LocalBroken,
    /// Neither the connection to the local service nor its answer came in time.
    LocalTimeout,
    /// The relay is stopping.
    Stopping,
}

/// Whose it is to do something about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Whoever sent the request.
    Visitor,
    /// Whoever has the tunnel: their client, or the service behind it.
    Owner,
    /// Whoever runs the relay.
    Relay,
}

/// What is said of a fault.
struct Words {
    status: StatusCode,
    code: Code,
    side: Side,
    title: &'static str,
    advice: &'static str,
}

impl Fault {
    pub(crate) fn status(self) -> StatusCode {
        self.words().status
    }

    /// What it is called for programs, in `X-Relay-Error`. It never changes.
    pub(crate) fn code(self) -> &'static str {
        self.words().code.label()
    }

    /// What it counts as.
    pub(crate) fn counts_as(self) -> Code {
        self.words().code
    }

    pub(crate) fn side(self) -> Side {
        self.words().side
    }

    /// What has happened, in a few words.
    pub(crate) fn title(self) -> &'static str {
        self.words().title
    }

    /// What to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::BadRequest(reason) => reason,
            _ => self.words().advice,
        }
    }

    /// When it may be worth another try.
    pub(crate) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::TooMany(wait) | Self::TooManyGuesses(wait) => Some(wait),
            Self::NoClient
            | Self::ClientBusy
            | Self::OverLimit
            | Self::TooManyAtOnce
            | Self::Stopping => Some(SOON),
            _ => None,
        }
    }

    fn words(self) -> Words {
        use Side::{Owner, Relay, Visitor};
        let (status, code, side, title, advice) = match self {
            Self::BadRequest(_) => (400, Code::BadRequest, Visitor, "This is no good request", ""),
            Self::Misdirected => (
                421,
                Code::Misdirected,
                Visitor,
                "This connection is for another host",
                "Open a connection of its own for each host.",
            ),
            Self::UnknownTunnel => (
                404,
                Code::UnknownTunnel,
                Visitor,
                "There is no tunnel here",
                "Check the address. If it is yours, start your client.",
            ),
            Self::Denied => (
                403,
                Code::Denied,
                Visitor,
                "You may not visit from where you are",
                "The tunnel's owner lets in certain addresses alone.",
            ),
            Self::TokenNeeded => (
                403,
                Code::TokenNeeded,
                Visitor,
                "This tunnel needs an access token",
                "Send the one that the tunnel's owner gave you in the header X-Tunnel-Token, or as \
                 ?tunnel_token= in the address.",
            ),
            Self::LoginNeeded => (
                401,
                Code::LoginNeeded,
                Visitor,
                "This tunnel needs a user and a password",
                "Ask the tunnel's owner for them.",
            ),
            Self::JwtNeeded(_) => (
                401,
                Code::JwtNeeded,
                Visitor,
                "This tunnel needs a token that is good",
                "Send a JSON Web Token that has not expired as Authorization: Bearer.",
            ),
            Self::Unsigned => (
                403,
                Code::Unsigned,
                Visitor,
                "This request is not signed as it has to be",
                "Sender and tunnel have to share one secret, and their clocks have to agree.",
            ),
            Self::MethodNotAllowed => (
                405,
                Code::MethodNotAllowed,
                Visitor,
                "That method is not passed on",
                "A tunnel is no proxy for other places: CONNECT is of no use here.",
            ),
            Self::HeaderTooLarge => (
                431,
                Code::HeaderTooLarge,
                Visitor,
                "The header of this request is too large",
                "Send fewer or shorter fields: cookies, most of the time.",
            ),
            Self::BodyTooLarge => (
                413,
                Code::BodyTooLarge,
                Visitor,
                "The body of this request is too large",
                "The tunnel's owner has set how large one may be. Where it has to be signed, 1 MiB is the \
                 most.",
            ),
            Self::TooMany(_) => (
                429,
                Code::TooManyRequests,
                Visitor,
                "Too many requests come from where you are",
                "Wait a moment.",
            ),
            Self::TooManyGuesses(_) => (
                429,
                Code::TooManyGuesses,
                Visitor,
                "Too many wrong passwords or tokens come from where you are",
                "Wait a moment, and ask the tunnel's owner for the right one.",
            ),
            Self::OverLimit => (
                503,
                Code::OverLimit,
                Owner,
                "This tunnel has as much to do as it may have",
                "Try again in a moment.",
            ),
            Self::TooManyAtOnce => (
                503,
                Code::OverLimit,
                Visitor,
                "Too many requests from where you are wait for an answer",
                "Try again when some of them have one.",
            ),
            Self::RequestTimeout => (
                408,
                Code::RequestTimeout,
                Visitor,
                "This request took too long to arrive",
                "Try again on a connection that is quicker.",
            ),
            Self::NoClient => (
                503,
                Code::NoClient,
                Owner,
                "The tunnel is not connected right now",
                "Its client is away. Try again shortly; if the tunnel is yours, start the client.",
            ),
            Self::ClientBusy => (
                503,
                Code::ClientBusy,
                Owner,
                "The tunnel's client has no room for one more request",
                "Try again in a moment.",
            ),
            Self::LocalRefused => (
                502,
                Code::LocalRefused,
                Owner,
                "The service behind this tunnel is not there",
                "The tunnel is connected, but nothing takes connections at its end. If it is yours, \
                 start the service.",
            ),
            Self::LocalBroken => (
                502,
                Code::LocalBroken,
                Owner,
                "The service behind this tunnel gave no good answer",
                "It broke off, or does not speak the HTTP that its client says it does.",
            ),
            Self::LocalTimeout => (
                504,
                Code::LocalTimeout,
                Owner,
                "The service behind this tunnel did not answer in time",
                "Try again later. If it is yours, look at what it is doing.",
            ),
            Self::Stopping => {
                (503, Code::Stopping, Relay, "The relay is stopping", "It may be back in a moment.")
            }
        };
        let status = StatusCode::from_u16(status).expect("a status of HTTP");
        Words { status, code, side, title, advice }
    }
}

/// When to try again what passes by itself.
const SOON: Duration = Duration::from_secs(5);
