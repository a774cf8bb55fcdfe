//! What a tunnel's owner wants done with its requests. A rule is a file.

mod headers;

use std::fmt;
use std::time::Duration;

use hyper::http::request::Parts;
use shared::control::protocol::{Balance, HttpOptions, HttpVersion};

use self::headers::Headers;

/// What is done with the requests of a tunnel.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) version: HttpVersion,
    pub(crate) balance: Balance,
    /// How long the local service may take to begin its answer, if the owner says so.
    pub(crate) timeout: Option<Duration>,
    /// The longest body of a request, in bytes.
    pub(crate) max_body: Option<u64>,
    headers: Headers,
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
        Ok(Self {
            version: options.version,
            balance: options.balance,
            timeout: options.timeout_ms.map(Duration::from_millis),
            max_body: options.max_body,
            headers: Headers::new(options)?,
        })
    }

    /// What the local service is to see of a request: the last step before it is sent.
    pub(crate) fn prepare(&self, request: &mut Parts) {
        self.headers.apply(request);
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
