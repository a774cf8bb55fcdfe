//! What sessions go by.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::health::Unhealthy;
use crate::tally::Tally;
use crate::tls::{ClientTls, ServiceTls};

/// What sessions go by, which may change while they run. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    pub(crate) config: watch::Receiver<Arc<Config>>,
    pub(crate) health: watch::Receiver<Unhealthy>,
    /// What the connections to the relay know of each other.
    pub(crate) tls: ClientTls,
    /// What those to local services know of each other.
    pub(crate) service_tls: ServiceTls,
    /// Where it is counted what comes through.
    pub(crate) tally: Tally,
}
