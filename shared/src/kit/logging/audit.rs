//! The audit log: lines about who came, who was sent away and what has changed, in a file of their
//! own, as JSON, whatever the filter of the log leaves out.

use std::sync::Arc;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::file::LogFile;

/// The target of these lines.
pub const AUDIT: &str = "audit";

/// What the log calls it.
pub(super) const AUDIT_LOG: &str = "audit log";

/// What takes the lines for it.
pub(super) fn layer<S>(file: &LogFile) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(Arc::clone(file.queue()))
        .json()
        .flatten_event(true)
        .with_filter(Targets::new().with_target(AUDIT, LevelFilter::INFO))
}
