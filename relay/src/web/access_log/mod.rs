//! The access log: one line for each request, when it is over.
//!
//! - `entry`: what there is to say of a request
//! - `line`: what it looks like
//!
//! Nobody waits for it: lines are queued, and dropped and counted where there is no room. What comes
//! from visitors is escaped and cut, and secrets in addresses are masked. Of headers nothing is said
//! but who sent the request and where it came from (`User-Agent`, `Referer`).

mod entry;
mod line;

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use hyper::Request;
use hyper::header::HeaderValue;
use shared::kit::logging::{self, LogFile, Rate};
use tracing::{Level, info};

use crate::config::{AccessLogFormat, WebSettings};

use self::entry::Entry;
pub(crate) use self::entry::{Asked, Became, Facts, Outcome};

/// The target of lines that stand in the log.
const ACCESS: &str = "access";

/// What the log calls a file of them.
const ACCESS_LOG: &str = "access log";

/// Requests that no local service answered: a stranger can have as many as it likes.
static NOT_SERVED: Rate = Rate::new(|more| {
    info!(target: ACCESS, left_out = more.count, "requests over that were not served: {more}");
});

/// Where requests are written down. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    format: AccessLogFormat,
    /// `None`: with the other log.
    file: Option<Arc<LogFile>>,
}

impl AccessLog {
    /// The access log that `settings` describe. May wait for the disk.
    ///
    /// # Errors
    ///
    /// Its file cannot be opened.
    pub(crate) fn new(settings: &WebSettings) -> anyhow::Result<Self> {
        let format = settings.access_log;
        let path = settings.access_log_file.as_deref().filter(|_| format != AccessLogFormat::Off);
        let start = |path: &std::path::Path| {
            let file = LogFile::start(ACCESS_LOG, path);
            file.with_context(|| format!("--access-log-file: {}", path.display()))
        };
        Ok(Self { format, file: path.map(start).transpose()?.map(Arc::new) })
    }

    /// Goes on in the file that has its name now. May wait for the disk.
    pub(crate) fn reopen(&self) {
        if let Some(file) = &self.file {
            file.reopen();
        }
    }

    /// What is to be remembered of a request, which has the number `id`, until it is over. `None`:
    /// nothing, nobody will ask, unless somebody `else_asks`.
    pub(crate) fn note<B>(
        &self,
        request: &Request<B>,
        visitor: IpAddr,
        id: &HeaderValue,
        else_asks: bool,
    ) -> Option<Box<Asked>> {
        (else_asks || self.is_read()).then(|| Box::new(Asked::new(request, visitor, id)))
    }

    /// Whether there will be a line. The log's filter may leave all of them out.
    fn is_read(&self) -> bool {
        match self.format {
            AccessLogFormat::Off => false,
            AccessLogFormat::Text if self.file.is_none() => {
                tracing::enabled!(target: ACCESS, Level::INFO)
            }
            _ => true,
        }
    }

    /// Writes down a request that is over.
    pub(crate) fn write(&self, asked: &Asked, became: &Became<'_>) {
        if !self.is_read() || (!became.served && !NOT_SERVED.allows()) {
            return;
        }
        let entry = Entry::new(asked, became);
        let line = match self.format {
            AccessLogFormat::Off => return,
            AccessLogFormat::Text if self.file.is_some() => line::text(&entry),
            AccessLogFormat::Text if logging::is_plain() => line::in_log(&entry),
            AccessLogFormat::Text => return line::event(&entry),
            AccessLogFormat::Json => line::json(&entry),
            AccessLogFormat::Common => line::common(&entry),
            AccessLogFormat::Combined => line::combined(&entry),
        };
        match &self.file {
            Some(file) => file.push(line.as_bytes()),
            None => logging::push(line.as_bytes()),
        }
    }
}
