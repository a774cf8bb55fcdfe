//! The web: where visitors reach hosts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use shared::control::protocol::{BadDomainName, DomainName, PublicAddress};
use shared::kit::args;
use shared::kit::net::HostPort;
use shared::kit::settings::Row;

use super::{BadSetting, LONGER_THAN_ZERO, check};

/// How the web reaches tunnels. As by default it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSettings {
    /// Where visitors connect for HTTP. `None`: nowhere.
    pub http: Option<HostPort>,
    /// Where visitors connect for HTTP by TLS. `None`: nowhere.
    pub https: Option<HostPort>,
    /// What subdomains are in front of. `None`: tunnels are told apart by paths.
    pub domain: Option<PublicDomain>,
    /// The host at which the relay shows itself: its API and its board. `None`: nowhere but at its
    /// admin port.
    pub board: Option<DomainName>,
    /// How long requests wait for a client that was here a moment ago. Zero: not at all.
    pub hold_requests: Duration,
    /// How long a local service may take to begin its answer, unless the tunnel says otherwise.
    /// Longer than zero.
    pub request_timeout: Duration,
    /// How long a visitor's connection is kept open without a request. Longer than zero.
    pub keep_alive: Duration,
    /// What is written down of requests that are over.
    pub access_log: AccessLogFormat,
    /// The file for that. `None`: it stands with the other log.
    pub access_log_file: Option<PathBuf>,
    /// A folder with pages that people see instead of the relay's own. `None`: they see these.
    pub error_pages: Option<PathBuf>,
}

/// What a line about a request looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessLogFormat {
    /// No lines
    Off,
    /// Time, and fields with their names
    Text,
    /// One JSON object a line
    Json,
    /// As web servers write it: the Common Log Format
    Common,
    /// The same with where visitors came from and what they use
    Combined,
}

impl fmt::Display for AccessLogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Text => "text",
            Self::Json => "json",
            Self::Common => "common",
            Self::Combined => "combined",
        })
    }
}

/// The domain of a relay, and how visitors reach it if that is not by its own ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicDomain {
    /// The domain.
    pub name: DomainName,
    /// Whether visitors come by TLS, and to which port, when something stands in front of the relay.
    pub front: Option<(bool, u16)>,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            http: None,
            https: None,
            domain: None,
            board: None,
            hold_requests: Duration::from_secs(10),
            request_timeout: Duration::from_secs(600),
            keep_alive: Duration::from_secs(75),
            access_log: AccessLogFormat::Text,
            access_log_file: None,
            error_pages: None,
        }
    }
}

impl WebSettings {
    /// Whether it can be.
    pub(super) fn check(&self) -> Result<(), BadSetting> {
        let times = [
            ("hold-requests", self.hold_requests),
            ("request-timeout", self.request_timeout),
            ("keep-alive", self.keep_alive),
        ];
        for (key, time) in times {
            check(key, time <= args::LONGEST, "must be a year at most")?;
        }
        for (key, time) in &times[1..] {
            check(key, !time.is_zero(), LONGER_THAN_ZERO)?;
        }
        let is_reached = self.http.is_some() || self.https.is_some() || self.board.is_none();
        check("board", is_reached, "needs http or https as well")?;
        let is_written = self.access_log != AccessLogFormat::Off || self.access_log_file.is_none();
        check("access-log-file", is_written, "needs an access-log that is not off")
    }

    /// The relay's domain.
    pub(crate) fn domain_name(&self) -> Option<&DomainName> {
        self.domain.as_ref().map(|domain| &domain.name)
    }

    /// Every setting with its key, in the order of the flags.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Self {
            http,
            https,
            domain,
            board,
            hold_requests,
            request_timeout,
            keep_alive,
            access_log,
            access_log_file,
            error_pages,
        } = self;
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let text = |value: Option<String>, key| Row::optional(key, value.as_deref());
        vec![
            text(http.as_ref().map(HostPort::to_string), "http"),
            text(https.as_ref().map(HostPort::to_string), "https"),
            text(domain.as_ref().map(PublicDomain::to_string), "domain"),
            text(board.as_ref().map(DomainName::to_string), "board"),
            Row::new("hold-requests", args::time(*hold_requests)),
            Row::new("request-timeout", args::time(*request_timeout)),
            Row::new("keep-alive", args::time(*keep_alive)),
            Row::new("access-log", access_log),
            text(path(access_log_file), "access-log-file"),
            text(path(error_pages), "error-pages"),
        ]
    }
}

/// The text is no [`PublicDomain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPublicDomain;

impl FromStr for PublicDomain {
    type Err = BadPublicDomain;

    fn from_str(text: &str) -> Result<Self, BadPublicDomain> {
        let name = |text: &str| text.parse().map_err(|_: BadDomainName| BadPublicDomain);
        let (tls, rest) = match text.split_once("://") {
            None => return Ok(Self { name: name(text)?, front: None }),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(BadPublicDomain),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.split_once(':') {
            None => (rest, if tls { 443 } else { 80 }),
            Some((host, port)) => (host, port.parse().map_err(|_| BadPublicDomain)?),
        };
        Ok(Self { name: name(host)?, front: Some((tls, port)) })
    }
}

impl fmt::Display for PublicDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.front {
            None => self.name.fmt(f),
            Some((tls, port)) => PublicAddress::web(tls, self.name.as_str(), port, "").fmt(f),
        }
    }
}

impl fmt::Display for BadPublicDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected a domain such as tunnel.example.com, or https://tunnel.example.com behind \
             something that speaks TLS for the relay",
        )
    }
}

impl std::error::Error for BadPublicDomain {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_a_log_that_is_off_is_a_mistake() {
        let file = Some("/var/log/access.log".into());
        let on = WebSettings { access_log_file: file, ..WebSettings::default() };
        assert_eq!(on.check(), Ok(()));
        let off = WebSettings { access_log: AccessLogFormat::Off, ..on };
        let said = off.check().unwrap_err().to_string();
        assert_eq!(said, "access-log-file needs an access-log that is not off");
    }

    #[test]
    fn a_domain_may_say_what_stands_in_front() {
        let good = [
            ("T.example.com", "t.example.com", None),
            ("localhost", "localhost", None),
            ("https://t.example.com/", "https://t.example.com", Some((true, 443))),
            ("http://t.example.com:8080", "http://t.example.com:8080", Some((false, 8080))),
        ];
        for (text, shown, front) in good {
            let domain: PublicDomain = text.parse().unwrap();
            assert_eq!((domain.to_string().as_str(), domain.front), (shown, front), "{text}");
        }
        for bad in
            ["", "example", "ftp://t.example.com", "https://t.example.com:x", "t.example.com/a"]
        {
            assert_eq!(bad.parse::<PublicDomain>(), Err(BadPublicDomain), "{bad}");
        }
    }
}
