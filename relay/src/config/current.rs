//! The configuration of a relay that runs, which can change while it does.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Config;

/// A cheap handle to the configuration as it is now. Whoever needs several of its values at a time
/// takes one look.
#[derive(Clone, Debug)]
pub(crate) struct CurrentConfig(Arc<RwLock<Arc<Config>>>);

impl CurrentConfig {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// The configuration at this moment.
    pub(crate) fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.read())
    }

    /// Changes it. What has been read before stays as it was.
    pub(crate) fn set(&self, config: Config) {
        *self.0.write() = Arc::new(config);
    }
}
